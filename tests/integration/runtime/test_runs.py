"""Runs: identity, crashes and resumption, cancellation, limits, results against the contract."""

from __future__ import annotations

import asyncio

import pytest
from sqlmodel import Session, col, select

from app.connectors.port import Reply, Request
from app.connectors.scripted import ScriptedCrash, ScriptedEmail
from app.core.db import Database
from app.core.errors import Conflict, NotFound
from app.observability.models import AuditEvent
from app.runtime import decisions, views
from app.runtime.journal import digest_text
from app.runtime.models import Run
from app.runtime.process import Call
from app.runtime.recovery import due_runs, sweep
from app.sandbox.sandbox import Sandbox
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, PURE, silence, world

pytestmark = pytest.mark.anyio
ADA, BOB, CAT = "ada@example.org", "bob@example.org", "cat@example.org"
ONE_BY_ONE = """
def run(args, ctx):
    counts = {"done": 0, "unknown": 0, "retrying": 0, "skipped": 0}
    for to in args["to"]:
        counts[ctx.perform("send", {"to": to, "subject": "Hello", "text": "Hi"}).status] += 1
    return counts
"""


async def test_the_same_key_and_arguments_name_the_first_run(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        first, _ = await w.call(key="k", group="g", to=[ADA])
        again, _ = await w.call(key="k", group="g", to=[ADA])
        assert (again.how, again.run_id) == ("replay", first.run_id)
        other, _ = await w.call(key="k", group="g", to=[BOB])
        assert other.how == "conflict"
        assert w.sent() == [ADA]


async def test_concurrent_calls_with_one_key_begin_one_run(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        answers = await asyncio.gather(*(w.call(key="k", group="g", to=[ADA, BOB]) for _ in range(8)))
        assert sorted(begun.how for begun, _ in answers).count("begun") == 1
        assert len({begun.run_id for begun, _ in answers}) == 1
        assert sorted(w.sent()) == [ADA, BOB]


async def test_concurrent_runs_without_a_key_do_each_effect_once(database: Database, sandbox: Sandbox) -> None:
    addresses = [f"u{number}@example.org" for number in range(60)]
    async with world(database, sandbox) as w:
        ends = await asyncio.gather(*(w.call(group="g", to=addresses) for _ in range(4)))
        assert sorted(w.sent()) == sorted(addresses)
        results = [ending.result for _, ending in ends if ending is not None]
        assert all(sum(result.values()) == 60 for result in results)


async def test_a_failed_run_releases_its_identity(database: Database, sandbox: Sandbox) -> None:
    source = """
    from toolkit import ToolError
    def run(args, ctx):
        raise ToolError("not_today", "Come again tomorrow.")
    """
    async with world(database, sandbox, source) as w:
        first, ending = await w.call(key="k", group="g", to=[])
        assert ending is not None and ending.error == {"code": "not_today", "message": "Come again tomorrow.", "business": True}
        again, _ = await w.call(key="k", group="g", to=[])
        assert again.how == "begun" and again.run_id != first.run_id


@pytest.mark.parametrize("policy", ["hold", "retry"])
async def test_a_crash_while_performing_is_resumed_and_the_effect_is_named_or_repeated_by_policy(
    database: Database, sandbox: Sandbox, policy: str
) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "crash"}]
    async with world(database, sandbox, ONE_BY_ONE, script, on_unknown=policy) as w:
        run_id, waiting = await w.call_and_die(group="g", to=[ADA, BOB, CAT])
        assert waiting == [run_id]
        ending = await w.runtime.execute(run_id)
        assert ending is not None and ending.state == "completed"
        if policy == "hold":
            assert w.sent() == [ADA, BOB, CAT] and w.states() == {ADA: "done", BOB: "unknown", CAT: "done"}
        else:
            assert w.sent() == [ADA, BOB, BOB, CAT] and set(w.states().values()) == {"done"}
        assert w.run(run_id)["crashes"] == 1


async def test_a_crash_before_anything_left_is_resumed_without_a_trace_of_doubt(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "crash_before"}]
    async with world(database, sandbox, ONE_BY_ONE, script, on_unknown="retry") as w:
        run_id, _ = await w.call_and_die(group="g", to=[ADA, BOB])
        await w.runtime.execute(run_id)
        assert w.sent() == [ADA, BOB] and set(w.states().values()) == {"done"}


