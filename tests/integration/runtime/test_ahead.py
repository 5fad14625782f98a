"""Chunks of one call on a real mail server: the next is planned while the one before is in flight, and nothing else changes by that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import col, select

from app.connectors.scripted import scripted
from app.connectors.smtp import SmtpEffect
from app.connectors.smtp_server_url import parse_smtp_url
from app.core.clock import SystemClock
from app.core.db import Database
from app.runtime import views
from app.runtime.models import Effect, EffectEvent
from app.runtime.process import Call
from app.sandbox.sandbox import Sandbox
from tests.integration.runtime.test_holders import gated, second_process
from tests.support.smtp import start_smtp
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, program_of, sender_spec, world

pytestmark = pytest.mark.anyio
CONNECTIONS = 4
TO = [f"c{number}@example.org" for number in range(90)]  # a first chunk of 50 and one of 40
READER = """
def run(args, ctx):
    counts = {"done": 0}
    def items():
        for number, to in enumerate(args["to"]):
            if number == 60:
                ctx.log("read", value=ctx.read("note", key="k"))
            yield {"to": to, "subject": "Hello", "text": "Hi"}
    for outcome in ctx.perform_each("send", items()):
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    return counts
"""


@asynccontextmanager
async def mailing(database: Database, sandbox: Sandbox, folder: Path, source: str | None = None, **changes: object) -> AsyncIterator[World]:
    """A world that mails through a server which takes 20 ms for each."""
    server = start_smtp(folder, "--delay-ms", "20")
    smtp = SmtpEffect(parse_smtp_url(server.url), CONNECTIONS, SystemClock())
    twins = scripted()
    connectors = replace(twins, effects={**twins.effects, "email.send": smtp})
    spec = sender_spec(**changes)
    made = World(database, sandbox, connectors, {1: program_of(spec, source) if source else program_of(spec)})
    await smtp.start()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        await smtp.stop()
        server.stop()


def events(database: Database) -> list[tuple[int, str]]:
    """Each transition in the order in which it was written: the position of its effect, and the state that it led to."""
    query = select(Effect.position, EffectEvent.after).join(Effect, col(Effect.seq) == col(EffectEvent.effect_seq))
    with database.reading() as session:
        return [(position, after) for position, after in session.exec(query.order_by(col(EffectEvent.seq)))]


async def test_the_next_chunk_is_claimed_while_the_one_before_is_in_flight(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with mailing(database, sandbox, tmp_path) as w:
        _, ending = await w.call(group="g", to=TO)
        assert ending is not None and ending.result is not None and ending.result["done"] == len(TO)
        written = events(database)
        ends_of_the_first = [place for place, (position, after) in enumerate(written) if position < 50 and after == "done"]
        assert written.index((50, "claimed")) < max(ends_of_the_first)


async def test_a_page_is_read_while_a_chunk_is_in_flight(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    reads = [{"id": "note", "connector": "records.get", "config": {"collection": "notes"}}]
    async with mailing(database, sandbox, tmp_path, READER, _reads=reads) as w:
        begun, ending = await w.call(group="g", to=TO)
        assert ending is not None and ending.result is not None and ending.result["done"] == len(TO)
        written = events(database)
        ends_of_the_first = [place for place, (position, after) in enumerate(written) if position < 50 and after == "done"]
        assert written.index((60, "claimed")) < max(ends_of_the_first)
        assert w.run(begun.run_id)["state"] == "completed"


async def test_no_more_effects_are_begun_than_there_is_room_for_beside_those_whose_answers_are_being_written(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with mailing(database, sandbox, tmp_path) as w:
        await w.call(group="g", to=TO)
        performing = most = 0
        for _, after in events(database):
            performing += {"performing": 1, "done": -1}.get(after, 0)
            most = max(most, performing)
        assert performing == 0 and 1 < most <= CONNECTIONS * (w.runtime.engine.places.ahead + 1)


async def test_an_address_again_in_the_next_chunk_is_a_duplicate_with_the_outcome_of_the_first(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    source = """
    def run(args, ctx):
        outcomes = list(ctx.perform_each("send", ({"to": to, "subject": "Hello", "text": "Hi"} for to in args["to"])))
        again = outcomes[60]
        ctx.log("seen", status=again.status, same=again.receipt == outcomes[49].receipt and again.receipt is not None)
        return {"done": sum(outcome.status == "done" for outcome in outcomes)}
    """
    async with mailing(database, sandbox, tmp_path, source) as w:
        begun, ending = await w.call(group="g", to=[*TO[:60], TO[49], *TO[60:]])
        assert ending is not None and ending.result == {"done": len(TO)}
        logged = views.read_logs(CALLER, database, begun.run_id)["items"]
        assert [line["fields"] for line in logged] == [{"status": "duplicate", "same": True}]


async def test_a_chunk_under_way_counts_towards_the_limit_of_a_run(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with mailing(database, sandbox, tmp_path, limits={"per_run": 60}) as w:
        _, ending = await w.call(group="g", to=TO)
        assert ending is not None and ending.error is not None and ending.error["code"] == "effect_limit_exceeded"
        assert {position for position, _ in events(database)} == set(range(50))


async def test_a_chunk_that_another_run_holds_keeps_the_next_one_from_nothing(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        connectors, gate = gated(w.connectors)
        first = await second_process(w, connectors)
        _, holding = await first.begin(CALLER, w.programs[1], Call({"group": "g", "to": TO[:50]}))
        assert holding is not None
        holder = asyncio.create_task(first.drive(holding))
        await until(lambda: len(gate.asked) == gate.concurrency, what="a run holds all of a chunk")
        _, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": TO}))
        assert execution is not None
        driving = asyncio.create_task(w.runtime.drive(execution))
        await until(lambda: set(TO[50:]) <= set(w.sent()), 5, what="the other run performs what is free")  # the chunk is waited for longer
        assert not driving.done()
        gate.open.set()
        assert [(await task).state for task in (holder, driving)] == ["completed", "completed"]
        assert sorted(w.sent()) == sorted(TO)
        await first.stop()
