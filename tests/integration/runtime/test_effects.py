"""Effects on the real runtime: identities, retries, dead letters, unknowns, verdicts, crashes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlmodel import select

from app.core.db import Database
from app.core.errors import Conflict, Invalid, NotFound
from app.runtime import decisions, queue, views
from app.runtime.journal import digest_text
from app.runtime.models import Run, Sighting
from app.runtime.repository import runs as repository
from app.sandbox.sandbox import Sandbox
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, sender_spec, world

pytestmark = pytest.mark.anyio
ADA, BOB, CAT = "ada@example.org", "bob@example.org", "cat@example.org"
DEATH = "death@example.org"


async def test_equal_addresses_in_one_run_are_sent_to_once(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, ending = await w.call(group="g", to=[ADA, " Ada@EXAMPLE.org ", BOB])
        assert ending is not None and ending.result == {"done": 2, "duplicate": 1, "skipped": 0, "retrying": 0, "failed": 0, "unknown": 0}
        assert w.sent() == [ADA, BOB]
        assert w.run(begun.run_id)["effects"]["send"]["distinct"] == 2


async def test_a_second_run_skips_what_the_first_did_and_does_the_rest(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        await w.call(group="g", to=[ADA, BOB])
        begun, ending = await w.call(group="g", to=[BOB, CAT, BOB])
        assert ending is not None and ending.result is not None
        assert (ending.result["done"], ending.result["skipped"], ending.result["duplicate"]) == (1, 1, 1)
        assert w.sent() == [ADA, BOB, CAT]
        assert w.run(begun.run_id)["effects"]["send"] == {"done": 1, "skipped": 1, "retrying": 0, "failed": 0, "unknown": 0, "distinct": 2}


async def test_another_group_is_another_key(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        await w.call(group="g", to=[ADA])
        await w.call(group="h", to=[ADA])
        assert w.sent() == [ADA, ADA]


async def test_a_later_version_meets_the_same_keys(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        await w.call(group="g", to=[ADA])
        first = w.programs[1]
        w.programs[2] = type(first)(first.tool, 2, digest_text(f"2 {first.digest}"), first.spec, first.files)
        _, ending = await w.call(version=2, group="g", to=[ADA])
        assert ending is not None and ending.result is not None and ending.result["skipped"] == 1
        assert w.sent() == [ADA]


async def test_other_content_under_the_same_key_is_skipped_and_said_to_differ(database: Database, sandbox: Sandbox) -> None:
    source = """
    def run(args, ctx):
        outcome = ctx.perform("send", {"to": args["to"][0], "subject": args["subject"], "text": "Hi"})
        ctx.log("seen", status=outcome.status, differs=outcome.differs)
        return {"done": 0}
    """
    async with world(database, sandbox, source) as w:
        await w.call(group="g", subject="one", to=[ADA])
        begun, _ = await w.call(group="g", subject="two", to=[ADA])
        logged = views.read_logs(CALLER, database, begun.run_id)["items"]
        assert [line["fields"] for line in logged] == [{"status": "skipped", "differs": True}]
        assert [line["trace_id"] for line in logged] == [w.run(begun.run_id)["trace_id"]]


async def test_a_refusal_for_now_is_retried_outside_the_run_until_it_is_done(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "refuse_now", "times": 1}]
    async with world(database, sandbox, script=script) as w:
        begun, ending = await w.call(group="g", to=[ADA, BOB])
        assert ending is not None and ending.result is not None and ending.result["retrying"] == 1
        assert w.states() == {ADA: "done", BOB: "retry_wait"}
        waiting = views.list_effects(CALLER, database, state="retry_wait")["items"]
        assert [(row["subject"], row["attempts"], row["error"]["code"]) for row in waiting] == [(BOB, 1, "smtp_450")]
        await until(lambda: (due := queue.next_due(database)) is not None and due <= database.clock.now())
        assert await queue.work_queue(w.runtime) == 1
        assert w.states() == {ADA: "done", BOB: "done"}
        assert w.run(begun.run_id)["effects"]["send"]["done"] == 2
        moves = [(step["before"], step["after"]) for step in views.read_effect(CALLER, database, waiting[0]["effect_id"])["history"]]
        assert moves == [
            ("new", "planned"),
            ("planned", "claimed"),
            ("claimed", "performing"),
            ("performing", "retry_wait"),
            ("retry_wait", "planned"),
            ("planned", "claimed"),
            ("claimed", "performing"),
            ("performing", "done"),
        ]


async def test_a_refusal_that_never_passes_ends_as_a_dead_letter_at_the_cap(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "refuse_now"}]
    async with world(database, sandbox, script=script) as w:
        await w.call(group="g", to=[BOB])
        for _ in range(2):
            await until(lambda: (due := queue.next_due(database)) is not None and due <= database.clock.now())
            await queue.work_queue(w.runtime)
        dead = views.list_effects(CALLER, database, state="dead")["items"]
        assert [(row["subject"], row["attempts"]) for row in dead] == [(BOB, 3)]
        assert queue.next_due(database) is None
        grouped = views.count_effects(CALLER, database)
        assert grouped == [{"state": "dead", "tool": "send_notes", "error_code": "smtp_450", "count": 1}]


@pytest.mark.parametrize(("retry_failed", "status", "sent"), [(False, "failed", 0), (True, "done", 1)])
async def test_what_failed_is_planned_again_only_where_the_spec_says_so(
    database: Database, sandbox: Sandbox, retry_failed: bool, status: str, sent: int
) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "refuse_for_good", "times": 1}]
    async with world(database, sandbox, script=script, retry_failed=retry_failed) as w:
        _, first = await w.call(group="g", to=[BOB])
        assert first is not None and first.result is not None and first.result["failed"] == 1
        _, second = await w.call(group="g", to=[BOB])
        assert second is not None and second.result is not None and second.result[status] == 1
        assert len(w.sent()) == sent


async def test_what_another_run_takes_over_is_judged_as_its_run_left_it_and_shown_as_it_is(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "refuse_for_good", "times": 1}]
    async with world(database, sandbox, script=script, retry_failed=True) as w:
        begun, _ = await w.call(group="g", to=[BOB])
        await w.call(group="g", to=[BOB])
        with database.reading() as session:
            left = repository.counts(session, begun.run_id, at_its_end=True)["send"]
        assert (left["failed"], left["skipped"], left["distinct"]) == (1, 0, 1)
        shown = w.run(begun.run_id)["effects"]["send"]
        assert (shown["failed"], shown["skipped"], shown["distinct"]) == (0, 1, 1)


async def test_a_run_that_resumes_after_another_did_its_effect_skips_it_and_counts_what_it_was_told(
    database: Database, sandbox: Sandbox
) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "crash_before"}]
    told = [{"id": "told", "text": "what is skipped is counted as such", "expr": "result.skipped == effects.send.skipped"}]
    async with world(database, sandbox, script=script, on_unknown="retry", _invariants=told) as w:
        run_id, waiting = await w.call_and_die(group="g", to=[BOB])
        _, other = await w.call(group="g", to=[BOB])
        assert other is not None and other.result is not None and other.result["done"] == 1
        ending = await w.runtime.execute(run_id)
        assert waiting == [run_id] and ending is not None and ending.error is None
        assert ending.result is not None and (ending.result["done"], ending.result["skipped"]) == (0, 1)
        assert w.sent() == [BOB]


async def test_taking_over_from_a_run_whose_journal_is_gone_leaves_nothing_to_prune(sqlite_database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "refuse_for_good", "times": 1}]
    async with world(sqlite_database, sandbox, script=script, retry_failed=True) as w:
        begun, _ = await w.call(group="g", to=[BOB])
        with sqlite_database.writing() as session:
            session.get_one(Run, begun.run_id).kept = "answers"
        await w.call(group="g", to=[BOB])
        with sqlite_database.reading() as session:
            assert session.exec(select(Sighting)).all() == [] and w.states() == {BOB: "done"}


async def test_what_a_run_was_told_of_anothers_effect_counts_though_a_third_takes_it_over(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "refuse_for_good", "times": 1}]
    async with world(database, sandbox, script=script) as w:
        await w.call(group="g", to=[BOB])
        met, ending = await w.call(group="g", to=[BOB])
        assert ending is not None and ending.result is not None and ending.result["failed"] == 1
        w.programs[1] = replace(w.programs[1], spec=sender_spec(retry_failed=True))
        await w.call(group="g", to=[BOB])
        with database.reading() as session:
            counted = repository.counts(session, met.run_id, at_its_end=True)["send"]
        assert (counted["failed"], counted["skipped"]) == (1, 0) and w.states() == {BOB: "done"}


async def test_a_lost_reply_is_an_unknown_that_is_held_and_never_repeated(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "lose_reply"}]
    async with world(database, sandbox, script=script) as w:
        _, first = await w.call(group="g", to=[ADA, BOB])
        assert first is not None and first.result is not None and first.result["unknown"] == 1
        _, second = await w.call(group="g", to=[ADA, BOB])
        assert second is not None and second.result is not None and (second.result["unknown"], second.result["skipped"]) == (1, 1)
        assert w.sent() == [ADA, BOB]
        assert await queue.work_queue(w.runtime) == 0


async def test_a_lost_reply_is_repeated_with_the_same_message_id_under_the_policy_retry(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "lose_reply", "times": 1}]
    async with world(database, sandbox, script=script, on_unknown="retry") as w:
        _, first = await w.call(group="g", to=[BOB])
        assert first is not None and first.result is not None and first.result["retrying"] == 1
        await until(lambda: (due := queue.next_due(database)) is not None and due <= database.clock.now())
        await queue.work_queue(w.runtime)
        assert w.states() == {BOB: "done"}
        assert len({performed.message_id for performed in w.connectors.performed}) == 1 and len(w.sent()) == 2


async def test_what_waits_in_the_queue_is_not_lost_with_a_run_that_takes_it_and_never_comes_back(
    database: Database, sandbox: Sandbox
) -> None:
    replies = [{"effect": "send", "when": {"to": BOB}, "answer": "lose_reply", "times": 1}]
    death = {"effect": "send", "when": {"to": DEATH}, "answer": "crash", "times": 1}
    async with world(database, sandbox, script=[*replies, death], on_unknown="retry") as w:
        _, first = await w.call(group="g", to=[BOB])
        assert first is not None and first.result is not None and first.result["retrying"] == 1
        await w.call_and_die(group="g", to=[DEATH, BOB])
        assert w.states()[BOB] == "planned"

        async def worked() -> bool:
            await queue.work_queue(w.runtime)
            return w.states()[BOB] == "done"

        await until(worked, what="the queue has tried it again")


@pytest.mark.parametrize(("verdict", "state", "sent"), [("confirm_done", "done", 1), ("retry", "done", 2), ("abandon", "abandoned", 1)])
async def test_each_verdict_on_an_unknown(database: Database, sandbox: Sandbox, verdict: str, state: str, sent: int) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "lose_reply", "times": 1}]
    async with world(database, sandbox, script=script) as w:
        await w.call(group="g", to=[BOB])
        (unknown,) = views.list_effects(CALLER, database, state="unknown")["items"]
        assert queue.note_unknown(database) == 1
        decisions.resolve_effect(CALLER, database, unknown["effect_id"], verdict, "the provider's log says so")
        assert queue.note_unknown(database) == 0
        await queue.work_queue(w.runtime)
        assert w.states() == {BOB: state}
        assert len(w.sent()) == sent
        with pytest.raises(Conflict, match="effect_not_unknown"):
            decisions.resolve_effect(CALLER, database, unknown["effect_id"], verdict, "once more")


async def test_a_verdict_needs_a_known_word_a_reason_and_an_effect(database: Database, sandbox: Sandbox) -> None:
    with pytest.raises(Invalid) as wrong:
        decisions.resolve_effect(CALLER, database, "x", "maybe", "")
    assert [problem.path for problem in wrong.value.problems] == ["$.verdict", "$.reason"]
    with pytest.raises(NotFound, match="effect_not_found"):
        decisions.resolve_effect(CALLER, database, "x", "abandon", "no such thing")


async def test_an_undeclared_effect_is_refused_audited_and_leaves_nothing(database: Database, sandbox: Sandbox) -> None:
    source = """
    def run(args, ctx):
        ctx.perform("wire_money", {"to": "me"})
        return {"done": 0}
    """
    async with world(database, sandbox, source) as w:
        begun, ending = await w.call(group="g", to=[])
        assert ending is not None and (ending.state, (ending.error or {})["code"]) == ("failed", "effect_undeclared")
        assert w.run(begun.run_id)["effects"] == {} and w.sent() == []


async def test_more_effects_than_the_spec_allows_are_refused_before_any_is_done(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, limits={"per_run": 2}) as w:
        _, ending = await w.call(group="g", to=[ADA, BOB, CAT])
        assert ending is not None and (ending.error or {})["code"] == "effect_limit_exceeded"
        assert w.sent() == []


async def test_an_item_that_the_connector_refuses_fails_alone(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        _, ending = await w.call(group="g", to=["no address", ADA])
        assert ending is not None and ending.result is not None and (ending.result["failed"], ending.result["done"]) == (1, 1)
        assert w.states() == {ADA: "done"}


async def test_a_dry_run_plans_and_does_nothing(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        await w.call(group="g", to=[ADA])
        begun, ending = await w.call(dry_run=True, group="g", to=[ADA, BOB, CAT])
        assert ending is not None and ending.plan is not None
        assert [(entry["key"][1], entry["would"], entry["may_differ"]) for entry in ending.plan] == [
            (ADA, "skip", False),
            (BOB, "perform", False),
            (CAT, "perform", True),
        ]
        assert w.sent() == [ADA] and w.states() == {ADA: "done"}
        assert w.run(begun.run_id)["plan"] == ending.plan


async def test_thousands_of_items_pass_in_chunks_and_come_out_in_order(database: Database, sandbox: Sandbox) -> None:
    source = """