async def test_a_run_that_ends_its_process_three_times_is_quarantined(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "crash", "times": 9}]
    async with world(database, sandbox, ONE_BY_ONE, script, on_unknown="retry", retry={"max_attempts": 20}) as w:
        run_id, waiting = await w.call_and_die(group="g", to=[BOB])
        for _ in range(2):
            assert waiting == [run_id]
            with pytest.raises(ScriptedCrash):
                await w.runtime.execute(run_id)
            waiting = await w.die()
        assert waiting == []
        run = w.run(run_id)
        assert (run["state"], run["crashes"], run["error"]["code"]) == ("quarantined", 3, "run_quarantined")


async def test_a_tool_that_behaves_differently_on_resume_is_stopped_at_the_first_differing_step(
    database: Database, sandbox: Sandbox
) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "crash"}]
    async with world(database, sandbox, ONE_BY_ONE, script) as w:
        run_id, _ = await w.call_and_die(group="g", to=[ADA, BOB, CAT])
        changed = ONE_BY_ONE.replace('args["to"]', 'reversed(args["to"])')
        first = w.programs[1]
        w.programs[1] = type(first)(first.tool, 1, digest_text(changed), first.spec, {**first.files, "tool.py": changed})
        ending = await w.runtime.execute(run_id)
        assert ending is not None and ending.error is not None and (ending.error["code"], ending.error["step"]) == ("nondeterminism", 1)
        assert w.sent() == [ADA, BOB]


async def test_time_randomness_and_ids_are_the_same_again_on_resume(database: Database, sandbox: Sandbox) -> None:
    source = """
    def run(args, ctx):
        for to in args["to"]:
            ctx.perform("send", {"to": to, "subject": f"{ctx.now().isoformat()} {ctx.random.random()}", "text": ctx.new_id()})
        return {"done": len(args["to"])}
    """
    script = [{"effect": "send", "when": {"to": CAT}, "answer": "crash_before"}]
    async with world(database, sandbox, source, script, on_unknown="retry") as w:
        run_id, _ = await w.call_and_die(group="g", to=[ADA, BOB, CAT])
        ending = await w.runtime.execute(run_id)
        assert ending is not None and ending.state == "completed" and w.sent() == [ADA, BOB, CAT]


