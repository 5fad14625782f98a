"""Limits a second and at once hold over all processes together, and are used to the full: on both databases, in real time."""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlmodel import Session, select

from app.core import owners
from app.core.clock import ScriptedClock
from app.core.db import Database
from app.core.writer import GroupWriter
from app.runtime.flow.limits import ConnectorLimits, Limits, ToolLimits
from app.runtime.flow.pace import Pace
from app.runtime.flow.share import Shares
from app.runtime.models import EffectEvent
from app.runtime.process import Call
from app.runtime.recovery import due_runs
from app.sandbox.sandbox import Sandbox
from tests.support.rates import EARLY_S, early_by
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, silence, world

pytestmark = pytest.mark.anyio
ALWAYS: Callable[[], bool] = lambda: True  # noqa: E731  # a value


async def test_two_processes_keep_one_limit_a_second_together(database: Database, sandbox: Sandbox) -> None:
    """None begins before its place, and nearly as many as may do."""
    rate, each = 60, 75
    async with world(database, sandbox, flow=Limits(), limits={"per_run": 1000, "per_second": rate}) as w:
        second = w.another()
        await second.start()
        try:
            began, begun = time.time(), time.monotonic()
            await asyncio.gather(
                *(_drive(w, runtime, name, each) for runtime, name in ((w.runtime, "a"), (second, "b"))),
            )
            took = time.monotonic() - begun
        finally:
            await second.stop()
        with database.reading() as session:
            times = [at / 1000 for at in session.exec(select(EffectEvent.at).where(EffectEvent.after == "performing"))]
        assert len(w.sent()) == len(set(w.sent())) == 2 * each == len(times)
        assert early_by(times, rate, began) <= EARLY_S
        assert took < 2 * (2 * each / rate) + 1.5, "the limit is used"


async def _drive(w: World, runtime: object, name: str, number: int) -> None:
    to = [f"{name}{index}@example.org" for index in range(number)]
    begun, execution = await runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": to}))  # type: ignore[attr-defined]  # a Runtime
    assert execution is not None, begun
    ending = await runtime.drive(execution)  # type: ignore[attr-defined]  # as above
    assert ending.state == "completed" and ending.result["done"] == number


@pytest.fixture
def scripted_database(sqlite_template: Path, tmp_path: Path) -> Iterator[tuple[Database, ScriptedClock]]:
    shutil.copyfile(sqlite_template, tmp_path / "scripted.db")
    clock = ScriptedClock()
    database = Database(f"sqlite:///{tmp_path / 'scripted.db'}", clock=clock, durable=False)
    yield database, clock
    database.close()


@pytest.mark.parametrize("rate", [5, 60])
async def test_what_was_missed_is_made_up_for_by_a_tenth_and_one_at_most(
    scripted_database: tuple[Database, ScriptedClock], rate: int
) -> None:
    database, clock = scripted_database
    async with writer_of(database) as writer:
        pace = Pace("missed", rate, writer, clock)
        for away_ms in (0, 40, 300, 1000, 60_000):
            clock.advance(away_ms)
            begun = 0
            while await _begins_now(pace):
                begun += 1
            assert begun <= 1 + min(0.1, away_ms / 1000 + 0.05) * rate, f"after {away_ms} ms"
            clock.advance(math.ceil(1000 / rate))
            assert await _begins_now(pace), "the next place is for the next one"


async def _begins_now(pace: Pace) -> bool:
    """Whether one more may begin without the clock's moving; its place is taken."""
    asked = iter((True, False))
    await pace.wait(lambda: next(asked))
    return next(asked, None) is False


async def test_a_connectors_limit_holds_for_all_tools_and_is_the_operators(database: Database, sandbox: Sandbox) -> None:
    limits = Limits(connectors={"email.send": ConnectorLimits(per_second=40)})
    async with world(database, sandbox, flow=limits) as w:
        begun = time.monotonic()
        await w.call(group="g", to=[f"n{index}@example.org" for index in range(40)])
        assert time.monotonic() - begun >= 39 / 40 - 0.15 and len(w.sent()) == 40


async def test_who_gives_up_waiting_for_its_time_takes_no_place_from_others(scripted_database: tuple[Database, ScriptedClock]) -> None:
    database, clock = scripted_database
    async with writer_of(database) as writer:
        pace = Pace("slow", 0.5, writer, clock)
        going = [True] * 8
        await pace.wait(ALWAYS)
        waiting = [asyncio.create_task(pace.wait(lambda: going[0])) for _ in range(8)]
        await until(lambda: pace._places.count == 1, what="one place is taken for all of them")
        going[0] = False
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
        assert not await _begins_now(pace)
        clock.advance(2000)
        assert await _begins_now(pace), "the place that they gave up is the next one's"


@asynccontextmanager
async def writer_of(database: Database) -> AsyncIterator[GroupWriter]:
    writer = GroupWriter(database)
    try:
        yield writer
    finally:
        writer.close()


class Crowd:
    """Processes that use one limit at once; counts what is in flight over all of them."""

    def __init__(self) -> None:
        self.flying = self.most = 0
        self.done: dict[str, int] = {}
        self.going = True

    async def work(self, name: str, shares: Shares, number: int) -> None:
        async def lane(index: int) -> None:
            round_ = 0
            while self.going:
                effect = f"{name}{index}.{round_}"
                round_ += 1
                await shares.take(effect, lambda: self.going)
                if effect in shares.holders:
                    self.flying += 1
                    self.most = max(self.most, self.flying)
                    await until(_elapsed(0.01), what="the effect takes its time")
                    self.flying -= 1
                    self.done[name] = self.done.get(name, 0) + 1
                shares.leave(effect)

        await asyncio.gather(*(lane(index) for index in range(number)))


