"""Tests of connections: really connect, sign in, ask; tell what was seen in one line, and keep it.

| kind | what a test does |
|---|---|
| smtp | connects, EHLO, STARTTLS and AUTH as configured, NOOP; sends nothing |
| http | HEAD (or GET) of `test_path` with the credential; fine is 2xx, 3xx, or 404 and 405 of a server that lets us in |
| webhook | posts a signed message of type `test`; fine is 2xx |

It refuses to be: a monitor. It happens when an operator asks, and says how things were then.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from typing import Any

from app.access.permissions import use_case
from app.connectors.connection_kinds import smtp_server
from app.connectors.connections import Connections, Opened, note_test, opened, read_connection
from app.connectors.http_exchange import Answered, Asked, Exchanges
from app.connectors.http_kind import without
from app.connectors.http_request import AGENT, base_of, credential
from app.connectors.notify import signed_post
from app.connectors.smtp_connection import Broken, SessionRefused, open_connection
from app.core import ids
from app.core.actor import Actor
from app.core.clock import iso
from app.core.errors import ToolmintError

WAIT_S = 10.0
_LET_IN = (404, 405)


@dataclass(frozen=True, slots=True)
class Seen:
    """How a test went; `text` is one line without a secret."""

    ok: bool
    text: str


@use_case("connections:manage")
async def check_connection(actor: Actor, connections: Connections, name: str, *, context: ssl.SSLContext | None = None) -> dict[str, Any]:
    """Test a connection as it is now: `{"ok", "text", "took_ms", "at"}`; kept with it, audited. Raises NotFound `connection_not_found`."""
    found = await asyncio.to_thread(read_connection, actor, connections, name)
    clock = connections.database.clock
    began = clock.monotonic()
    try:
        connection = await asyncio.to_thread(opened, connections, actor.tenant, name, found["kind"])
        seen = await _KINDS[connection.kind](connection, context, clock.now())
    except ToolmintError as error:
        seen = Seen(False, error.detail)
    took_ms = clock.monotonic() - began
    at = await asyncio.to_thread(_keep, connections, actor, name, found["version"], seen)
    return {"ok": seen.ok, "text": seen.text, "took_ms": took_ms, "at": iso(at)}


def _keep(connections: Connections, actor: Actor, name: str, version: int, seen: Seen) -> int:
    with connections.database.writing() as session:
        note_test(session, actor, name, version, seen.ok, seen.text)
    return connections.database.clock.now()


async def _smtp(connection: Opened, context: ssl.SSLContext | None, _now: int) -> Seen:
    server = smtp_server(connection.config, connection.secret)
    try:
        async with asyncio.timeout(WAIT_S):
            line = await open_connection(server, context or (ssl.create_default_context() if server.tls != "none" else None))
            try:
                reply = await line.noop()
            finally:
                line.quit()
    except SessionRefused as refused:
        return Seen(False, without(connection.secret, f"The server refuses us: {refused}")[:300])
    except Broken as broken:
        return Seen(False, without(connection.secret, f"The server could not be used: {broken}.")[:300])
    except TimeoutError:
        return Seen(False, f"The server did not answer within {WAIT_S:g} s.")
    except OSError as error:
        return Seen(False, f"The server could not be reached: {type(error).__name__}.")
    signed_in = f", signed in as {server.user}" if server.user else ""
    return Seen(reply.code // 100 == 2, without(connection.secret, f"The server answered {reply}{signed_in}.")[:300])


async def _http(connection: Opened, context: ssl.SSLContext | None, _now: int) -> Seen:
    config = connection.config
    url = base_of(connection) + config.get("test_path", "/")
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity", **credential(connection)}
    heard = await _asked(connection, Asked(config.get("test_method", "HEAD"), url, headers), context)
    if not isinstance(heard, Answered):
        return Seen(False, f"No answer: {heard.message}."[:300])
    fine = heard.status < 400 or heard.status in _LET_IN
    return Seen(fine, _said(connection, heard))


async def _webhook(connection: Opened, context: ssl.SSLContext | None, now: int) -> Seen:
    body = json.dumps({"type": "test", "text": "A test of this connection by an operator."}).encode()
    heard = await _asked(connection, signed_post(connection, ids.new("test", now), now, body), context)
    if not isinstance(heard, Answered):
        return Seen(False, f"No answer: {heard.message}."[:300])
    return Seen(200 <= heard.status < 300, _said(connection, heard))


async def _asked(connection: Opened, asked: Asked, context: ssl.SSLContext | None) -> Any:
    exchanges = Exchanges(1, private=connection.config.get("private_addresses", False), context=context)
    try:
        return await exchanges.ask(asked, asyncio.get_running_loop().time() + WAIT_S)
    finally:
        await exchanges.close()


def _said(connection: Opened, heard: Answered) -> str:
    return without(connection.secret, f"The server answered {heard.status} {heard.reason}".strip())[:299] + "."


_KINDS = {"smtp": _smtp, "http": _http, "webhook": _webhook}
