"""Tools on the service's own connectors, in a real sandbox, against real servers: ledger, retries, look-up, fan-out, snapshots."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from app.connectors.connections import create_connection
from app.connectors.outbox import list_outbox
from app.connectors.production import connections_of, production
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.feed import Feed
from app.core.settings import Settings
from app.records.writing import put_record
from app.runtime import turns
from app.runtime.flow import pace
from app.runtime.process import Call, Runtime
from app.runtime.program import Program
from app.runtime.queue import work_queue
from app.runtime.repository.flow import Places, PlacesWanted, take_places
from app.sandbox.sandbox import Sandbox
from tests.support.http_server import HttpServer, http_server
from tests.support.rates import EARLY_S, early_by
from tests.support.smtp import SmtpProcess
from tests.support.waiting import until_async
from tests.support.worlds import CALLER, program_of, sender_spec

pytestmark = pytest.mark.anyio
ORDERS = """
def run(args, ctx):
    counts = dict.fromkeys(("done", "skipped", "duplicate", "retrying", "failed", "unknown"), 0)
    for outcome in ctx.perform_each("send", ({"method": "POST", "url": args["group"], "json": {"no": no}} for no in args["to"])):
        counts[outcome.status] += 1
    return counts
"""
ALARM = """
def run(args, ctx):
    counts = dict.fromkeys(("done", "skipped", "duplicate", "retrying", "failed", "unknown"), 0)
    items = ({"channel": name, "subject": "Alarm", "text": args["group"]} for name in args["to"])
    for outcome in ctx.perform_each("send", items):
        counts[outcome.status] += 1
    return counts
"""
KEEPER = """
def run(args, ctx):
    kept = ctx.perform("send", {})
    rows = list(ctx.read_pages("people", snapshot=kept.receipt["snapshot"]))
    return {"done": len(rows)}
"""
API = {"connection": "orders_api", "methods": ["POST"], "keep": {"fields": ["id"]}}


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as made:
        yield made


class Shop:
    """A runtime on production's connectors, and one program."""

    def __init__(self, database: Database, runtime: Runtime, program: Program) -> None:
        self.database, self.runtime, self.program = database, runtime, program

    async def run(self, **args: Any) -> dict[str, Any]:
        begun, execution = await self.runtime.begin(CALLER, self.program, Call(args))
        assert execution is not None, begun
        ending = await self.runtime.drive(execution)
        assert ending.state == "completed", ending
        result: dict[str, Any] = ending.result
        return {name: count for name, count in result.items() if count}

    def effects(self) -> list[dict[str, Any]]:
        with self.database.reading() as session:
            rows = session.connection().execute(
                sa.text("SELECT state, attempts, receipt, error, next_at, message_id FROM effect ORDER BY seq")
            )
            return [dict(row._mapping) for row in rows]


@asynccontextmanager
async def shop(database: Database, sandbox: Sandbox, home: Path, program: Program, lease_s: float = 15.0) -> AsyncIterator[Shop]:
    connectors = production(Settings(home=home), database)
    await connectors.start()
    runtime = Runtime(database, sandbox, connectors, lambda *_: program, Feed(database), role="web", lease_s=lease_s, heartbeat_s=0.2)
    await runtime.start()
    try:
        yield Shop(database, runtime, program)
    finally:
        await runtime.stop()
        await connectors.stop()


def name_orders_api(database: Database, home: Path, server: HttpServer) -> None:
    config = {"base_url": f"{server.url}/v1", "private_addresses": True, "plain_http": True}
    create_connection(SYSTEM, connections_of(Settings(home=home), database), "orders_api", "http", config, "Bearer s3cr3t")


async def test_each_order_is_posted_once_with_its_key_however_often_it_is_asked_for(
    database: Database, sandbox: Sandbox, tmp_path: Path, server: HttpServer
) -> None:
    name_orders_api(database, tmp_path, server)
    program = program_of(sender_spec(connector="http.request", config=API, key="[item.json.no]", ledger=None), ORDERS)
    async with shop(database, sandbox, tmp_path, program) as here:
        assert await here.run(group="/orders", to=["a", "b", "a"]) == {"done": 2, "duplicate": 1}
        assert await here.run(group="/orders", to=["a", "b"]) == {"skipped": 2}
        rows = here.effects()
    assert sorted(json.loads(heard.body)["no"] for heard in server.heard) == ["a", "b"]
    assert {heard.headers["idempotency-key"] for heard in server.heard} == {row["message_id"] for row in rows}
    assert [json.loads(row["receipt"]) for row in rows] == [{"status": 201, "headers": {}, "fields": {"id": "o-1"}}] * 2
    assert "s3cr3t" not in str(rows)


