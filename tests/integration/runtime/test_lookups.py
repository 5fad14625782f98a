"""Unknowns that a provider can be asked about, on the real runtime with a clock of the tests' own."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select

from app.connectors.port import Lookup
from app.core import faults
from app.core.clock import ScriptedClock
from app.core.db import Database
from app.observability.models import AuditEvent
from app.runtime import decisions, lookups, queue, views
from app.runtime.models import Run
from app.sandbox.sandbox import Sandbox
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, world

pytestmark = pytest.mark.anyio
BOB = "bob@example.org"
LONGEST_MS = 3_600_000


@pytest.fixture
def clock() -> ScriptedClock:
    return ScriptedClock()


def losing(*answers: str, times: int | None = None) -> list[dict[str, Any]]:
    """The reply is lost; asked afterwards, the provider answers so, one after the other, the last for ever."""
    told: list[dict[str, Any]] = [{"effect": "send", "look_up": answer, "times": 1} for answer in answers[:-1]]
    return [{"effect": "send", "answer": "lose_reply", "times": times}, *told, {"effect": "send", "look_up": answers[-1]}]


async def asked(w: World, clock: ScriptedClock, after_ms: int = LONGEST_MS) -> int:
    clock.advance(after_ms)
    return await lookups.look_up_due(w.runtime)


def the_one(database: Database) -> dict[str, Any]:
    (row,) = views.read_ledger(CALLER, database, "notes", "g")["items"]
    return views.read_effect(CALLER, database, row["effect_id"])


def trail(database: Database, *actions: str) -> list[AuditEvent]:
    with database.reading() as session:
        return [event for event in session.exec(select(AuditEvent)) if event.action in actions]


async def test_what_the_provider_knows_to_be_done_is_done_with_its_receipt(
    database: Database, sandbox: Sandbox, clock: ScriptedClock
) -> None:
    async with world(database, sandbox, script=losing("done")) as w:
        await w.call(group="g", to=[BOB])
        assert await asked(w, clock, lookups.FIRST_MS - 1) == 0, "what is still under way there has time to end"
        assert not lookups.any_due(database, w.connectors)
        clock.advance(1)
        assert lookups.any_due(database, w.connectors) and await lookups.look_up_due(w.runtime) == 1
        row = the_one(database)
        assert (row["state"], row["receipt"]["reply"][:3], row["error"]) == ("done", "250", None)
        assert (row["history"][-1]["actor"], row["history"][-1]["before"]) == ("email.send", "unknown")
        (event,) = trail(database, "effect.resolved")
        assert (event.actor, event.target, (event.body or {})["verdict"]) == ("email.send", row["effect_id"], "confirm_done")
        assert len(w.sent()) == 1 and await asked(w, clock) == 0


async def test_what_the_provider_knows_not_to_be_done_is_performed_under_the_same_message_id(
    database: Database, sandbox: Sandbox, clock: ScriptedClock
) -> None:
    async with world(database, sandbox, script=losing("not_done", times=1)) as w:
        await w.call(group="g", to=[BOB])
        assert await asked(w, clock) == 1
        assert the_one(database)["state"] == "planned"
        await until(lambda: w.runtime.engine.covered_until(w.runtime.owner) > clock.monotonic())  # the clock's leap has ended its lease
        assert await queue.work_queue(w.runtime) == 1
        row = the_one(database)
        assert (row["state"], row["attempts"]) == ("done", 2)
        assert {performed.message_id for performed in w.connectors.performed} == {row["message_id"]}


async def test_what_was_not_done_is_not_done_any_more_once_its_run_was_cancelled(
    database: Database, sandbox: Sandbox, clock: ScriptedClock
) -> None:
    async with world(database, sandbox, script=losing("not_done", times=1)) as w:
        begun, _ = await w.call(group="g", to=[BOB])
        with database.writing() as session:  # as if it had been cancelled while the effect was unknown
            session.get_one(Run, begun.run_id).state = "cancelled"
        assert await asked(w, clock) == 1
        await until(lambda: w.runtime.engine.covered_until(w.runtime.owner) > clock.monotonic())
        assert await queue.work_queue(w.runtime) == 0
        assert the_one(database)["state"] == "cancelled" and len(w.sent()) == 1


async def test_not_done_is_not_believed_while_the_attempt_may_still_be_under_way_there(
    database: Database, sandbox: Sandbox, clock: ScriptedClock
) -> None:
    async with world(database, sandbox, script=losing("not_done", "done")) as w:
        await w.call(group="g", to=[BOB])
        assert await asked(w, clock, lookups.FIRST_MS) == 1
        row = the_one(database)
        assert (row["state"], row["lookups"]) == ("unknown", 1) and row["next_at"] is not None
        assert await asked(w, clock, lookups.SURE_MS) == 1
        assert the_one(database)["state"] == "done" and len(w.sent()) == 1


async def test_a_provider_that_cannot_say_is_asked_again_ever_more_rarely_and_then_a_person_decides(
    database: Database, sandbox: Sandbox, clock: ScriptedClock
) -> None:
    async with world(database, sandbox, script=losing("unknown")) as w:
        await w.call(group="g", to=[BOB])
        questions = 0
        while await asked(w, clock):
            questions += 1
            assert await lookups.look_up_due(w.runtime) <= 1
            assert questions < 20, "it is asked for ever"
        row = the_one(database)
        assert (row["state"], row["next_at"]) == ("unknown", None)
        assert row["lookups"] == lookups.ASKING.max_attempts
        (given_up,) = trail(database, "effect.looked_up")
        assert (given_up.outcome, given_up.actor) == ("failed", "email.send")
        decisions.resolve_effect(CALLER, database, row["effect_id"], "abandon", "nobody can tell")
        assert the_one(database)["state"] == "abandoned" and len(w.sent()) == 1


async def test_between_two_questions_the_unknown_shows_when_the_next_one_is(
    database: Database, sandbox: Sandbox, clock: ScriptedClock
) -> None:
    async with world(database, sandbox, script=losing("unknown", "done")) as w:
        await w.call(group="g", to=[BOB])
        await asked(w, clock)
        row = the_one(database)
        assert row["state"] == "unknown" and row["next_at"] is not None and row["lookups"] == 1
        await asked(w, clock)
        assert the_one(database)["state"] == "done"


async def test_not_done_and_out_of_attempts_it_waits_for_a_person_and_says_why(
    database: Database, sandbox: Sandbox, clock: ScriptedClock
) -> None:
    retry = {"max_attempts": 1, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1}
    async with world(database, sandbox, script=losing("not_done"), retry=retry) as w:
        await w.call(group="g", to=[BOB])
        await asked(w, clock)
        row = the_one(database)
        assert (row["state"], row["error"]["code"], row["next_at"]) == ("unknown", "not_done", None)
        assert await asked(w, clock) == 0 and await queue.work_queue(w.runtime) == 0


async def test_a_verdict_that_was_given_while_the_provider_was_asked_stands(
    database: Database, sandbox: Sandbox, clock: ScriptedClock
) -> None:
    async with world(database, sandbox, script=losing("done")) as w:
        await w.call(group="g", to=[BOB])
        clock.advance(LONGEST_MS)
        faults.arm("lookup.answered=raise")
        try:
            with pytest.raises(faults.FaultInjected):
                await lookups.look_up_due(w.runtime)
        finally:
            faults.arm("")
        row = the_one(database)
        assert (row["state"], row["lookups"]) == ("unknown", 1), "the answer was never noted"
        doubt = lookups.Doubt(row["effect_id"], CALLER.tenant, "", 1, "send", "email.send", "{}", None, fence_of(database), 1, 1, 0)
        decisions.resolve_effect(CALLER, database, row["effect_id"], "abandon", "given up by hand")
        lookups._note(database, [lookups.Heard(doubt, Lookup("done", {"reply": "late"}), None, spent=False)])
        assert the_one(database)["state"] == "abandoned"


def fence_of(database: Database) -> int:
    with database.reading() as session:
        return int(session.connection().exec_driver_sql("SELECT fence FROM effect").scalar_one())


async def test_an_answer_that_was_never_noted_is_asked_for_again(database: Database, sandbox: Sandbox, clock: ScriptedClock) -> None:
    async with world(database, sandbox, script=losing("done")) as w:
        await w.call(group="g", to=[BOB])
        clock.advance(LONGEST_MS)
        faults.arm("lookup.answered=raise")
        try:
            with pytest.raises(faults.FaultInjected):
                await lookups.look_up_due(w.runtime)
        finally:
            faults.arm("")
        assert await lookups.look_up_due(w.runtime) == 0, "not at once"
        assert await asked(w, clock) == 1
        assert the_one(database)["state"] == "done"


async def test_a_connector_that_offers_no_look_up_is_not_asked(database: Database, sandbox: Sandbox, clock: ScriptedClock) -> None:
    async with world(database, sandbox, script=[{"effect": "send", "answer": "lose_reply"}]) as w:
        await w.call(group="g", to=[BOB])
        assert await asked(w, clock) == 1, "the twin is looked at once"
        assert await asked(w, clock) == 0
        row = the_one(database)
        assert (row["state"], row["next_at"], row["lookups"]) == ("unknown", None, 0)
        assert trail(database, "effect.looked_up", "effect.resolved") == []