async def test_a_run_for_a_worker_waits_in_the_table_until_one_takes_it(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, ending = await w.call(here=False, group="g", to=[ADA])
        assert ending is None and due_runs(database) == [begun.run_id] and w.run(begun.run_id)["state"] == "available"
        await asyncio.gather(w.runtime.execute(begun.run_id), w.runtime.execute(begun.run_id))
        assert w.run(begun.run_id)["state"] == "completed" and w.sent() == [ADA]


async def test_a_run_that_leaves_goes_on_elsewhere_from_its_journal(database: Database, sandbox: Sandbox) -> None:
    addresses = [f"u{number}@example.org" for number in range(400)]
    async with world(database, sandbox, ONE_BY_ONE) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": addresses}))
        assert execution is not None
        driving = asyncio.create_task(w.runtime.drive(execution))
        await until(lambda: len(w.connectors.performed) >= 20)
        assert w.runtime.stop_run(begun.run_id, "leave")
        assert (await driving).state == "leave"
        assert w.run(begun.run_id)["state"] == "available" and len(w.sent()) < 400
        ending = await w.runtime.execute(begun.run_id)
        assert ending is not None and ending.result is not None and ending.result["done"] == 400
        assert w.sent() == addresses


async def test_cancelling_stops_at_an_effect_boundary_and_cancels_what_is_left(database: Database, sandbox: Sandbox) -> None:
    addresses = [f"u{number}@example.org" for number in range(500)]
    async with world(database, sandbox, ONE_BY_ONE) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": addresses}))
        assert execution is not None
        driving = asyncio.create_task(w.runtime.drive(execution))
        await until(lambda: len(w.connectors.performed) >= 5)
        decisions.cancel_run(CALLER, database, begun.run_id)
        assert (await driving).state == "cancelled"
        done = len(w.sent())
        assert 5 <= done < 500 and w.run(begun.run_id)["effects"]["send"]["done"] == done
        with pytest.raises(Conflict, match="run_over"):
            decisions.cancel_run(CALLER, database, begun.run_id)
        _, again = await w.call(group="g", to=addresses[: done + 1])
        assert again is not None and again.result is not None and len(w.sent()) == done + 1


async def test_what_a_cancelled_run_has_planned_is_cancelled_with_it_and_done_once_by_a_later_run(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, perform = [f"u{number}@example.org" for number in range(100)], ScriptedEmail.perform
    refused, told = asyncio.Event(), asyncio.Event()

    async def slowly(port: ScriptedEmail, request: Request) -> Reply:
        if request.item["to"] != to[0]:
            await told.wait()
        reply = await perform(port, request)
        refused.set()
        return reply

    monkeypatch.setattr(ScriptedEmail, "perform", slowly)  # the same answers, once the run has been told
    async with world(database, sandbox, script=[{"effect": "send", "when": {"to": to[0]}, "answer": "refuse_now", "times": 1}]) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": to}))
        assert execution is not None
        driving = asyncio.create_task(w.runtime.drive(execution))
        await refused.wait()
        await until(lambda: set(w.states().values()) == {"retry_wait", "performing", "claimed"})
        decisions.cancel_run(CALLER, database, begun.run_id)
        await until(lambda: execution.stopping == "cancelled")
        told.set()
        assert (await driving).state == "cancelled"
        states, sent = w.states(), set(w.sent())
        assert 0 < len(sent) < len(to) and states == {each: "done" if each in sent else "cancelled" for each in to}
        _, again = await w.call(group="g", to=to)
        assert again is not None and again.result is not None and again.result["skipped"] == len(sent)
        assert sorted(w.sent()) == sorted(to) and set(w.states().values()) == {"done"}


async def test_a_run_that_only_waits_is_cancelled_at_once(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, _ = await w.call(here=False, group="g", to=[ADA])
        assert decisions.cancel_run(CALLER, database, begun.run_id)["state"] == "cancelled"
        assert await w.runtime.execute(begun.run_id) is None
        with pytest.raises(NotFound, match="run_not_found"):
            decisions.cancel_run(CALLER, database, "run_none")


async def test_a_run_over_its_time_is_ended_and_says_so(database: Database, sandbox: Sandbox) -> None:
    source = """
    def run(args, ctx):
        while True:
            pass
    """
    async with world(database, sandbox, source, _limits={"timeout_s": 1}) as w:
        _, ending = await w.call(group="g", to=[])
        assert ending is not None and (ending.error or {})["code"] == "run_timed_out"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('return {"done": -1}', "result_invalid"),
        ('return {"done": 1, "extra": 2}', "result_invalid"),
        ("return 7", "result_invalid"),
        ("return None", "result_invalid"),
        ('raise ValueError("a bug")', "tool_crashed"),
        ("import os; os._exit(3)", "guest_died"),
        ('return {"done": 2}', "invariant_violated"),
    ],
)
async def test_what_breaks_the_contract_fails_the_run(database: Database, sandbox: Sandbox, body: str, code: str) -> None:
    invariants = [{"id": "even", "text": "done is not two", "expr": "result.done != 2"}]
    source = f"def run(args, ctx):\n    {body}\n"
    async with world(database, sandbox, source, _invariants=invariants) as w:
        _, ending = await w.call(group="g", to=[])
        assert ending is not None and (ending.state, (ending.error or {})["code"]) == ("failed", code)


async def test_a_tool_may_log_whatever_text_it_has(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, 'def run(args, ctx):\n    ctx.log("a\\0b", said="c\\0d")\n    return {"done": 1}\n') as w:
        begun, ending = await w.call(group="g", to=[])
        assert ending is not None and ending.state == "completed"
        (line,) = views.read_logs(CALLER, database, begun.run_id)["items"]
        assert (line["event"], line["fields"]) == ("a\ufffdb", {"said": "c\0d"})


async def test_a_result_over_its_limit_fails_the_run(database: Database, sandbox: Sandbox) -> None:
    outputs = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"text": {"type": "string", "maxLength": 9000, "description": "Text."}},
    }
    async with world(database, sandbox, 'def run(args, ctx):\n    return {"text": "x" * 9000}\n', _outputs=outputs) as w:
        _, ending = await w.call(group="g", to=[])
        assert ending is not None and (ending.error or {})["code"] == "result_too_large"