async def test_a_server_that_is_busy_is_asked_again_by_the_queue_and_not_before_it_said(
    database: Database, sandbox: Sandbox, tmp_path: Path, server: HttpServer
) -> None:
    name_orders_api(database, tmp_path, server)
    server.cues["/v1/orders"] = 503, {"Retry-After": "3"}, b""
    program = program_of(sender_spec(connector="http.request", config=API, key="[item.json.no]", ledger=None), ORDERS)
    async with shop(database, sandbox, tmp_path, program) as here:
        began = database.clock.now()
        assert await here.run(group="/orders", to=["a"]) == {"retrying": 1}
        (row,) = here.effects()
        assert (row["state"], row["attempts"]) == ("retry_wait", 1)
        assert row["next_at"] >= began + 3000
        with database.writing() as session:  # the time passes
            session.connection().execute(sa.text("UPDATE effect SET next_at = 0"))
        server.cues.clear()
        assert await work_queue(here.runtime) == 1
        assert here.effects()[0]["state"] == "done"
    assert len({heard.headers["idempotency-key"] for heard in server.heard}) == 1


async def test_a_connection_that_is_not_there_keeps_an_effect_waiting_and_loses_nothing(
    sqlite_database: Database, sandbox: Sandbox, tmp_path: Path, server: HttpServer
) -> None:
    program = program_of(sender_spec(connector="http.request", config=API, key="[item.json.no]", ledger=None), ORDERS)
    async with shop(sqlite_database, sandbox, tmp_path, program) as here:
        assert await here.run(group="/orders", to=["a"]) == {"retrying": 1}
        (row,) = here.effects()
        assert json.loads(row["error"])["code"] == "connection_unknown"
        name_orders_api(sqlite_database, tmp_path, server)
        with sqlite_database.writing() as session:
            session.connection().execute(sa.text("UPDATE effect SET next_at = 0"))
        assert await work_queue(here.runtime) == 1
        assert here.effects()[0]["state"] == "done"


async def test_a_channel_that_was_told_is_not_told_again_when_another_is_retried(
    database: Database, sandbox: Sandbox, tmp_path: Path, server: HttpServer
) -> None:
    connections = connections_of(Settings(home=tmp_path), database)
    config = {"url": f"{server.url}/alarms", "private_addresses": True, "plain_http": True}
    create_connection(SYSTEM, connections, "pager", "webhook", config, "k3y")
    channels = {"ops": {"email": {"to": "ops@example.com", "from_domain": "example.com"}}, "pager": {"webhook": {"connection": "pager"}}}
    how = {"connector": "notify.send", "config": {"channels": channels}, "key": "[args.group, item.channel]"}
    spec = sender_spec(**how, criticality="best_effort", ledger=None)
    server.cues["/alarms"] = 500, {}, b""
    async with shop(database, sandbox, tmp_path, program_of(spec, ALARM)) as here:
        assert await here.run(group="low stock", to=["ops", "pager"]) == {"done": 1, "retrying": 1}
        assert await here.run(group="low stock", to=["ops", "pager"]) == {"skipped": 1, "retrying": 1}
        server.cues.clear()
        with database.writing() as session:
            session.connection().execute(sa.text("UPDATE effect SET next_at = 0 WHERE state = 'retry_wait'"))
        assert await work_queue(here.runtime) == 1
        receipts = [json.loads(row["receipt"]) for row in here.effects()]
    assert sorted(receipt["channel"] for receipt in receipts) == ["ops", "pager"]
    assert len(list_outbox(SYSTEM, database).items) == 1
    assert [heard.headers["webhook-id"] for heard in server.heard] == [server.heard[0].headers["webhook-id"]] * 2


