"""The identity of a call, clause by clause: replay, conflict, in flight, release, and what a roll back changes of it. And long work."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from app.connectors.scripted import ScriptedCrash
from app.core.db import Database
from app.core.errors import Invalid
from app.invocation.answers import RunAnswer
from app.invocation.calling import Waiting, call_tool
from app.mcp_server.answers import run_meta, run_result
from app.registry.channels import roll_back
from app.runtime import views
from app.runtime.decisions import cancel_run
from app.runtime.process import Call, Identity
from app.runtime.queue import work_queue
from app.runtime.recovery import due_runs
from app.sandbox.sandbox import Sandbox
from app.spec.canonical import digest
from tests.support.published import CALLER, OPERATOR, House, house, release, release_sender
from tests.support.waiting import until_async
from tests.support.worlds import sender_spec, world

pytestmark = pytest.mark.anyio
ADA, BOB = "ada@example.org", "bob@example.org"
ARGS = {"group": "g", "to": [ADA, BOB]}
BREAKS = """
def run(args, ctx):
    ctx.perform("send", {"to": args["to"][0], "subject": "Hello", "text": "Hi"})
    return {"done": args["to"]["none"]}
"""
SLOW = """
import time

def run(args, ctx):
    counts = {"done": 0, "skipped": 0, "duplicate": 0, "retrying": 0, "failed": 0, "unknown": 0}
    for number, to in enumerate(args["to"], 1):
        time.sleep(0.02)  # no work of this machine
        counts[ctx.perform("send", {"to": to, "subject": "Hello", "text": "Hi"}).status] += 1
        ctx.progress(number, len(args["to"]))
    return counts