def _elapsed(seconds: float) -> Callable[[], bool]:
    until_then = time.monotonic() + seconds
    return lambda: time.monotonic() >= until_then


@pytest.mark.parametrize("limit", [1, 5])
async def test_processes_divide_a_limit_of_effects_in_flight_and_none_is_left_out(database: Database, limit: int) -> None:
    crowd = Crowd()
    async with writer_of(database) as writer:
        names = [owners.register(database, "worker", 60_000) for _ in range(2)]
        all_shares = [Shares("email.send", limit, writer, database.clock, lambda name=name: name) for name in names]  # type: ignore[misc]  # bound now
        working = [asyncio.create_task(crowd.work(name, shares, 6)) for name, shares in zip(names, all_shares, strict=True)]
        await until(lambda: len(crowd.done) == 2 and min(crowd.done.values()) >= 10, 12.0, "both get their part")
        if limit > 1:
            await until(lambda: {shares.granted for shares in all_shares} == {limit // 2}, what="the parts are equal")
        crowd.going = False
        await asyncio.gather(*working)
        assert crowd.most <= limit
        for shares in all_shares:
            await shares.stop()


async def test_the_share_of_a_process_that_died_is_divided_again(database: Database) -> None:
    async with writer_of(database) as writer:
        dead, alive = (owners.register(database, "worker", 60_000) for _ in range(2))
        first, second = (Shares("email.send", 2, writer, database.clock, lambda name=name: name) for name in (dead, alive))  # type: ignore[misc]  # bound now
        await first.take("a", ALWAYS)
        await first.take("b", ALWAYS)
        taking = asyncio.create_task(second.take("c", ALWAYS))
        await until(lambda: second.waiting == 1 and second._asked_at is not None, what="the other one asks")
        assert not taking.done()
        owners.void(database, owner=dead)
        await asyncio.wait_for(taking, 5)
        for shares in (first, second):
            await shares.stop()


async def test_a_share_that_could_not_be_given_back_is_given_back_once_it_can_be(database: Database) -> None:
    async with writer_of(database) as writer:
        names = [owners.register(database, "worker", 60_000) for _ in range(2)]
        idle, busy = (Shares("email.send", 1, writer, database.clock, lambda name=name: name) for name in names)  # type: ignore[misc]  # bound now
        await idle.take("a", ALWAYS)
        _rename(database, "flow_share", "flow_share_away")
        idle.leave("a")
        await until(lambda: idle.granted == 0, what="it tries to give its share back")
        await asyncio.gather(writer.put(_nothing, None), return_exceptions=True)  # it stands behind what was tried, and may fail with it
        _rename(database, "flow_share_away", "flow_share")
        await asyncio.wait_for(busy.take("b", ALWAYS), 30)
        for shares in (idle, busy):
            await shares.stop()


def _rename(database: Database, before: str, after: str) -> None:
    with database.writing() as session:
        session.connection().exec_driver_sql(f"ALTER TABLE {before} RENAME TO {after}")


def _nothing(_session: Session, asked: list[None]) -> list[None]:
    return asked


async def test_effects_in_flight_through_a_connector_are_limited_in_a_run(sqlite_database: Database, sandbox: Sandbox) -> None:
    limits = Limits(connectors={"*": ConnectorLimits(in_flight=2)})
    async with world(sqlite_database, sandbox, flow=limits) as w:
        _, ending = await w.call(group="g", to=[f"n{index}@example.org" for index in range(30)])
        assert ending is not None and ending.state == "completed" and len(w.sent()) == 30
        with sqlite_database.reading() as session:
            events = list(session.exec(select(EffectEvent.after).order_by(EffectEvent.seq)))  # type: ignore[arg-type]  # SQLModel's column types
        flying = most = 0
        for after in events:
            flying += (after == "performing") - (after == "done")
            most = max(most, flying)
        assert most <= 2 + 2, "two in flight, and two whose ends are written with the next beginnings"


async def test_no_more_runs_of_a_tool_execute_at_once_than_its_limit(database: Database, sandbox: Sandbox) -> None:
    limits = Limits(tools={"send_notes": ToolLimits(runs=1)})
    async with world(database, sandbox, flow=limits, limits={"per_run": 1000, "per_second": 40}) as w:
        first, _ = await w.call(here=False, group="g", to=[f"a{index}@example.org" for index in range(20)])
        second, _ = await w.call(here=False, group="g", to=["b@example.org"])
        executing = asyncio.create_task(w.runtime.execute(first.run_id))
        await until(lambda: w.run(first.run_id)["state"] == "executing", what="the first run executes")
        assert await w.runtime.execute(second.run_id) is None and w.run(second.run_id)["state"] == "available"
        await executing
        await until(lambda: second.run_id in due_runs(database), what="it comes again")
        ending = await w.runtime.execute(second.run_id)
        assert ending is not None and ending.state == "completed"


async def test_a_process_that_lost_its_lease_holds_no_share(sqlite_database: Database, sandbox: Sandbox) -> None:
    limits = Limits(connectors={"email.send": ConnectorLimits(in_flight=1)})
    async with world(sqlite_database, sandbox, flow=limits) as w:
        await w.call(group="g", to=["a@example.org"])
        dead = w.runtime
        await silence(dead)
        await w.boot()
        _, ending = await w.call(group="g", to=["b@example.org"])
        assert ending is not None and ending.state == "completed" and w.sent() == ["a@example.org", "b@example.org"]