async def test_a_run_without_effects_takes_two_commits(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, PURE) as w:
        before = w.runtime.writer.commits
        await w.call(group="g", to=[ADA])
        assert w.runtime.writer.commits - before == 2


async def test_a_patient_call_that_can_have_no_effect_begins_and_ends_in_one_commit(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, PURE) as w:
        before = w.runtime.writer.commits
        call = Call({"group": "g", "to": [ADA]}, dry_run=True, patient=True)
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], call)
        assert execution is not None and (await w.runtime.drive(execution)).state == "completed"
        assert w.runtime.writer.commits - before == 1
        row = w.run(begun.run_id)
        assert row["state"] == "completed" and row["created_at"] <= row["finished_at"]
        with database.reading() as session:
            told = session.exec(select(AuditEvent.action).where(AuditEvent.target == begun.run_id).order_by(col(AuditEvent.id))).all()
        assert told == ["run.started", "run.completed"]


async def test_a_proviso_that_does_not_hold_is_said_before_anything_runs(database: Database, sandbox: Sandbox) -> None:
    def used(_session: Session, _run: str) -> None:
        raise Conflict("approval_used", "It was used.")

    async with world(database, sandbox, PURE) as w:
        call = Call({"group": "g", "to": [ADA]}, dry_run=True, patient=True, proviso=used)
        with pytest.raises(Conflict, match="approval_used"):
            await w.runtime.begin(CALLER, w.programs[1], call)
        assert w.runtime.executing == 0


async def test_the_beginning_of_a_longer_one_is_there_for_others_to_see(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, PURE) as w:
        call = Call({"group": "g", "to": []}, dry_run=True, patient=True)
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], call)
        assert execution is not None

        def state() -> str | None:
            with database.reading() as session:
                return session.exec(select(Run.state).where(Run.id == begun.run_id)).first()

        await until(lambda: state() == "executing", 5, "the run is in the table")
        assert (await w.runtime.drive(execution)).state == "completed" and state() == "completed"


async def test_a_process_without_its_lease_performs_nothing_more(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, ONE_BY_ONE) as w:
        zombie = w.runtime
        begun, execution = await zombie.begin(CALLER, w.programs[1], Call({"group": "g", "to": [ADA, BOB]}))
        assert execution is not None
        await silence(zombie)
        await w.boot()
        assert sweep(database) == [begun.run_id]
        await w.runtime.execute(begun.run_id)
        assert (await zombie.drive(execution)).state == "lost"
        assert w.sent() == [ADA, BOB] and w.run(begun.run_id)["state"] == "completed"


async def test_the_list_of_runs_pages_by_key_newest_first(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, PURE) as w:
        made = [(await w.call(group="g", to=[]))[0].run_id for _ in range(5)]
        first = views.list_runs(CALLER, database, limit=2)
        second = views.list_runs(CALLER, database, limit=2, cursor=first["next_cursor"])
        third = views.list_runs(CALLER, database, limit=2, cursor=second["next_cursor"])
        shown = [row["id"] for page in (first, second, third) for row in page["items"]]
        assert shown == made[::-1] and third["next_cursor"] is None
        assert views.list_runs(CALLER, database, state="failed")["items"] == []


async def test_a_cancelled_caller_leaves_the_run_to_a_worker_at_an_effect_boundary(database: Database, sandbox: Sandbox) -> None:
    addresses = [f"u{number}@example.org" for number in range(300)]
    async with world(database, sandbox, ONE_BY_ONE) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": addresses}))
        assert execution is not None
        driving = asyncio.create_task(w.runtime.drive(execution))
        await until(lambda: len(w.connectors.performed) >= 10)
        driving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await driving
        states = list(w.states().values())
        assert w.run(begun.run_id)["state"] == "available" and set(states) <= {"done", "planned"}
        assert states.count("done") == len(w.sent()) < 300
        await w.runtime.execute(begun.run_id)
        assert w.sent() == addresses
