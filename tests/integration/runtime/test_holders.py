"""Who holds what: leases, retry queues beside runs, holders that go, versions that do not load, cancelled runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, select

from app.connectors.port import Connectors, Reply, Request
from app.connectors.scripted import ScriptedConnectors, ScriptedEmail
from app.core import faults, owners
from app.core.clock import iso
from app.core.db import Database
from app.core.errors import Failed
from app.runtime import decisions, queue, views
from app.runtime.journal import digest_text
from app.runtime.models import Effect, Run
from app.runtime.process import Call, Runtime
from app.runtime.program import Program
from app.runtime.recovery import sweep
from app.sandbox.sandbox import Sandbox
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, silence, world

pytestmark = pytest.mark.anyio
ADA, BOB, CAT = "ada@example.org", "bob@example.org", "cat@example.org"
LATER = [{"effect": "send", "when": {"to": BOB}, "answer": "refuse_now", "times": 1}]


@dataclass
class Gate:
    """E-mail that waits at an open hand: `asked` says who has come, `open` lets them all pass."""

    inner: ScriptedEmail
    asked: list[Request] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    concurrency: int = 8

    @property
    def kind(self) -> Any:
        return self.inner.kind

    def canonical(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        return self.inner.canonical(config, item)

    def message_id(self, effect_id: str, config: dict[str, Any]) -> str | None:
        return self.inner.message_id(effect_id, config)

    async def perform(self, request: Request) -> Reply:
        self.asked.append(request)
        await self.open.wait()
        return await self.inner.perform(request)


def gated(connectors: ScriptedConnectors) -> tuple[ScriptedConnectors, Gate]:
    email = connectors.effects["email.send"]
    assert isinstance(email, ScriptedEmail)
    gate = Gate(email)
    return replace(connectors, effects={**connectors.effects, "email.send": gate}), gate


async def second_process(w: World, connectors: Connectors) -> Runtime:
    """Another process on the same database, with connectors of its own."""
    made = w.another()
    made.connectors = made.engine.connectors = connectors
    await made.start()
    return made


async def due(w: World) -> None:
    await until(lambda: (at := queue.next_due(w.database)) is not None and at <= w.database.clock.now(), what="a retry is due")


async def test_a_holder_that_dies_takes_down_its_run_and_not_what_another_queue_performs_of_it(
    database: Database, sandbox: Sandbox
) -> None:
    async with world(database, sandbox, script=LATER) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": [BOB]}))
        assert execution is not None
        connectors, gate = gated(w.connectors)
        await w.runtime.drive(execution)
        with database.writing() as session:  # its process has not finished the run when it dies
            run = session.get_one(Run, begun.run_id)
            run.state, run.owner = "executing", w.runtime.owner
        await due(w)
        other = await second_process(w, connectors)
        working = asyncio.create_task(queue.work_queue(other))
        await until(lambda: gate.asked)
        assert await w.die() == [begun.run_id]
        assert w.states() == {BOB: "performing"}
        gate.open.set()
        assert await working == 1
        assert w.states() == {BOB: "done"} and w.sent() == [BOB]
        await other.stop()


async def test_a_run_that_leaves_drops_its_own_claims_and_not_those_of_the_queue_beside_it(database: Database, sandbox: Sandbox) -> None:
    source = """
    def run(args, ctx):
        ctx.perform("send", {"to": args["to"][0], "subject": "Hello", "text": "Hi"})
        while True:
            ctx.progress(1, 2)
    """
    async with world(database, sandbox, source, script=LATER) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": [BOB]}))
        assert execution is not None
        driving = asyncio.create_task(w.runtime.drive(execution))
        await due(w)
        w.runtime.engine.connectors, gate = gated(w.connectors)
        w.runtime.connectors = w.runtime.engine.connectors
        working = asyncio.create_task(queue.work_queue(w.runtime))
        await until(lambda: gate.asked)
        w.runtime.stop_run(begun.run_id, "leave")
        assert (await driving).state == "leave"
        assert w.states() == {BOB: "performing"}
        gate.open.set()
        await working
        assert w.states() == {BOB: "done"}


async def test_a_claim_of_a_queue_that_dies_before_it_began_is_due_again(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, script=LATER) as w:
        await w.call(group="g", to=[BOB])
        await due(w)
        claimed: list[queue.Due] = []
        queue._claim_due(database, w.runtime.owner, 10, claimed)
        assert len(claimed) == 1
        await w.die()
        assert w.states() == {BOB: "planned"}
        assert await queue.work_queue(w.runtime) == 1
        assert w.states() == {BOB: "done"} and w.sent() == [BOB]


async def test_claims_whose_commit_has_lost_its_answer_do_not_stay_with_a_process_that_lives_on(
    database: Database, sandbox: Sandbox
) -> None:
    async with world(database, sandbox, script=LATER) as w:
        begun, _ = await w.call(group="h", to=[CAT], here=False)
        await w.call(group="g", to=[BOB])
        await due(w)
        try:
            faults.arm("run.available-executing.after=raise,effect.planned-claimed.after=raise")
            ending = await w.runtime.execute(begun.run_id)
            with pytest.raises(faults.FaultInjected):
                await queue.work_queue(w.runtime)
        finally:
            faults.arm("")
        assert ending is not None and ending.state == "crashed" and w.run(begun.run_id)["state"] == "scheduled"
        assert w.states() == {BOB: "planned"}
        assert await queue.work_queue(w.runtime) == 1 and w.states() == {BOB: "done"}


async def test_a_version_that_does_not_load_holds_up_its_own_retries_alone(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": to}, "answer": "refuse_now", "times": 1} for to in (BOB, CAT)]
    async with world(database, sandbox, script=script) as w:
        await w.call(group="g", to=[BOB])
        first = w.programs[1]
        w.programs[2] = Program(first.tool, 2, digest_text(f"2 {first.digest}"), first.spec, first.files)
        await w.call(version=2, group="g", to=[CAT])
        await until(lambda: len(views.list_effects(CALLER, database, state="retry_wait")["items"]) == 2)
        load = w.runtime.load

        def broken(tenant: str, tool: str, version: int) -> Program:
            if version == 1:
                raise Failed("artifact_altered", "A file of this version was changed.")
            return load(tenant, tool, version)

        w.runtime.load = broken
        await until(lambda: _worked_to(w, {BOB: "planned", CAT: "done"}))
        with database.reading() as session:
            row = session.exec(select(Effect).where(Effect.subject == BOB)).one()
            assert (row.attempts, row.error_code) == (1, "artifact_altered") and (row.next_at or 0) > database.clock.now()
        with database.writing() as session:
            session.get_one(Effect, row.seq).next_at = 1
        w.runtime.load = load
        await queue.work_queue(w.runtime)
        assert w.states()[BOB] == "done"


async def _worked_to(w: World, states: dict[str, str]) -> bool:
    await queue.work_queue(w.runtime)
    return w.states() == states


async def test_a_retry_has_the_deadline_of_the_lease_and_its_count_of_attempts(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, script=LATER, lease_s=8.0) as w:
        w.connectors, gate = gated(w.connectors)
        gate.open.set()
        w.runtime.engine.connectors = w.runtime.connectors = w.connectors
        await w.call(group="g", to=[BOB])
        await due(w)
        await queue.work_queue(w.runtime)
        assert [request.attempt for request in gate.asked] == [1, 2]
        assert all(0 < request.deadline <= database.clock.monotonic() + 7000 for request in gate.asked)


async def test_what_was_not_begun_when_its_lease_ended_is_not_begun_by_the_process_that_lives_on(
    database: Database, sandbox: Sandbox
) -> None:
    async with world(database, sandbox) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": [ADA]}))
        assert execution is not None
        owners.void(database, owner=w.runtime.owner)
        before = w.runtime.owner
        await until(lambda: w.runtime.owner != before, what="a new owner")
        assert (await w.runtime.drive(execution)).state == "lost"
        assert w.sent() == []
        sweep(database)
        assert w.run(begun.run_id)["state"] in ("available", "scheduled") and set(w.states().values()) <= {"planned"}
        await w.runtime.execute(begun.run_id)
        assert w.sent() == [ADA]


async def test_a_run_that_is_fenced_while_its_owner_lives_is_given_back_and_not_forgotten(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": [ADA]}))
        assert execution is not None
        w.runtime.engine.lease_until = lambda: 0  # the heartbeat is late: the process may not perform, yet its row is renewed in time
        assert (await w.runtime.drive(execution)).state == "lost"
        run = w.run(begun.run_id)
        assert (run["state"], run["crashes"]) == ("available", 0) and w.states() == {ADA: "planned"}


async def test_a_run_that_fails_inside_us_each_time_is_quarantined(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": [ADA]}))
        assert execution is not None

        w.runtime.engine.sandbox = _Broken()
        assert (await w.runtime.drive(execution)).state == "crashed"
        for _ in range(2):
            await until(lambda: _executed(w, begun.run_id), what="the run is due again")
        assert w.run(begun.run_id)["state"] == "quarantined"


class _Broken:
    """A sandbox with a bug of ours."""

    async def session(self, digest: str, files: Any, limits: Any) -> Any:
        raise RuntimeError("a bug of ours")


async def _executed(w: World, run_id: str) -> bool:
    return await w.runtime.execute(run_id) is not None


async def test_what_could_not_be_given_back_while_the_database_was_away_is_given_back_later(
    sqlite_database: Database, sandbox: Sandbox
) -> None:
    async with world(sqlite_database, sandbox) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": [ADA]}))
        assert execution is not None
        writing, away = sqlite_database.writing, True

        def failing(*, durable: bool = True) -> Any:
            if away:
                raise OperationalError("BEGIN IMMEDIATE", None, Exception("database or disk is full"))
            return writing(durable=durable)

        sqlite_database.writing = failing  # type: ignore[method-assign]  # a disk that is full
        assert (await w.runtime.drive(execution)).state == "crashed"
        assert w.run(begun.run_id)["state"] == "executing"
        away = False
        await until(lambda: w.run(begun.run_id)["state"] == "scheduled", what="the run was given back")
        await until(lambda: _executed(w, begun.run_id))
        assert w.sent() == [ADA]


async def test_a_retry_that_ends_after_its_run_was_cancelled_is_not_tried_again(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "refuse_now"}]
    async with world(database, sandbox, script=script) as w:
        begun, _ = await w.call(group="g", to=[BOB])
        with database.writing() as session:
            session.get_one(Run, begun.run_id).state = "available"
        await due(w)
        connectors, gate = gated(w.connectors)
        w.runtime.engine.connectors = w.runtime.connectors = connectors
        working = asyncio.create_task(queue.work_queue(w.runtime))
        await until(lambda: gate.asked)
        decisions.cancel_run(CALLER, database, begun.run_id)
        gate.open.set()
        await working
        assert w.states() == {BOB: "retry_wait"}
        await due(w)
        assert await queue.work_queue(w.runtime) == 0
        assert w.states() == {BOB: "cancelled"}


async def test_a_cancelled_queue_awaits_what_is_in_flight_and_gives_the_rest_back(database: Database, sandbox: Sandbox) -> None:
    addresses = [f"u{number}@example.org" for number in range(12)]
    script = [{"effect": "send", "when": {"to": to}, "answer": "refuse_now", "times": 1} for to in addresses]
    async with world(database, sandbox, script=script) as w:
        await w.call(group="g", to=addresses)
        await until(lambda: _all_due(database, 12))
        connectors, gate = gated(w.connectors)
        w.runtime.engine.connectors = w.runtime.connectors = connectors
        working = asyncio.create_task(queue.work_queue(w.runtime))
        await until(lambda: len(gate.asked) == 8)
        working.cancel()
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await working
        states = list(w.states().values())
        assert sorted(states) == ["done"] * 8 + ["planned"] * 4

        async def worked() -> bool:
            await queue.work_queue(w.runtime)
            return set(w.states().values()) == {"done"}

        await until(worked, what="the rest is done")
        assert len(set(w.sent())) == len(w.sent()) == 12


def _all_due(database: Database, number: int) -> bool:
    rows = views.list_effects(CALLER, database, state="retry_wait")["items"]
    return len(rows) == number and all(row["next_at"] < queue_now(database) for row in rows)


def queue_now(database: Database) -> str:
    return iso(database.clock.now()) or ""


async def test_a_connector_that_raises_leaves_an_unknown_and_the_run_goes_on(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        connectors, gate = gated(w.connectors)
        gate.open.set()

        async def broken(request: Request) -> Reply:
            raise RuntimeError("a bug of a connector")

        gate.perform = broken  # type: ignore[method-assign]  # the bug
        w.runtime.engine.connectors = w.runtime.connectors = connectors
        _, ending = await w.call(group="g", to=[ADA])
        assert ending is not None and ending.result is not None and ending.result["unknown"] == 1
        (row,) = views.list_effects(CALLER, database, state="unknown")["items"]
        assert row["error"] == {"code": "connector_failed", "message": "RuntimeError"}


async def test_effects_recover_in_bulk_with_one_event_for_each_move(database: Database, sandbox: Sandbox) -> None:
    addresses = [f"u{number}@example.org" for number in range(1200)]
    async with world(database, sandbox) as w:
        w.connectors, gate = gated(w.connectors)
        w.runtime.engine.connectors = w.runtime.connectors = w.connectors
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": addresses}))
        assert execution is not None
        driving = asyncio.create_task(w.runtime.drive(execution))
        await until(lambda: len(gate.asked) == 8)
        with database.writing() as session:
            _claim_everything(session, w.runtime.owner)
        await silence(w.runtime)
        sweep(database)
        states = list(_all_states(database, begun.run_id))
        assert (states.count("unknown"), states.count("planned")) == (8, len(states) - 8)
        gate.open.set()
        assert (await driving).state == "lost"
        await w.boot()


def _claim_everything(session: Session, owner: str) -> None:
    session.connection().execute(sa.update(Effect).where(col(Effect.state) == "planned").values(state="claimed", owner=owner))


def _all_states(database: Database, run_id: str) -> list[str]:
    with database.reading() as session:
        return list(session.exec(select(Effect.state).where(Effect.run_id == run_id)))


async def test_runs_of_one_process_have_no_more_in_flight_together_than_the_connector_takes(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        connectors, gate = gated(w.connectors)
        w.runtime.engine.connectors = w.runtime.connectors = connectors
        groups = [(group, [f"{group}{number}@example.org" for number in range(20)]) for group in ("g", "h", "i")]
        calling = [asyncio.create_task(w.call(group=group, to=to)) for group, to in groups]
        await until(lambda: len(gate.asked) == gate.concurrency, what="every place is taken")
        begun = gate.concurrency * w.runtime.engine.places.ahead
        await until(lambda: counted(database) == {"performing": begun, "claimed": 60 - begun}, what="all are planned")
        assert len(gate.asked) == gate.concurrency
        gate.open.set()
        await asyncio.gather(*calling)
        assert counted(database) == {"done": 60} and len(set(w.sent())) == len(w.sent()) == 60


def counted(database: Database) -> dict[str, int]:
    """How many effects are in each state."""
    with database.reading() as session:
        return dict(session.execute(sa.select(Effect.state, sa.func.count()).group_by(Effect.state)).all())  # type: ignore[call-overload]  # SQLModel's column types