async def test_a_snapshot_taken_by_a_tool_is_read_by_it_as_it_was(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    for number in range(3):
        put_record(SYSTEM, database, "people", f"p{number}", {"n": number})
    reads = [{"id": "people", "connector": "records.query", "config": {"collections": ["people"]}}]
    spec = sender_spec(
        connector="records.snapshot", config={"collection": "people"}, key="[args.group]", limits={"per_run": 1}, ledger=None, _reads=reads
    )
    async with shop(database, sandbox, tmp_path, program_of(spec, KEEPER)) as here:
        assert await here.run(group="first", to=[]) == {"done": 3}
        put_record(SYSTEM, database, "people", "p9", {"n": 9})
        assert await here.run(group="first", to=[]) == {"done": 3}  # the receipt of the first
        assert await here.run(group="second", to=[]) == {"done": 4}


async def test_mails_over_a_domains_limit_are_put_off_to_the_queue_without_an_attempt(
    database: Database, sandbox: Sandbox, tmp_path: Path, start_server: Callable[..., SmtpProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_MS", 1000)  # five seconds would be waited for
    mail = start_server()
    settings = {"host": "127.0.0.1", "port": mail.port, "tls": "none", "per_domain_per_second": 0.5}
    create_connection(SYSTEM, connections_of(Settings(home=tmp_path), database), "mail", "smtp", settings)
    program = program_of(sender_spec(config={"from_domain": "example.com", "connection": "mail"}))
    everyone = [f"u{number}@slow.example.com" for number in range(3)] + ["ann@quick.example.com"]
    async with shop(database, sandbox, tmp_path, program) as here:
        assert await here.run(group="spring", to=everyone) == {"done": 2, "retrying": 2}
        waiting = [row for row in here.effects() if row["state"] != "done"]
        assert [(row["state"], row["attempts"], json.loads(row["error"])["code"]) for row in waiting] == [("planned", 0, "lane_busy")] * 2
        assert all(row["next_at"] > database.clock.now() for row in waiting)

        async def all_done() -> bool:
            with database.writing() as session:
                session.connection().execute(sa.text("UPDATE effect SET next_at = 0 WHERE state IN ('planned', 'retry_wait')"))
            await work_queue(here.runtime)
            return {row["state"] for row in here.effects()} == {"done"}

        await until_async(all_done, 30, "the queue has sent the rest")
        assert {row["attempts"] for row in here.effects()} == {1}
    assert sorted(line["to"] for line in mail.accepted()) == sorted(everyone)


async def test_notifications_share_a_domains_limit_with_the_mails_of_the_same_server(
    sqlite_database: Database, sandbox: Sandbox, tmp_path: Path, start_server: Callable[..., SmtpProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_MS", 1000)  # five seconds would be waited for
    mail = start_server()
    settings = {"host": "127.0.0.1", "port": mail.port, "tls": "none", "per_domain_per_second": 0.2}
    create_connection(SYSTEM, connections_of(Settings(home=tmp_path), sqlite_database), "mail", "smtp", settings)
    email = {"from_domain": "example.com", "connection": "mail"}
    channels = {name: {"email": {"to": f"{name}@{name}.example.com", **email}} for name in ("slow", "quick")}
    how = {"connector": "notify.send", "config": {"channels": channels}, "key": "[args.group, item.channel]"}
    notifier = program_of(sender_spec(**how, criticality="best_effort", ledger=None), ALARM)
    async with shop(sqlite_database, sandbox, tmp_path, program_of(sender_spec(config=email))) as here:
        assert await here.run(group="spring", to=["ann@slow.example.com"]) == {"done": 1}
    async with shop(sqlite_database, sandbox, tmp_path, notifier) as there:
        assert await there.run(group="low stock", to=["slow", "quick"]) == {"done": 1, "retrying": 1}
        (waiting,) = [row for row in there.effects() if row["state"] != "done"]
    assert json.loads(waiting["error"])["code"] == "lane_busy"
    assert [line["to"] for line in mail.accepted()] == ["ann@slow.example.com", "quick@quick.example.com"]


async def test_two_processes_that_send_keep_a_domains_limit_together(
    database: Database, sandbox: Sandbox, tmp_path: Path, start_server: Callable[..., SmtpProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    mail, rate, each = start_server(), 20, 15
    ahead: list[float] = []

    def watched(session: Session, wanted: list[PlacesWanted]) -> list[Places]:
        given = take_places(session, wanted)
        ahead.extend(places.first_ms - database.clock.monotonic() for places in given)
        return given

    monkeypatch.setattr(pace, "take_places", watched)  # the same places; what is given is noted
    settings = {"host": "127.0.0.1", "port": mail.port, "tls": "none", "per_domain_per_second": rate, "per_domain_at_once": 4}
    create_connection(SYSTEM, connections_of(Settings(home=tmp_path), database), "mail", "smtp", settings)
    program = program_of(sender_spec(config={"from_domain": "example.com", "connection": "mail"}))
    async with shop(database, sandbox, tmp_path, program) as here, shop(database, sandbox, tmp_path, program) as there:
        began, begun_at = time.time(), time.monotonic()
        ran = ((here, "here"), (there, "there"))
        results = await asyncio.gather(
            *(one.run(group=name, to=[f"{name}{number}@one.example.com" for number in range(each)]) for one, name in ran)
        )
        took = time.monotonic() - begun_at
        assert results == [{"done": each}] * 2
        with database.reading() as session:
            moments = sa.text("SELECT at FROM effect_event WHERE after = 'performing' ORDER BY at")
            begun = [at / 1000 for at in session.connection().execute(moments).scalars()]
    assert early_by(begun, rate, began) <= EARLY_S
    assert (2 * each - 1) / rate - 0.15 <= took
    a_turn = max(1, pace.AHEAD_US * rate // 1_000_000) * 1000 / rate
    assert max(ahead) <= a_turn + 1000 / rate + 3, "nobody is made to wait for more than the other's turn, so the limit is used"
    assert len(mail.accepted()) == 2 * each
