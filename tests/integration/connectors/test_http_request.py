"""`http.request` against a real server that misbehaves on cue: verdicts, where requests may go, and what never leaves or comes back."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from app.connectors.connections import Connections, change_connection, create_connection, delete_connection
from app.connectors.http_exchange import Answered, Asked, Exchanges, Unanswered
from app.connectors.http_request import HttpRequest
from app.connectors.opening import FRESH_S, Directory
from app.connectors.port import Lookup, Reply
from app.connectors.vault import Vault
from app.core.actor import SYSTEM
from app.core.clock import SystemClock
from app.core.db import Database
from app.core.errors import Invalid
from tests.support.certificates import write_certificate
from tests.support.http_server import HttpServer, http_server
from tests.support.requests import request_for
from tests.support.waiting import until_async

CLOCK = SystemClock()
CONFIG: dict[str, Any] = {"connection": "orders_api", "methods": ["POST", "DELETE"]}
ORDER = {"method": "POST", "url": "/orders", "json": {"no": 7, "to": "Zoë"}}
SECRET = "Bearer s3cr3t-t0ken"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as made:
        yield made


@pytest.fixture
def connections(sqlite_database: Database, tmp_path: Path) -> Connections:
    return Connections(sqlite_database, Vault(tmp_path / "home"))


def name_it(connections: Connections, server: HttpServer, base: str = "", **config: Any) -> None:
    settings = {"base_url": server.url + base, "private_addresses": True, "plain_http": True, **config}
    create_connection(SYSTEM, connections, "orders_api", "http", settings, SECRET)


def asked(connections: Connections, item: dict[str, Any], config: dict[str, Any] = CONFIG, *, wait_ms: int = 5000, **more: Any) -> Reply:
    """What one request is answered."""
    return asked_all(connections, [item], config, wait_ms=wait_ms, **more)[0]


def asked_all(
    connections: Connections, items: list[dict[str, Any]], config: dict[str, Any] = CONFIG, *, wait_ms: int = 5000, **more: Any
) -> list[Reply]:
    async def main() -> list[Reply]:
        port = HttpRequest(Directory(connections), CLOCK, **more)
        await port.start()
        try:
            return [await port.perform(request_for(port, config, item, deadline=CLOCK.monotonic() + wait_ms)) for item in items]
        finally:
            await port.stop()

    return uvloop.run(main())


def test_a_request_is_done_with_its_status_and_what_the_spec_keeps(server: HttpServer, connections: Connections) -> None:
    name_it(connections, server, "/v1/")
    keep = {"headers": ["x-request-id", "x-none"], "fields": ["id", "total", "lines", "none"]}
    config = {**CONFIG, "keep": keep, "headers": {"x-api-version": "3"}}
    reply = asked(connections, ORDER, config)
    assert reply == Reply("done", {"status": 201, "headers": {"x-request-id": "req-1"}, "fields": {"id": "o-1", "total": 12.5}})
    (heard,) = server.heard
    assert (heard.method, heard.path, json.loads(heard.body)) == ("POST", "/v1/orders", ORDER["json"])
    named = ("idempotency-key", "authorization", "x-api-version", "content-type", "host")
    assert [heard.headers[name] for name in named] == ["effect_1", SECRET, "3", "application/json", f"127.0.0.1:{server.port}"]


@pytest.mark.parametrize("said", ["1e999", "-1e999", "NaN", r'"\ud800"', "[1]", "null"])
def test_what_no_receipt_can_hold_is_left_out_of_it(server: HttpServer, connections: Connections, said: str) -> None:
    name_it(connections, server)
    server.cues["/orders"] = 200, {}, f'{{"id": "o-1", "odd": {said}}}'.encode()
    reply = asked(connections, ORDER, {**CONFIG, "keep": {"fields": ["id", "odd"]}})
    assert reply == Reply("done", {"status": 200, "headers": {}, "fields": {"id": "o-1"}})


FAULTS = [
    ("/status/200", "done", ""),
    ("/status/408", "refused_now", "http_408"),
    ("/status/425", "refused_now", "http_425"),
    ("/status/429", "refused_now", "http_429"),
    ("/status/401", "refused_now", "http_401"),
    ("/status/400", "refused", "http_400"),
    ("/status/404", "refused", "http_404"),
    ("/status/409", "refused", "http_409"),
    ("/status/500", "unknown", "http_500"),
    ("/status/503", "unknown", "http_503"),
    ("/status/302", "unknown", "http_302"),
    ("/drop", "unknown", "http_disconnected"),
    ("/garble", "unknown", "http_garbled"),
    ("/hang", "unknown", "http_timeout"),
    ("/half", "done", ""),
    ("/large", "done", ""),
]


def test_each_answer_gets_its_verdict_and_the_connector_goes_on(server: HttpServer, connections: Connections) -> None:
    name_it(connections, server)
    items = [{**ORDER, "url": path} for path, _, _ in FAULTS]
    replies = asked_all(connections, items, {**CONFIG, "timeout_s": 4}, wait_ms=60_000)
    assert [(path, reply.verdict, reply.code) for (path, _, _), reply in zip(FAULTS, replies, strict=True)] == FAULTS
    assert [heard.path for heard in server.heard] == [path for path, _, _ in FAULTS]  # each left once


def test_a_5xx_is_refused_for_now_where_the_spec_says_that_a_repeat_is_harmless(server: HttpServer, connections: Connections) -> None:
    name_it(connections, server)
    reply = asked(connections, {**ORDER, "url": "/status/502"}, {**CONFIG, "on_5xx": "refused_now"})
    assert (reply.verdict, reply.code) == ("refused_now", "http_502")


@pytest.mark.parametrize(("said", "least", "most"), [("7", 7000, 7000), ("Wed, 21 Oct 2150 07:28:00 GMT", 86_400_000, 86_400_000)])
def test_a_server_that_says_when_to_come_again_is_not_asked_before(
    server: HttpServer, connections: Connections, said: str, least: int, most: int
) -> None:
    name_it(connections, server)
    server.cues["/busy"] = 503, {"Retry-After": said}, b""
    reply = asked(connections, {**ORDER, "url": "/busy"})
    assert (reply.verdict, reply.code) == ("refused_now", "http_503")
    assert least <= reply.retry_after_ms <= most


def test_what_never_left_is_refused_for_now(connections: Connections) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = HttpServer(port=taken.getsockname()[1])
        name_it(connections, nobody)
        assert asked(connections, ORDER).code == "http_unreachable"
        assert asked(connections, ORDER).verdict == "refused_now"
    assert asked(connections, ORDER, wait_ms=0).code == "deadline_passed"


class Asleep(dict[str, str]):
    """Headers that take until a moment, as they do for a process that was stopped there."""

    until = 0.0

    def items(self) -> Any:
        while time.monotonic() < self.until:
            pass
        return super().items()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_process_that_slept_past_its_deadline_before_the_first_byte_sends_nothing(server: HttpServer, run: Any) -> None:
    async def main() -> tuple[Answered | Unanswered, Answered | Unanswered]:
        exchanges, now = Exchanges(1, private=True), asyncio.get_running_loop().time
        first = await exchanges.ask(Asked("POST", f"{server.url}/orders", {}, b"{}"), now() + 5)
        headers = Asleep()
        headers.until = send_by = now() + 0.2
        late = await exchanges.ask(Asked("POST", f"{server.url}/late", headers, b"{}"), now() + 5, send_by)
        await exchanges.close()
        return first, late

    first, late = run(main())
    assert isinstance(first, Answered) and isinstance(late, Unanswered) and late.certain
    assert [heard.path for heard in server.heard] == ["/orders"], "an open connection takes a request at once"


def test_what_has_left_in_time_is_waited_for_longer_than_what_has_not(server: HttpServer, connections: Connections) -> None:
    name_it(connections, server)
    server.slow["/orders"] = threading.Event()

    async def main() -> Reply:
        port = HttpRequest(Directory(connections), CLOCK)
        await port.start()
        deadline = CLOCK.monotonic() + 3000
        request = replace(request_for(port, CONFIG, ORDER, deadline=deadline), answer_by=deadline + 20_000)
        answering = asyncio.create_task(port.perform(request))
        await until_async(lambda: server.heard and CLOCK.monotonic() > deadline, what="the request has left, and its time to leave is over")
        server.slow["/orders"].set()
        reply = await answering
        await port.stop()
        return reply

    assert uvloop.run(main()).verdict == "done"


def test_a_handshake_that_fails_has_sent_nothing(connections: Connections, tmp_path: Path) -> None:
    with http_server(write_certificate(tmp_path)) as server:
        settings = {"base_url": server.url, "private_addresses": True}
        create_connection(SYSTEM, connections, "orders_api", "http", settings, SECRET)
        reply = asked(connections, ORDER)  # signed by nobody whom we trust
        assert (reply.verdict, reply.code, server.heard) == ("refused_now", "http_unreachable", [])
        trusting = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        assert asked(connections, ORDER, context=trusting).verdict == "done"
        assert len(server.heard) == 1


def test_private_and_local_addresses_are_refused_unless_an_operator_allows_them(server: HttpServer, connections: Connections) -> None:
    name_it(connections, server, private_addresses=False)
    reply = asked(connections, ORDER)
    assert (reply.verdict, reply.code, server.connections) == ("refused", "address_refused", 0)


def test_a_declared_host_that_resolves_to_this_machine_is_refused(
    server: HttpServer, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rebound(*_args: Any, **_kwargs: Any) -> list[Any]:
        public, local = ("93.184.216.34", server.port), ("127.0.0.1", server.port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (public, local)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", rebound)  # a resolver that lies
    config = {"hosts": [f"api.example.com:{server.port}"], "methods": ["POST"]}

    async def main() -> Reply:
        port = HttpRequest(Directory(connections), CLOCK)
        await port.start()
        item = {**ORDER, "url": f"https://api.example.com:{server.port}/orders"}
        try:
            return await port.perform(request_for(port, config, item, deadline=CLOCK.monotonic() + 5000))
        finally:
            await port.stop()

    reply = asyncio.run(main())
    assert (reply.verdict, reply.code, server.connections) == ("refused", "address_refused", 0)


def test_redirects_are_followed_within_the_connection_alone(server: HttpServer, connections: Connections) -> None:
    with http_server() as other:
        name_it(connections, server, "/v1")
        server.cues["/v1/moved"] = 307, {"Location": "/v1/orders"}, b""
        server.cues["/v1/out"] = 308, {"Location": f"{other.url}/v1/orders"}, b""
        server.cues["/v1/up"] = 307, {"Location": "/admin"}, b""
        server.cues["/v1/dots"] = 307, {"Location": f"{server.url}/v1/%2e%2e/admin"}, b""
        server.cues["/v1/round"] = 307, {"Location": "/v1/round?"}, b""
        paths = ["/moved", "/out", "/up", "/dots", "/round"]
        replies = asked_all(connections, [{**ORDER, "url": path} for path in paths])
        assert [reply.code or reply.verdict for reply in replies] == ["done", *["redirect_refused"] * 4]
        assert [heard.path for heard in server.heard[:2]] == ["/v1/moved", "/v1/orders"]
        assert server.heard[1].headers["idempotency-key"] == "effect_1"
        assert other.heard == []


def test_the_credential_is_seen_by_its_own_server_and_by_nobody_else(
    server: HttpServer, connections: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    name_it(connections, server)
    server.cues["/tell"] = 200, {"X-Seen": f"<{SECRET}>", "Content-Type": "application/json"}, json.dumps({"seen": SECRET}).encode()
    server.cues["/fail"] = 400, {"X-Seen": SECRET}, SECRET.encode()
    config = {**CONFIG, "keep": {"headers": ["x-seen"], "fields": ["seen"]}}
    with caplog.at_level(logging.INFO):
        replies = asked_all(connections, [{**ORDER, "url": path} for path in ("/tell", "/fail", "/drop")], config)
    assert all(heard.headers["authorization"] == SECRET for heard in server.heard)
    assert replies[0].receipt == {"status": 200, "headers": {"x-seen": "<[credential]>"}, "fields": {"seen": "[credential]"}}
    assert "s3cr3t" not in f"{replies}{caplog.text}"
    with connections.database.reading() as session:
        dump = str(list(session.connection().exec_driver_sql("SELECT * FROM connection")))
        dump += str(list(session.connection().exec_driver_sql("SELECT * FROM audit_event")))
    assert "orders_api" in dump
    assert "s3cr3t" not in dump


def test_a_connection_that_is_changed_or_forgotten_is_so_within_a_second(server: HttpServer, connections: Connections) -> None:
    name_it(connections, server)

    async def main() -> None:
        port = HttpRequest(Directory(connections), CLOCK)
        await port.start()

        async def ask() -> Reply:
            return await port.perform(request_for(port, CONFIG, ORDER, deadline=CLOCK.monotonic() + 5000))

        assert (await ask()).verdict == "done"
        settings = {"base_url": f"{server.url}/v2", "private_addresses": True, "plain_http": True}
        await asyncio.to_thread(change_connection, SYSTEM, connections, "orders_api", settings, "Bearer n3w")
        await until_async(lambda: _changed(ask, server), FRESH_S + 5, "the new settings are used")
        await asyncio.to_thread(delete_connection, SYSTEM, connections, "orders_api")
        await until_async(lambda: _code(ask, "connection_unknown"), FRESH_S + 5, "the connection is forgotten")
        await port.stop()

    uvloop.run(main())


async def _changed(ask: Any, server: HttpServer) -> bool:
    await ask()
    return (server.heard[-1].path, server.heard[-1].headers["authorization"]) == ("/v2/orders", "Bearer n3w")


async def _code(ask: Any, code: str) -> bool:
    reply = await ask()
    return (reply.verdict, reply.code) == ("refused_now", code)


def test_a_provider_is_asked_what_became_of_a_request(server: HttpServer, connections: Connections) -> None:
    name_it(connections, server)
    config = {**CONFIG, "keep": {"fields": ["id"]}, "lookup": {"url": "/by-key/{effect_id}"}}

    async def main() -> list[Lookup]:
        port = HttpRequest(Directory(connections), CLOCK)
        await port.start()
        assert port.looks_up(config)
        assert not port.looks_up(CONFIG)
        found = []
        for status in (200, 404, 500):
            server.cues["/by-key/effect_1"] = status, {"Content-Type": "application/json"}, b'{"id": "o-1"}'
            found.append(await port.look_up(request_for(port, config, ORDER, deadline=CLOCK.monotonic() + 5000)))
        await port.stop()
        return found

    done, not_done, unclear = uvloop.run(main())
    assert done == Lookup("done", {"status": 200, "headers": {}, "fields": {"id": "o-1"}})
    assert (not_done.verdict, unclear.verdict) == ("not_done", "unknown")
    assert {(heard.method, heard.headers["authorization"]) for heard in server.heard} == {("GET", SECRET)}


@pytest.mark.parametrize("url", ["https://api.example.org/{effect_id}", "/../admin/{effect_id}", "/a//{effect_id}"])
def test_a_lookup_goes_nowhere_but_below_the_connections_address(server: HttpServer, connections: Connections, url: str) -> None:
    name_it(connections, server, "/v1")

    async def main() -> Lookup:
        port = HttpRequest(Directory(connections), CLOCK)
        await port.start()
        config = {**CONFIG, "lookup": {"url": url}}
        found = await port.look_up(request_for(port, config, ORDER, deadline=CLOCK.monotonic() + 5000))
        await port.stop()
        return found

    found = uvloop.run(main())
    assert (found.verdict, found.code) == ("unknown", "lookup_undeclared")
    assert not server.heard


HOSTS = {"hosts": ["api.example.com", "api.example.org:8443"], "methods": ["POST"]}


@pytest.mark.parametrize(
    ("config", "item"),
    [
        (HOSTS, {"url": "https://evil.example.com/orders"}),
        (HOSTS, {"url": "https://api.example.com.evil.test/orders"}),
        (HOSTS, {"url": "https://api.example.com:8443/orders"}),
        (HOSTS, {"url": "http://api.example.com/orders"}),
        (HOSTS, {"url": "https://user@api.example.com/orders"}),
        (HOSTS, {"url": "https://127.0.0.1/orders"}),
        (HOSTS, {"url": "https://api.example.com/a b"}),
        (HOSTS, {"url": "https://api.example.com/a\r\nX: y"}),
        (HOSTS, {"url": "https://api.example.com/#part"}),
        (HOSTS, {"url": "/orders"}),
        (HOSTS, {"url": "https://api.example.com/orders", "method": "DELETE"}),
        (HOSTS, {"url": "https://api.example.com/orders", "method": "GET"}),
        (HOSTS, {"url": "https://api.example.com/orders", "text": "both"}),
        (CONFIG, {"url": "https://api.example.com/orders"}),
        (CONFIG, {"url": "//evil.example.com/orders"}),
        (CONFIG, {"url": "/../admin"}),
        (CONFIG, {"url": "/a/%2E%2e/admin"}),
        (CONFIG, {"url": "/a%2f..%2fadmin"}),
        (CONFIG, {"url": "/a\\b"}),
        (CONFIG, {"url": "/orders", "json": {"text": "x" * 1_000_000}}),
    ],
)
def test_what_the_spec_does_not_declare_is_no_item(connections: Connections, config: dict[str, Any], item: dict[str, Any]) -> None:
    port = HttpRequest(Directory(connections), CLOCK)
    with pytest.raises(Invalid, match="item_invalid"):
        port.canonical(config, {**ORDER, **item})


def test_connections_are_reused_and_given_up_when_the_server_closes_them(server: HttpServer, connections: Connections) -> None:
    name_it(connections, server)
    replies = asked_all(connections, [ORDER, ORDER, {**ORDER, "url": "/drop"}, ORDER])
    assert [reply.verdict for reply in replies] == ["done", "done", "unknown", "done"]
    assert server.connections == 2
