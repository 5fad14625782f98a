"""Processes that slept past their lease, or were taken for dead: what they still try once another has their work."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from app.core.db import Database
from app.core.models import Change, Owner
from app.runtime import queue
from app.runtime.models import Effect
from app.runtime.process import Call
from app.runtime.recovery import sweep
from app.runtime.repository import runs as repository
from app.sandbox.sandbox import Sandbox
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, silence, world

pytestmark = pytest.mark.anyio
ADA, BOB = "ada@example.org", "bob@example.org"
LATER = [{"effect": "send", "when": {"to": BOB}, "answer": "refuse_now", "times": 1}]


async def due(w: World) -> None:
    await until(lambda: (at := queue.next_due(w.database)) is not None and at <= w.database.clock.now(), what="a retry is due")


async def test_a_zombie_that_finishes_after_a_takeover_changes_nothing(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": []}))
        assert execution is not None
        zombie = w.runtime
        await silence(zombie)
        await w.boot()
        sweep(database)
        await w.runtime.execute(begun.run_id)
        run = execution.run
        late = repository.Finish(CALLER, run.id, run.owner, run.fence, "failed", error={"code": "late"})
        assert await w.runtime.writer.submit(repository.finish, late) is False
        assert (w.run(run.id)["state"], w.run(run.id)["error"]) == ("completed", None)


async def test_a_zombie_plans_nothing_for_a_run_that_another_process_has(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": [ADA, BOB]}))
        assert execution is not None
        zombie = w.runtime
        assert await w.die() == [begun.run_id]
        assert (await zombie.drive(execution)).state == "lost"
        with database.reading() as session:
            assert session.exec(select(Effect.seq)).first() is None
        assert (await w.runtime.execute(begun.run_id)) is not None
        assert sorted(w.sent()) == [ADA, BOB] and w.run(begun.run_id)["state"] == "completed"


async def test_a_zombie_tells_nobody_how_far_a_run_is_that_another_process_has(database: Database, sandbox: Sandbox) -> None:
    source = "def run(args, ctx):\n    ctx.progress(1, 9)\n    ctx.progress(9, 9)\n    return {'done': 0}\n"
    async with world(database, sandbox, source) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": []}))
        assert execution is not None
        zombie = w.runtime
        assert await w.die() == [begun.run_id]
        assert (await zombie.drive(execution)).state == "lost"
        assert w.run(begun.run_id)["progress"] == {"done": None, "total": None}
        with database.reading() as session:
            assert session.exec(select(Change.id).where(Change.topic == "run.progress")).first() is None
        await w.runtime.execute(begun.run_id)
        assert w.run(begun.run_id)["progress"] == {"done": 9, "total": 9}


async def test_what_a_process_took_that_was_forgotten_in_its_sleep_and_died_as_it_woke_is_taken_up_by_who_comes_next(
    database: Database, sandbox: Sandbox
) -> None:
    async with world(database, sandbox, script=LATER) as w:
        await w.call(group="g", to=[BOB])
        await due(w)
        zombie = w.runtime
        await silence(zombie)
        with database.writing() as session:
            session.connection().execute(sa.delete(Owner).where(col(Owner.id) == zombie.owner))
        claimed: list[queue.Due] = []
        queue._claim_due(database, zombie.owner, 10, claimed)
        begun, _ = await zombie.begin(CALLER, w.programs[1], Call({"group": "g", "to": [ADA]}))
        assert w.states() == {BOB: "claimed"} and len(claimed) == 1
        await w.boot()
        assert w.states() == {BOB: "planned"} and begun.run_id in sweep(database)
        assert await queue.work_queue(w.runtime) == 1
        await w.runtime.execute(begun.run_id)
        assert w.states() == {ADA: "done", BOB: "done"} and sorted(w.sent()) == [ADA, BOB]