def run(args, ctx):
    items = [{"to": to, "subject": "Hello", "text": "Hi"} for to in args["to"]]
    told = list(ctx.perform_each("send", items))
    ctx.log("failed", at=[place for place, outcome in enumerate(told) if outcome.status == "failed"])
    return {"done": sum(outcome.status == "done" for outcome in told)}
"""
    addresses, refused = [f"u{number}@example.org" for number in range(3000)], [0, 49, 50, 1777, 2999]
    script = [{"effect": "send", "when": {"to": addresses[place]}, "answer": "refuse_for_good"} for place in refused]
    async with world(database, sandbox, source, script=script) as w:
        begun, ending = await w.call(group="g", to=addresses)
        assert ending is not None and ending.result == {"done": 3000 - len(refused)}
        assert sorted(w.sent()) == sorted(address for place, address in enumerate(addresses) if place not in refused)
        assert views.read_logs(CALLER, database, begun.run_id)["items"][0]["fields"] == {"at": refused}
        steps = views.read_steps(CALLER, database, begun.run_id)["items"]
        assert sum(step["items"] for step in steps) == 3000 and max(step["items"] for step in steps) == 500


async def test_a_guest_takes_no_more_memory_however_many_items_it_makes(sqlite_database: Database, sandbox: Sandbox) -> None:
    source = """
def run(args, ctx):
    items = ({"to": f"u{number}@example.org", "subject": "Hello", "text": "Hi"} for number in range(int(args["subject"])))
    return {"done": sum(outcome.status == "done" for outcome in ctx.perform_each("send", items))}
"""
    async with world(sqlite_database, sandbox, source) as w:
        taken = []
        for many in (2000, 8000):
            begun, ending = await w.call(group=f"g{many}", to=[], subject=str(many))
            assert ending is not None and ending.result == {"done": many}
            taken.append(w.run(begun.run_id)["usage"]["rss_kb"])
        assert taken[1] - taken[0] < 1024, "less than 200 bytes an item: what is kept of one would be more"