"""
MANY = {"group": "g", "to": [f"u{number}@example.org" for number in range(100)]}


async def call(h: House, args: dict[str, Any] = ARGS, **how: Any) -> RunAnswer:
    return await call_tool(CALLER, h.calls, "send_notes", args, **how)


async def test_a_replay_is_the_first_answer_with_the_counts_of_now(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "refuse_now", "times": 1}]
    async with house(database, sandbox, tmp_path / "tools", script) as h:
        await asyncio.to_thread(release_sender, h.catalog)
        first = await call(h, key="k")
        assert first.body["effects"]["send"]["retrying"] == 1 and first.body["result"]["retrying"] == 1

        async def sent() -> bool:
            await work_queue(h.runtime)
            return bool(views.read_run(CALLER, database, first.body["id"])["effects"]["send"]["done"] == 2)

        await until_async(sent)
        again = await call(h, key="k")
        assert json.dumps(again.body["result"]) == json.dumps(first.body["result"])
        assert run_result(again)["content"] == run_result(first)["content"]
        assert again.body["replayed"] and again.body["effects"]["send"] == {**first.body["effects"]["send"], "done": 2, "retrying": 0}
        assert run_meta(again)["toolmint/ledgerCounts"] == again.body["effects"]


async def test_the_same_key_with_other_arguments_is_a_conflict_also_while_the_first_is_in_flight(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_sender, h.catalog)
        handle = await call(h, key="k", waiting=Waiting(0))
        for _ in range(2):
            with pytest.raises(Invalid) as caught:
                await call(h, {**ARGS, "group": "other"}, key="k")
            assert (caught.value.code, caught.value.status, caught.value.data) == (
                "idempotency_conflict",
                422,
                {"run_id": handle.body["id"]},
            )
            await h.runtime.execute(handle.body["id"])


async def test_a_call_in_flight_is_waited_for_within_the_callers_time_and_then_named(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_sender, h.catalog)
        handle = await call(h, key="k", waiting=Waiting(0))
        named = await call(h, key="k", waiting=Waiting(0.2))
        assert (named.over, named.body["id"], named.body["replayed"]) == (False, handle.body["id"], False)
        assert named.body["progress"] == {"done": None, "total": None}
        twin = asyncio.create_task(call(h, key="k"))
        await h.runtime.execute(handle.body["id"])
        assert (await twin).body["result"]["done"] == 2 and len(h.connectors.performed) == 2


async def test_a_failed_run_gives_its_key_to_the_repaired_version_which_repeats_no_effect(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release, h.catalog, sender_spec(), BREAKS)
        broken = await call(h, key="k")
        assert (broken.body["state"], broken.body["error"]["code"]) == ("failed", "tool_crashed")
        assert broken.body["effects"]["send"]["done"] == 1, "it says what was done before it broke"
        await asyncio.to_thread(release_sender, h.catalog, _title="Send notes, repaired")
        mended = await call(h, key="k")
        assert (mended.body["state"], mended.body["version"], mended.body["replayed"]) == ("completed", 2, False)
        assert (mended.body["result"]["done"], mended.body["result"]["skipped"]) == (1, 1) and len(h.connectors.performed) == 2


async def test_a_cancelled_run_gives_its_key_back(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_sender, h.catalog)
        handle = await call(h, key="k", waiting=Waiting(0))
        await asyncio.to_thread(cancel_run, CALLER, database, handle.body["id"])
        again = await call(h, key="k")
        assert again.body["state"] == "completed" and again.body["id"] != handle.body["id"] and not again.body["replayed"]


async def test_a_quarantined_run_gives_its_key_back(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": BOB}, "answer": "crash_before", "times": 3}]
    async with world(database, sandbox, script=script, on_unknown="retry") as w:
        call = Call(ARGS, Identity("k", digest(ARGS), None))
        begun, execution = await w.runtime.begin(CALLER, w.programs[1], call)
        assert execution is not None
        for attempt in range(3):
            with contextlib.suppress(ScriptedCrash):
                await (w.runtime.drive(execution) if attempt == 0 else w.runtime.execute(begun.run_id))
            await w.die()
        assert w.run(begun.run_id)["state"] == "quarantined" and w.run(begun.run_id)["error"]["fix"]
        again, ending = await w.call(key="k", group="g", to=[ADA, BOB])
        assert (again.how, ending.state if ending else None) == ("begun", "completed") and again.run_id != begun.run_id


async def test_after_a_roll_back_a_known_key_gets_the_newer_versions_answer_and_a_new_one_runs_the_older(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_sender, h.catalog)
        await asyncio.to_thread(release_sender, h.catalog, _title="Send notes, again")
        newer = await call(h, key="k")
        await asyncio.to_thread(roll_back, OPERATOR, h.catalog, "send_notes", "it was better before")
        known, fresh = await call(h, key="k"), await call(h, key="another")
        assert (known.body["version"], known.body["replayed"], known.evidence) == (2, True, newer.evidence)
        assert known.body["result"] == newer.body["result"]
        assert (fresh.body["version"], fresh.body["result"]["skipped"], fresh.body["result"]["done"]) == (1, 2, 0)
        assert len(h.connectors.performed) == 2


async def test_a_cancelled_call_says_over_every_door_what_it_had_done(sqlite_database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release, h.catalog, sender_spec(), SLOW)
        under_way = asyncio.create_task(call(h, MANY, waiting=Waiting(30)))
        run = (await until_async(lambda: views.list_runs(CALLER, sqlite_database, state="executing")["items"]))[0]
        await until_async(lambda: len(h.connectors.performed) > 5)
        await asyncio.to_thread(cancel_run, CALLER, sqlite_database, run["id"])
        answer = await under_way
        done = len(h.connectors.performed)
        assert answer.body["state"] == "cancelled" and answer.body["effects"]["send"]["done"] == done < len(MANY["to"])
        told = run_result(answer)
        assert told["isError"] and told["_meta"]["toolmint/code"] == "run_cancelled"
        assert f"send: {done} done" in told["content"][0]["text"] and run["id"] in told["content"][0]["text"]
        row = views.read_run(CALLER, sqlite_database, run["id"])
        assert row["effects"] == answer.body["effects"] and row["progress"]["total"] == len(MANY["to"])


async def test_a_crash_is_told_with_its_line_its_run_and_what_to_do(sqlite_database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release, h.catalog, sender_spec(), BREAKS)
        answer = await call(h)
        text = run_result(answer)["content"][0]["text"]
        assert "tool_crashed: TypeError" in text and "(tool.py line 4)" in text and "Mend tool.py" in text
        assert "send: 1 done" in text and f"Run {answer.body['id']}, version 1." in text
        assert answer.body["error"]["fix"] and "traceback" not in answer.body["error"]


async def test_a_run_that_left_for_a_worker_goes_on_from_its_journal_as_the_same_run(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release, h.catalog, sender_spec(), SLOW)
        handle = await call(h, MANY, key="k", waiting=Waiting(1.0))
        assert not handle.over
        await until_async(lambda: due_runs(database) == [handle.body["id"]])
        before = len(h.connectors.performed)
        assert 0 < before < len(MANY["to"])
        told = run_result(await call(h, MANY, key="k", waiting=Waiting(0)))
        assert told["isError"] and f"of {len(MANY['to'])} so far" in told["content"][0]["text"]
        await h.runtime.execute(handle.body["id"])
        over = await call(h, MANY, key="k")
        assert (over.body["id"], over.body["replayed"], over.body["result"]["done"]) == (handle.body["id"], True, len(MANY["to"]))
        assert len(h.connectors.performed) == len(MANY["to"])
