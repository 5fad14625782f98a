"""Redrives of dead letters and verdicts in bulk, on the real runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlmodel import select

from app.core import faults
from app.core.actor import DEFAULT_TENANT, Actor
from app.core.db import Database
from app.core.errors import Conflict, Forbidden, Invalid, NotFound
from app.observability.models import AuditEvent
from app.runtime import decisions, queue, redrives, views
from app.runtime.causes import list_causes
from app.runtime.redrives import Selection, cancel_decision, list_decisions, read_decision, redrive_effects, resolve_effects
from app.sandbox.sandbox import Sandbox
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, program_of, sender_spec, world

pytestmark = pytest.mark.anyio
ADA, BOB, CAT = "ada@example.org", "bob@example.org", "cat@example.org"
AT_ONCE = {"max_attempts": 1, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1}
WHY = "the provider is back"
ALL = Selection()


def refusing(times: int | None = None, *, to: str | None = None) -> list[dict[str, Any]]:
    entry: dict[str, Any] = {"effect": "send", "answer": "refuse_now", "times": times}
    return [entry | {"when": {"to": to}} if to else entry]


def ids(database: Database, state: str) -> list[str]:
    return [row["effect_id"] for row in views.list_effects(CALLER, database, state=state, limit=500)["items"]]


def moves(database: Database, effect_id: str) -> list[tuple[str, str]]:
    return [(step["before"], step["after"]) for step in views.read_effect(CALLER, database, effect_id)["history"]]


async def worked(w: World) -> None:
    """Whatever waits has been tried until nothing waits any more."""
    while (due := queue.next_due(w.database)) is not None:
        await until(partial(_past, w, due))
        await queue.work_queue(w.runtime)


def said(event: AuditEvent) -> dict[str, Any]:
    assert event.body is not None
    return event.body


def _past(w: World, at: int) -> bool:
    return at <= w.database.clock.now()


def trail(database: Database, action: str) -> list[AuditEvent]:
    with database.reading() as session:
        return list(session.exec(select(AuditEvent).where(AuditEvent.action == action)))


async def test_a_dead_letter_that_is_redriven_is_tried_again_with_its_attempts_afresh(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, script=refusing(3)) as w:
        begun, _ = await w.call(group="g", to=[BOB])
        await worked(w)
        assert w.states() == {BOB: "dead"}
        (dead,) = ids(database, "dead")
        redrive = redrive_effects(CALLER, w.runtime, Selection((dead,)), WHY)
        assert (redrive["count"], redrive["moved"], redrive["state"], redrive["ids"]) == (1, 1, "completed", 1)
        row = views.read_effect(CALLER, database, dead)
        assert (row["state"], row["attempts"], row["error"], row["version"]) == ("planned", 0, None, 1)
        last = row["history"][-1]
        assert (last["before"], last["after"], last["actor"]) == ("dead", "planned", CALLER.id)
        assert redrive["id"] in last["detail"] and WHY in last["detail"]
        await worked(w)
        assert w.states() == {BOB: "done"} and len(w.sent()) == 1
        assert w.run(begun.run_id)["effects"]["send"]["done"] == 1
        (event,) = trail(database, "effects.redriven")
        assert (event.actor, event.target, said(event)["ids"], said(event)["reason"]) == (CALLER.id, redrive["id"], [dead], WHY)
        assert read_decision(CALLER, database, redrive["id"])["effects"] == {"done": 1}


async def test_a_selection_is_redriven_and_what_is_no_dead_letter_any_more_is_passed_over(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, script=refusing(3), retry=AT_ONCE) as w:
        await w.call(group="g", to=[ADA, BOB, CAT])
        dead = ids(database, "dead")
        redrive_effects(CALLER, w.runtime, Selection((dead[0],)), WHY)
        again = redrive_effects(CALLER, w.runtime, Selection((dead[0], dead[1])), WHY)
        assert (again["count"], again["moved"]) == (1, 1)
        await worked(w)
        assert Counter(w.states().values()) == {"done": 2, "dead": 1}
        with pytest.raises(Conflict, match="effect_not_dead"):
            redrive_effects(CALLER, w.runtime, Selection((dead[0],)), WHY)


async def test_what_dies_after_a_redrive_was_asked_for_is_not_swept_in(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, script=refusing(), retry=AT_ONCE) as w:
        await w.call(group="g", to=[ADA])
        seen = list_causes(CALLER, database, state="dead")
        await w.call(group="g", to=[BOB])
        redrive = redrive_effects(CALLER, w.runtime, Selection(mark=seen["mark"]), WHY)
        assert (redrive["count"], redrive["moved"]) == (1, 1)
        assert w.states() == {ADA: "planned", BOB: "dead"}
        await worked(w)
        assert w.states() == {ADA: "dead", BOB: "dead"}


async def test_a_large_redrive_goes_in_parts_and_takes_nothing_twice_though_it_dies_again_meanwhile(
    database: Database, sandbox: Sandbox
) -> None:
    addresses = [f"u{number}@example.org" for number in range(520)]
    async with world(database, sandbox, script=refusing(), retry=AT_ONCE) as w:
        await w.call(group="g", to=addresses)
        redrive = redrive_effects(CALLER, w.runtime, Selection(tool="send_notes", error_code="smtp_450"), WHY)
        assert (redrive["count"], redrive["moved"], redrive["state"]) == (520, 500, "running")
        assert redrives.open_decisions(database) == [redrive["id"]]
        await worked(w)
        assert len(ids(database, "dead")) == 500, "a page of them; the first part is dead again before the second is moved"
        assert not redrives.carry_out(database, redrive["id"]), "the second part is the last"
        await worked(w)
        done = read_decision(CALLER, database, redrive["id"])
        assert (done["moved"], done["state"]) == (520, "completed")
        assert done["effects"] == {"dead": 520} and redrives.open_decisions(database) == []
        (example,) = list_causes(CALLER, database, state="dead")["items"]
        assert example["count"] == 520
        for effect_id in (ids(database, "dead")[0], example["example"]["effect_id"]):
            assert moves(database, effect_id).count(("dead", "planned")) == 1


@pytest.mark.parametrize("point", ["decision.part.before", "decision.part.after"])
async def test_a_redrive_that_is_cut_short_is_taken_up_where_it_was(database: Database, sandbox: Sandbox, point: str) -> None:
    async with world(database, sandbox, script=refusing(), retry=AT_ONCE) as w:
        await w.call(group="g", to=[f"u{number}@example.org" for number in range(520)])
        redrive = redrive_effects(CALLER, w.runtime, ALL, WHY)
        faults.arm(f"{point}=raise")
        try:
            with pytest.raises(faults.FaultInjected):
                redrives.carry_out(database, redrive["id"])
        finally:
            faults.arm("")
        left = read_decision(CALLER, database, redrive["id"])
        assert (left["moved"], left["state"]) == ((500, "running") if point.endswith("before") else (520, "completed"))
        while redrives.carry_out(database, redrive["id"]):
            pass
        after = read_decision(CALLER, database, redrive["id"])
        assert (after["moved"], after["state"], after["effects"]) == (520, "completed", {"planned": 520})
        (event,) = trail(database, "redrive.completed")
        assert (said(event)["moved"], said(event)["count"]) == (520, 520)


async def test_a_redrive_that_is_cancelled_leaves_what_it_has_sent_round_and_the_rest_dead(database: Database, sandbox: Sandbox) -> None:
    other = Actor("key_boss", "boss", DEFAULT_TENANT, frozenset({"effects:resolve"}))
    async with world(database, sandbox, script=refusing(520), retry=AT_ONCE) as w:
        await w.call(group="g", to=[f"u{number}@example.org" for number in range(520)])
        redrive = redrive_effects(CALLER, w.runtime, ALL, WHY)
        cancelled = cancel_decision(other, database, redrive["id"], "redrive")
        assert (cancelled["state"], cancelled["moved"], cancelled["count"]) == ("cancelled", 500, 520) and cancelled["finished_at"]
        assert redrives.open_decisions(database) == [] and not redrives.carry_out(database, redrive["id"])
        await worked(w)
        assert len(ids(database, "dead")) == 20 and len(set(w.sent())) == 500, "what was sent round is performed"
        assert read_decision(CALLER, database, redrive["id"])["effects"] == {"done": 500}
        (event,) = trail(database, "redrive.cancelled")
        assert (event.actor, event.target, said(event)) == (other.id, redrive["id"], {"moved": 500, "count": 520})
        assert trail(database, "redrive.completed") == []
        with pytest.raises(Conflict, match="decision_over"):
            cancel_decision(other, database, redrive["id"])
        rest = redrive_effects(CALLER, w.runtime, ALL, WHY)
        assert (rest["count"], rest["moved"], rest["state"]) == (20, 20, "completed")


async def test_a_verdict_on_many_that_is_cancelled_leaves_the_rest_unknown(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, script=[{"effect": "send", "answer": "lose_reply"}]) as w:
        await w.call(group="g", to=[f"u{number}@example.org" for number in range(510)])
        resolution = resolve_effects(CALLER, database, ALL, "abandon", "given up")
        assert cancel_decision(CALLER, database, resolution["id"])["state"] == "cancelled"
        assert not redrives.carry_out(database, resolution["id"])
        assert len(ids(database, "unknown")) == 10
        (event,) = trail(database, "resolution.cancelled")
        assert said(event) == {"moved": 500, "count": 510}


async def test_a_redrive_on_a_fixed_version_moves_the_row_to_its_rules_and_keeps_its_key(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, script=refusing(2), retry=AT_ONCE) as w:
        await w.call(group="g", to=[BOB])
        w.programs[2] = program_of(sender_spec(on_unknown="retry"), version=2)  # three attempts
        (before,) = views.list_effects(CALLER, database, state="dead")["items"]
        redrive = redrive_effects(CALLER, w.runtime, Selection(tool="send_notes"), "fixed in version 2", 2)
        assert (redrive["version"], redrive["moved"]) == (2, 1)
        row = views.read_effect(CALLER, database, before["effect_id"])
        assert (row["version"], row["key"], row["message_id"]) == (2, before["key"], before["message_id"])
        await queue.work_queue(w.runtime)
        assert w.states() == {BOB: "retry_wait"}, "the fixed version has attempts left where the first had one only"
        await worked(w)
        assert w.states() == {BOB: "done"} and len(w.sent()) == 1
        _, ending = await w.call(version=2, group="g", to=[BOB])
        assert ending is not None and ending.result is not None and ending.result["skipped"] == 1


async def test_a_version_that_cannot_take_dead_letters_over_is_refused_and_nothing_moves(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, script=refusing(), retry=AT_ONCE) as w:
        await w.call(group="g", to=[BOB])
        w.programs[2] = program_of(sender_spec(id="mail"), version=2)
        config = {"collection": "notes"}
        w.programs[3] = program_of(
            sender_spec(connector="records.put", config=config, key="[args.group, item.key]", ledger=None), version=3
        )
        wanted = Selection(tool="send_notes")
        for version, said in ((2, "declares no effect 'send'"), (3, "by records.put, not by email.send")):
            with pytest.raises(Invalid, match="version_unfit") as refused:
                redrive_effects(CALLER, w.runtime, wanted, WHY, version)
            assert said in refused.value.problems[0].message
        with pytest.raises(KeyError):  # this world's loader; the registry's says version_not_found
            redrive_effects(CALLER, w.runtime, wanted, WHY, 9)
        with pytest.raises(Invalid, match="version_unfit"):
            redrive_effects(CALLER, w.runtime, Selection(error_code="nothing_has_this"), WHY, 2)
        assert w.states() == {BOB: "dead"}
        assert list_decisions(CALLER, database)["items"] == []


async def test_what_is_redriven_is_not_cancelled_because_its_run_once_was(database: Database, sandbox: Sandbox) -> None:
    retry = {"max_attempts": 2, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1}
    async with world(database, sandbox, script=refusing(3), retry=retry) as w:
        begun, _ = await w.call(group="g", to=[BOB], here=False)
        await w.runtime.execute(begun.run_id)
        await worked(w)
        assert w.states() == {BOB: "dead"}
        with database.writing() as session:
            session.connection().exec_driver_sql("UPDATE run SET state = 'cancelled'")
        redrive_effects(CALLER, w.runtime, ALL, WHY)
        await worked(w)
        assert w.states() == {BOB: "done"}


async def test_a_redrive_that_nothing_matches_says_so_and_is_over(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        redrive = redrive_effects(CALLER, w.runtime, Selection(tool="no_such_tool"), WHY)
        assert (redrive["count"], redrive["moved"], redrive["state"]) == (0, 0, "completed")
        assert await queue.work_queue(w.runtime) == 0


async def test_a_redrive_needs_a_reason_effects_that_exist_and_a_selection_of_one_kind(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        with pytest.raises(Invalid, match="reason_invalid"):
            redrive_effects(CALLER, w.runtime, ALL, " x ")
        with pytest.raises(NotFound, match="effect_not_found") as missing:
            redrive_effects(CALLER, w.runtime, Selection(("eff_1", "eff_2")), WHY)
        assert len(missing.value.problems) == 2
        for wrong in (Selection(()), Selection(("a",), tool="send_notes"), Selection(tuple(map(str, range(1001))))):
            with pytest.raises(Invalid, match="selection_invalid"):
                redrive_effects(CALLER, w.runtime, wrong, WHY)


async def test_only_who_may_resolve_effects_redrives_and_only_who_watches_them_sees_it(database: Database, sandbox: Sandbox) -> None:
    stranger = Actor("key_stranger", "stranger", DEFAULT_TENANT, frozenset({"tools:call"}))
    other = Actor("key_other", "other", "another", frozenset({"effects:resolve"}))
    async with world(database, sandbox, script=refusing(), retry=AT_ONCE) as w:
        await w.call(group="g", to=[BOB])
        asked: tuple[Callable[[], Any], ...] = (
            lambda: redrive_effects(stranger, w.runtime, ALL, WHY),
            lambda: resolve_effects(stranger, database, ALL, "abandon", WHY),
            lambda: cancel_decision(stranger, database, "redrive_1"),
        )
        for ask in asked:
            with pytest.raises(Forbidden, match="permission_denied"):
                ask()
        assert redrive_effects(other, w.runtime, ALL, WHY)["count"] == 0, "a tenant's dead letters are its own"
        redrive = redrive_effects(CALLER, w.runtime, ALL, WHY)
        assert [row["id"] for row in list_decisions(CALLER, database, "redrive")["items"]] == [redrive["id"]]
        assert list_decisions(CALLER, database, "resolution")["items"] == list_decisions(stranger, database)["items"] == []
        for actor, kind in ((stranger, None), (other, None), (CALLER, "resolution")):
            with pytest.raises(NotFound, match="_not_found"):
                read_decision(actor, database, redrive["id"], kind)  # type: ignore[arg-type]  # a literal, through a tuple
        with pytest.raises(NotFound, match="redrive_not_found"):
            cancel_decision(other, database, redrive["id"])


async def test_causes_are_grouped_with_their_ages_and_an_example(database: Database, sandbox: Sandbox) -> None:
    script = [*refusing(to=ADA), *refusing(to=BOB), {"effect": "send", "answer": "lose_reply", "when": {"to": CAT}}]
    async with world(database, sandbox, script=script, retry=AT_ONCE) as w:
        await w.call(group="g", to=[ADA, BOB, CAT])
        (cause,) = list_causes(CALLER, database, state="dead")["items"]
        assert {name: cause[name] for name in ("tool", "effect", "error_code", "count")} == {
            "tool": "send_notes",
            "effect": "send",
            "error_code": "smtp_450",
            "count": 2,
        }
        example = views.read_effect(CALLER, database, cause["example"]["effect_id"])
        assert example["state"] == "dead" and cause["example"]["error"] == example["error"]
        assert cause["oldest"] <= example["updated_at"] <= cause["newest"]
        assert [row["error_code"] for row in list_causes(CALLER, database, state="unknown")["items"]] == ["smtp_disconnected"]
        assert list_causes(CALLER, database, state="dead", tool="other")["items"] == []
        with pytest.raises(Invalid, match="state_unknown"):
            list_causes(CALLER, database, state="done")


async def test_causes_come_in_pages_and_those_without_a_code_are_one_of_their_own(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, script=refusing(), retry=AT_ONCE) as w:
        await w.call(group="g", to=[ADA, BOB, CAT])
        with database.writing() as session:
            for subject, code in ((ADA, "NULL"), (BOB, "'mailbox_busy'")):
                session.connection().exec_driver_sql(f"UPDATE effect SET error_code = {code} WHERE subject = '{subject}'")
        seen, cursor = [], None
        while True:
            part = list_causes(CALLER, database, state="dead", cursor=cursor, limit=1)
            seen += [row["error_code"] for row in part["items"]]
            if (cursor := part["next_cursor"]) is None:
                break
        assert seen == ["mailbox_busy", "none", "smtp_450"]
        assert redrive_effects(CALLER, w.runtime, Selection(error_code="none"), WHY)["count"] == 1
        assert w.states() == {ADA: "planned", BOB: "dead", CAT: "dead"}


@pytest.mark.parametrize(("verdict", "state", "sent"), [("confirm_done", "done", 2), ("retry", "done", 4), ("abandon", "abandoned", 2)])
async def test_one_verdict_on_many_unknowns(database: Database, sandbox: Sandbox, verdict: str, state: str, sent: int) -> None:
    script = [{"effect": "send", "answer": "lose_reply", "times": 2}]
    async with world(database, sandbox, script=script) as w:
        await w.call(group="g", to=[ADA, BOB])
        resolution = resolve_effects(CALLER, database, Selection(error_code="smtp_disconnected"), verdict, "the provider's log says so")
        assert (resolution["count"], resolution["moved"], resolution["verdict"]) == (2, 2, verdict)
        await worked(w)
        assert w.states() == {ADA: state, BOB: state} and len(w.sent()) == sent
        (event,) = trail(database, "effects.resolved")
        assert (said(event)["verdict"], said(event)["count"], event.target) == (verdict, 2, resolution["id"])
        (completed,) = trail(database, "resolution.completed")
        assert said(completed)["moved"] == 2
        with pytest.raises(Conflict, match="effect_not_unknown"):
            resolve_effects(CALLER, database, Selection(tuple(ids_of(database))), verdict, "once more")


def ids_of(database: Database) -> list[str]:
    return [row["effect_id"] for row in views.read_ledger(CALLER, database, "notes", "g")["items"]]


async def test_a_verdict_in_bulk_leaves_what_became_unknown_later(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, script=[{"effect": "send", "answer": "lose_reply"}]) as w:
        await w.call(group="g", to=[ADA])
        mark = list_causes(CALLER, database, state="unknown")["mark"]
        decisions.resolve_effect(CALLER, database, ids(database, "unknown")[0], "retry", "one by one")
        await worked(w)
        await w.call(group="g", to=[BOB])
        assert w.states() == {ADA: "unknown", BOB: "unknown"}
        resolution = resolve_effects(CALLER, database, Selection(mark=mark), "abandon", "seen before")
        assert resolution["count"] == 0 and w.states() == {ADA: "unknown", BOB: "unknown"}
        with pytest.raises(Invalid, match="verdict_invalid"):
            resolve_effects(CALLER, database, ALL, "maybe", "not a verdict")
