"""Replays: a run played again from its journal performs nothing, comes to the same end, and says where it differs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from app.connectors.scripted import ScriptedCrash
from app.core.actor import DEFAULT_TENANT, Actor
from app.core.db import Database
from app.core.errors import Conflict, Limited, NotFound
from app.runtime import decisions, replay
from app.runtime.journal import digest_text
from app.runtime.process import Call
from app.runtime.replaying import carry_out
from app.runtime.repository import replays
from app.sandbox.sandbox import Sandbox
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, SENDER, World, world

pytestmark = pytest.mark.anyio
ADA, BOB, CAT = "ada@example.org", "bob@example.org", "cat@example.org"
ONE_BY_ONE = """
def run(args, ctx):
    counts = {"done": 0, "unknown": 0, "retrying": 0, "skipped": 0}
    for to in args["to"]:
        counts[ctx.perform("send", {"to": to, "subject": "Hello", "text": "Hi"}).status] += 1
    return counts
"""


async def played(w: World, run_id: str) -> dict[str, Any]:
    """Ask for a replay and have it done here; returns its report, and holds it to having changed nothing."""
    before = ledger(w.database), len(w.connectors.performed), w.run(run_id)
    asked = replay.request_replay(CALLER, w.database, run_id)
    await carry_out(w.runtime, asked["id"])
    assert (ledger(w.database), len(w.connectors.performed), w.run(run_id)) == before
    return replay.read_replay(CALLER, w.database, run_id, asked["id"])


def ledger(database: Database) -> list[Any]:
    with database.reading() as session:
        rows = session.connection().execute(sa.text("SELECT * FROM effect ORDER BY seq")).all()
        return [*rows, session.connection().execute(sa.text("SELECT count(*) FROM effect_event")).scalar_one()]


def rewritten(w: World, source: str) -> None:
    """Version 1 behaves differently from now on, as no published version can."""
    first = w.programs[1]
    w.programs[1] = type(first)(first.tool, 1, digest_text(source), first.spec, {**first.files, "tool.py": source})


async def test_a_replay_performs_nothing_and_comes_to_the_same_result_with_the_same_keys(database: Database, sandbox: Sandbox) -> None:
    addresses = [f"u{number}@example.org" for number in range(1200)] + [ADA, ADA, "nobody"]
    async with world(database, sandbox) as w:
        begun, ending = await w.call(group="g", to=addresses)
        assert ending is not None and ending.state == "completed"
        report = await played(w, begun.run_id)
        assert (report["state"], report["reached"], report["difference"]) == ("same", "end", None)
        assert report["steps"] == {"recorded": 4, "asked": 4} and report["keys"] == {"checked": 1202, "unchecked": 1}


async def test_a_run_whose_effects_were_skipped_or_dry_is_replayed_with_the_same_keys(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        await w.call(group="g", to=[ADA])
        skipped, _ = await w.call(group="g", to=[ADA, BOB])
        rehearsed, _ = await w.call(group="g", to=[ADA, CAT, CAT], dry_run=True)
        assert (await played(w, skipped.run_id))["keys"] == {"checked": 2, "unchecked": 0}
        report = await played(w, rehearsed.run_id)
        assert report["state"] == "same" and report["keys"] == {"checked": 3, "unchecked": 0}
        long, _ = await w.call(group="g", to=[f"u{number}@example.org" for number in range(700)], dry_run=True)
        assert (await played(w, long.run_id))["keys"] == {"checked": 500, "unchecked": 200}


async def test_time_randomness_and_ids_of_a_run_that_crashed_and_was_resumed_are_the_same_in_its_replay(
    database: Database, sandbox: Sandbox
) -> None:
    source = """
    def run(args, ctx):
        for to in args["to"]:
            ctx.perform("send", {"to": to, "subject": f"{ctx.now().isoformat()} {ctx.random.random()}", "text": ctx.new_id()})
        return {"done": len(args["to"])}
    """
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "crash"}]
    async with world(database, sandbox, source, script) as w:
        run_id, _ = await w.call_and_die(group="g", to=[ADA, BOB, CAT])
        await w.runtime.execute(run_id)
        report = await played(w, run_id)
        assert (report["state"], report["steps"]) == ("same", {"recorded": 3, "asked": 3})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('from toolkit import ToolError; raise ToolError("not_today", "Come again tomorrow.")', "not_today"),
        ('raise ValueError("a bug")', "tool_crashed"),
        ('return {"done": 2}', "invariant_violated"),
        ('return {"done": -1}', "result_invalid"),
        ('ctx.perform("other", {})', "tool_crashed"),
        ("import os; os._exit(3)", "guest_died"),
    ],
)
async def test_a_failed_run_fails_in_the_same_way_when_it_is_replayed(database: Database, sandbox: Sandbox, body: str, code: str) -> None:
    invariants = [{"id": "even", "text": "done is not two", "expr": "result.done != 2"}]
    source = f"def run(args, ctx):\n    ctx.perform('send', {{'to': '{ADA}', 'subject': 'S', 'text': 'T'}})\n    {body}\n"
    async with world(database, sandbox, source, _invariants=invariants) as w:
        begun, ending = await w.call(group="g", to=[])
        assert ending is not None and (ending.error or {})["code"] in (code, "effect_undeclared")
        report = await played(w, begun.run_id)
        assert (report["state"], report["difference"]) == ("same", None)
        assert report["reached"] == ("journal_end" if code == "guest_died" else "end")


async def test_a_cancelled_and_a_timed_out_run_are_replayed_to_where_the_journal_ends(database: Database, sandbox: Sandbox) -> None:
    addresses = [f"u{number}@example.org" for number in range(500)]
    async with world(database, sandbox, ONE_BY_ONE) as w:
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": addresses}))
        assert execution is not None
        driving = asyncio.create_task(w.runtime.drive(execution))
        await until(lambda: len(w.connectors.performed) >= 5)
        decisions.cancel_run(CALLER, database, begun.run_id)
        assert (await driving).state == "cancelled"
        report = await played(w, begun.run_id)
        assert (report["state"], report["reached"]) == ("same", "journal_end") and report["steps"]["asked"] >= 4
    endless = ONE_BY_ONE.replace("    return counts", "    while True:\n        pass")
    async with world(database, sandbox, endless, _limits={"timeout_s": 1}) as w:
        begun, _ = await w.call(group="h", to=[ADA])
        report = await played(w, begun.run_id)
        assert (report["state"], report["reached"], report["steps"]["asked"]) == ("same", "journal_end", 1)
        waiting, _ = await w.call(group="i", to=[ADA], here=False)
        with pytest.raises(Conflict, match="run_not_over"):
            replay.request_replay(CALLER, database, waiting.run_id)
        decisions.cancel_run(CALLER, database, waiting.run_id)
        assert (await played(w, waiting.run_id))["steps"] == {"recorded": 0, "asked": 0}


async def test_a_quarantined_run_is_replayed_to_where_it_ended_its_process(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "crash", "times": 9}]
    async with world(database, sandbox, ONE_BY_ONE, script, on_unknown="retry", retry={"max_attempts": 20}) as w:
        run_id, waiting = await w.call_and_die(group="g", to=[ADA, BOB])
        while waiting:
            with pytest.raises(ScriptedCrash):
                await w.runtime.execute(run_id)
            waiting = await w.die()
        assert w.run(run_id)["state"] == "quarantined"
        report = await played(w, run_id)
        assert (report["state"], report["reached"], report["steps"]["asked"]) == ("same", "journal_end", 1)


async def test_the_first_differing_step_is_named_with_what_was_recorded_and_what_is_asked_now(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, ONE_BY_ONE) as w:
        begun, _ = await w.call(group="g", to=[ADA, BOB, CAT])
        rewritten(w, ONE_BY_ONE.replace('"Hi"', '"Hi" if to == args["to"][0] else "Ho" * 400'))
        found = (await played(w, begun.run_id))["difference"]
        assert (found["what"], found["step"], found["position"]) == ("request", 2, 0)
        assert '"text":"Hi"' in found["recorded"]["item"] and "HoHo" in found["asked"]["item"] and len(found["asked"]["item"]) == 501
        rewritten(w, ONE_BY_ONE.replace('args["to"]', 'args["to"][:2]'))
        found = (await played(w, begun.run_id))["difference"]
        assert (found["what"], found["step"], found["asked"]) == ("missing", 3, {"end": "result"})
        rewritten(w, ONE_BY_ONE.replace('args["to"]', 'args["to"] + ["dan@example.org"]'))
        found = (await played(w, begun.run_id))["difference"]
        assert (found["what"], found["step"], found["recorded"]) == ("extra", 4, None)
        rewritten(w, ONE_BY_ONE.replace("return counts", 'return {**counts, "failed": 7}'))
        found = (await played(w, begun.run_id))["difference"]
        assert found["what"] == "end" and '"failed":7' in found["asked"]["result"] and "failed" not in found["recorded"]["result"]
        rewritten(w, ONE_BY_ONE.replace("    return counts", "    import os; os._exit(3)"))
        found = (await played(w, begun.run_id))["difference"]
        assert found["what"] == "end" and found["recorded"] == {"end": "completed"} and "guest_died" in found["asked"]["error"]


async def test_a_read_that_asks_something_else_is_a_difference(database: Database, sandbox: Sandbox) -> None:
    reads = [{"id": "person", "connector": "records.get", "config": {"collection": "people"}}]
    source = """
    def run(args, ctx):
        return {"done": 1 if ctx.read("person", key="ann") else 0}
    """
    async with world(database, sandbox, source, _reads=reads) as w:
        begun, _ = await w.call(group="g", to=[])
        assert (await played(w, begun.run_id))["state"] == "same"
        rewritten(w, "def run(args, ctx):\n    return {'done': 1 if ctx.read('person', key='bob') else 0}\n")
        found = (await played(w, begun.run_id))["difference"]
        assert (found["what"], found["asked"]["query"]) == ("request", '{"key":"bob"}')


async def test_a_key_that_is_computed_otherwise_than_it_was_is_found(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, _ = await w.call(group="g", to=[ADA, BOB])
        first = w.programs[1]
        effect = first.spec.effects[0].model_copy(update={"key": "[item.to, args.group]"})
        w.programs[1] = type(first)(first.tool, 1, first.digest, first.spec.model_copy(update={"effects": (effect,)}), first.files)
        found = (await played(w, begun.run_id))["difference"]
        assert (found["what"], found["step"], found["position"]) == ("key", 1, 0)
        assert (found["recorded"]["key"], found["asked"]["key"]) == (f'["g","{ADA}"]', f'["{ADA}","g"]')


async def test_what_cannot_be_replayed_says_why(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, _ = await w.call(group="g", to=[ADA])
        kept, w.programs = w.programs, {}

        def gone(_tenant: str, _tool: str, version: int) -> Any:
            raise NotFound("version_not_found", f"There is no version {version}.")

        w.runtime.load = gone
        report = await played(w, begun.run_id)
        assert report["state"] == "unusable" and report["error"]["code"] == "version_not_found"
        w.programs = kept
        with database.writing() as session:
            session.connection().execute(sa.text("UPDATE run SET kept = 'answers'"))
        with pytest.raises(Conflict, match="journal_pruned"):
            replay.request_replay(CALLER, database, begun.run_id)


async def test_who_may_see_a_run_may_replay_it_and_nobody_else(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, _ = await w.call(group="g", to=[ADA])
        stranger = Actor("key_other", "other", "elsewhere", frozenset({"tools:call"}))
        idle = Actor("key_idle", "idle", DEFAULT_TENANT, frozenset({"records:read"}))
        for actor in (stranger, idle):
            with pytest.raises(NotFound, match="run_not_found"):
                replay.request_replay(actor, database, begun.run_id)
        auditor = Actor("key_auditor", "auditor", DEFAULT_TENANT, frozenset({"audit:read"}))
        asked = replay.request_replay(auditor, database, begun.run_id)
        assert replay.request_replay(CALLER, database, begun.run_id)["id"] == asked["id"]
        assert await carry_out(w.runtime, asked["id"]) == "same" and await carry_out(w.runtime, asked["id"]) is None
        assert [row["id"] for row in replay.list_replays(CALLER, database, begun.run_id)["items"]] == [asked["id"]]
        with pytest.raises(NotFound, match="replay_not_found"):
            replay.read_replay(CALLER, database, begun.run_id, "rpl_none")
        with database.reading() as session:
            told = "SELECT actor, action, outcome FROM audit_event WHERE action LIKE 'run.replay%' ORDER BY id"
            events = session.connection().execute(sa.text(told)).all()
        assert events == [("key_auditor", "run.replay_requested", "done"), ("key_auditor", "run.replayed", "done")]


async def test_one_actor_has_a_bounded_number_of_replays_under_way(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        runs = [(await w.call(group="g", to=[]))[0].run_id for _ in range(replay.MOST_OPEN + 1)]
        for run_id in runs[:-1]:
            replay.request_replay(CALLER, database, run_id)
        with pytest.raises(Limited, match="too_many_replays"):
            replay.request_replay(CALLER, database, runs[-1])


async def test_a_replay_whose_worker_is_gone_is_begun_anew_and_given_up_after_three(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, _ = await w.call(group="g", to=[ADA])
        asked = replay.request_replay(CALLER, database, begun.run_id)
        for _ in range(3):
            assert replay.waiting_replays(database) == [asked["id"]]
            with database.writing() as session:
                assert replays.claim(session, asked["id"], w.runtime.owner) is not None
            assert replay.waiting_replays(database) == []
            await w.die()
        assert await carry_out(w.runtime, asked["id"]) == "unusable"
        assert replay.read_replay(CALLER, database, begun.run_id, asked["id"])["error"]["code"] == "replay_given_up"


async def test_waiting_for_a_replay_ends_with_its_report_or_with_the_time(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, _ = await w.call(group="g", to=[ADA])
        short = await replay.replay_run(CALLER, database, w.feed, begun.run_id, wait_s=0)
        assert short["state"] == "waiting" and short["steps"] is None
        waiting = asyncio.create_task(replay.replay_run(CALLER, database, w.feed, begun.run_id, wait_s=30))
        await carry_out(w.runtime, short["id"])
        assert (await waiting)["state"] == "same"


async def test_a_journaled_text_that_was_altered_is_no_silent_success(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, SENDER) as w:
        begun, _ = await w.call(group="g", to=[f"u{number}@example.org" for number in range(60)])
        with database.writing() as session:
            altered = "UPDATE payload SET body = :body WHERE digest = (SELECT result FROM run WHERE id = :run)"
            session.connection().execute(sa.text(altered), {"body": '{"done":59}', "run": begun.run_id})
        found = (await played(w, begun.run_id))["difference"]
        assert found["what"] == "end" and found["recorded"]["result"] == '{"done":59}'
