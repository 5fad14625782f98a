"""What a pause does to runs, to the retry queue and to what is in flight: through the real runtime, on both databases."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from sqlmodel import select

from app.core.actor import DEFAULT_TENANT, Actor
from app.core.db import Database
from app.core.errors import Invalid, NotFound
from app.observability.models import AuditEvent
from app.runtime import decisions, views
from app.runtime.flow.board import Flow
from app.runtime.flow.limits import Fuse, Limits
from app.runtime.flow.pausing import begin_pause, end_pause, pauses_of
from app.runtime.models import Effect
from app.runtime.process import Call
from app.runtime.queue import next_due, work_queue, workable
from app.runtime.recovery import due_runs
from app.sandbox.sandbox import Sandbox
from tests.support.stalls import until_within
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, PURE, World, world

pytestmark = pytest.mark.anyio
OPERATOR = Actor("key_operator", "operator", DEFAULT_TENANT, frozenset({"*"}))
ADA, BOB = "ada@example.org", "bob@example.org"
MANY = [f"n{number}@example.org" for number in range(40)]
SLOWLY = {"per_run": 100_000, "per_second": 40}
TOOL = ("tool", "send_notes")
CONNECTOR = ("connector", "email.send")
ALL = ("everything", "")


async def paused(w: World, what: tuple[str, str]) -> None:
    """Pause, and wait until the process knows."""
    begin_pause(OPERATOR, w.database, *what, "the list is wrong")
    await until_within(1.0, lambda: _known(w), "the pause is known")


async def resumed(w: World, what: tuple[str, str]) -> None:
    """End a pause, and wait until the process knows."""
    end_pause(OPERATOR, w.database, *what)
    await until_within(1.0, lambda: _known(w), "the end is known")


def _known(w: World) -> bool:
    return len(_flow(w).pauses(DEFAULT_TENANT)) == len(pauses_of(w.database, DEFAULT_TENANT))


def _flow(w: World) -> Flow:
    assert w.runtime.flow is not None
    return w.runtime.flow


def _effect_states(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.exec(select(Effect.state)))


async def _work(w: World) -> bool:
    """Work the queue once; whether everybody has been sent to."""
    await work_queue(w.runtime)
    return len(w.sent()) == len(MANY)


@pytest.mark.parametrize("what", [TOOL, CONNECTOR, ALL])
async def test_a_pause_stops_a_run_at_an_effect_boundary_and_its_end_lets_it_go_on_without_repeating(
    database: Database, sandbox: Sandbox, what: tuple[str, str]
) -> None:
    async with world(database, sandbox, flow=Limits(), limits=SLOWLY) as w:
        calling = asyncio.create_task(w.call(group="g", to=MANY))
        await until(lambda: len(w.sent()) >= 5, what="the run sends")
        await paused(w, what)
        begun, ending = await asyncio.wait_for(calling, 60)
        assert ending is not None and ending.state == "paused" and 5 <= len(w.sent()) < len(MANY)
        run = w.run(begun.run_id)
        assert run["state"] == "scheduled" and run["waits_for"] == ("email.send" if what == CONNECTOR else None)
        assert set(w.states().values()) == {"done", "planned"}
        assert due_runs(database) == [] and await w.runtime.execute(begun.run_id) is None
        await resumed(w, what)
        assert due_runs(database) == [begun.run_id]
        ending = await w.runtime.execute(begun.run_id)
        assert ending is not None and ending.state == "completed" and ending.result is not None and ending.result["done"] == len(MANY)
        assert sorted(w.sent()) == sorted(MANY)


async def test_a_paused_connector_lets_runs_go_on_that_do_not_come_to_it(sqlite_database: Database, sandbox: Sandbox) -> None:
    async with world(sqlite_database, sandbox, PURE, flow=Limits()) as w:
        await paused(w, CONNECTOR)
        _, ending = await w.call(group="g", to=[ADA])
        assert ending is not None and ending.state == "completed"


async def test_a_dry_run_and_a_run_that_waits_already_know_of_a_paused_connector(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, flow=Limits()) as w:
        await paused(w, CONNECTOR)
        _, rehearsed = await w.call(group="g", to=[ADA], dry_run=True)
        assert rehearsed is not None and rehearsed.state == "completed" and rehearsed.plan is not None
        assert [effect["would"] for effect in rehearsed.plan] == ["perform"]
        begun, ending = await w.call(group="g", to=[ADA])
        assert ending is not None and ending.state == "paused" and w.sent() == []
        waiting, _ = await w.call(here=False, group="g", to=[BOB])
        assert due_runs(database) == [waiting.run_id], "it has not come to the connector yet"
        assert begun.run_id not in due_runs(database)


async def test_the_retry_queue_leaves_what_is_paused_alone_and_counts_no_attempt(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "refuse_now", "times": 1}]
    for what in (TOOL, CONNECTOR, ALL):
        async with world(database, sandbox, flow=Limits(), script=script) as w:
            await w.call(group=what[0], to=[ADA, BOB])
            await until(lambda: (due := next_due(database)) is not None and due <= database.clock.now(), what="a retry is due")
            await paused(w, what)
            assert next_due(database, workable(w.runtime)) is None and await work_queue(w.runtime) == 0
            (row,) = views.list_effects(CALLER, database, state="retry_wait")["items"]
            assert (row["subject"], row["attempts"]) == (BOB, 1)
            await resumed(w, what)
            assert await work_queue(w.runtime) == 1 and w.sent().count(BOB) == 1
            assert next_due(database) is None


async def test_the_retry_queue_stops_in_the_middle_of_a_batch_that_is_paused(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {}, "answer": "refuse_now", "times": len(MANY)}]
    limits = Limits(fuse=Fuse(failures=0))
    async with world(database, sandbox, flow=limits, script=script, limits=SLOWLY) as w:
        await w.call(group="g", to=MANY)
        await until(lambda: (due := next_due(database)) is not None and due <= database.clock.now(), what="retries are due")
        working = asyncio.create_task(work_queue(w.runtime))
        await until(lambda: len(w.sent()) >= 3, what="the queue sends")
        await paused(w, CONNECTOR)
        await asyncio.wait_for(working, 60)
        held = set(w.states().values())
        assert held <= {"done", "planned", "retry_wait"} and "planned" in held and len(w.sent()) < len(MANY)
        with database.reading() as session:
            assert session.connection().execute(sa.text("SELECT max(attempts) FROM effect WHERE state = 'planned'")).scalar_one() == 1
        await resumed(w, CONNECTOR)
        await until(lambda: _work(w), 20.0, "every one is sent once")
        assert sorted(w.sent()) == sorted(MANY)


async def test_a_run_that_waits_for_the_end_of_a_pause_can_be_cancelled(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, flow=Limits()) as w:
        await paused(w, CONNECTOR)
        begun, _ = await w.call(group="g", to=[ADA])
        assert decisions.cancel_run(CALLER, database, begun.run_id)["state"] == "cancelled"
        await resumed(w, CONNECTOR)
        assert due_runs(database) == [] and w.sent() == []


async def test_a_pause_that_comes_between_the_beginning_and_the_driving_is_not_lost(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, flow=Limits()) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": [ADA]}))
        assert execution is not None
        await paused(w, TOOL)
        ending = await w.runtime.drive(execution)
        assert ending.state == "paused" and w.run(begun.run_id)["state"] == "scheduled" and w.sent() == []


async def test_what_is_not_known_counts_as_paused_until_it_can_be_read_again(sqlite_database: Database, sandbox: Sandbox) -> None:
    async with world(sqlite_database, sandbox, flow=Limits()) as w:
        with sqlite_database.writing() as session:
            session.connection().exec_driver_sql("ALTER TABLE pause RENAME TO elsewhere")
        await until(lambda: not _flow(w).fresh, 6.0, "it is not known what is paused")
        calling = asyncio.create_task(w.call(group="g", to=[ADA]))
        await until(lambda: _effect_states(sqlite_database) == ["claimed"], what="the effect waits")
        assert w.sent() == [] and not await _flow(w).known()
        with sqlite_database.writing() as session:
            session.connection().exec_driver_sql("ALTER TABLE elsewhere RENAME TO pause")
        _, ending = await calling
        assert ending is not None and ending.state == "completed" and w.sent() == [ADA]


def test_a_pause_has_a_reason_an_author_and_a_place_in_the_audit_trail(database: Database) -> None:
    made = begin_pause(OPERATOR, database, *TOOL, "the list is wrong")
    assert (made["scope"], made["name"], made["reason"], made["actor"]) == (*TOOL, "the list is wrong", OPERATOR.id)
    again = begin_pause(OPERATOR, database, *TOOL, "the list is still wrong")
    assert again["since"] == made["since"] and pauses_of(database, DEFAULT_TENANT) == [again]
    assert pauses_of(database, "elsewhere") == []
    assert end_pause(OPERATOR, database, *TOOL) == again
    with pytest.raises(NotFound, match="not_paused"):
        end_pause(OPERATOR, database, *TOOL)
    with pytest.raises(Invalid, match="reason_invalid"):
        begin_pause(OPERATOR, database, *ALL, " ")
    with database.reading() as session:
        actions = list(session.exec(select(AuditEvent.action, AuditEvent.actor, AuditEvent.target).order_by(AuditEvent.id)))  # type: ignore[arg-type]  # SQLModel's column types
    assert actions == [(f"tool.{verb}", OPERATOR.id, "send_notes") for verb in ("paused", "paused", "resumed")]


async def test_a_pause_in_the_middle_of_several_chunks_repeats_and_loses_nothing(database: Database, sandbox: Sandbox) -> None:
    everyone = [f"n{number}@example.org" for number in range(1600)]
    async with world(database, sandbox, flow=Limits(), limits={"per_run": 100_000, "per_second": 1000}) as w:
        calling = asyncio.create_task(w.call(group="g", to=everyone))
        await until(lambda: len(w.sent()) >= 600, what="the run sends")
        await paused(w, CONNECTOR)
        begun, ending = await asyncio.wait_for(calling, 60)
        assert ending is not None and ending.state == "paused" and len(w.sent()) < len(everyone)
        await resumed(w, CONNECTOR)
        ending = await w.runtime.execute(begun.run_id)
        assert ending is not None and ending.state == "completed" and sorted(w.sent()) == sorted(everyone)
