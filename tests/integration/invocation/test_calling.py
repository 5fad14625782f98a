"""Calls of published tools: who may, with what, which run answers, and what becomes of a run whose caller goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlmodel import select

from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Invalid, Limited, NotFound, TooLarge, ToolmintError
from app.invocation.calling import Waiting, call_tool
from app.observability.models import AuditEvent
from app.runtime import views
from app.runtime.recovery import due_runs
from app.sandbox.sandbox import Sandbox
from tests.support.published import CALLER, COUNTER_ARGS, House, counter_spec, house, release, release_sender
from tests.support.waiting import until_async
from tests.support.worlds import sender_spec

pytestmark = pytest.mark.anyio
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
MANY = [f"u{number}@example.org" for number in range(100)]


async def test_a_call_answers_in_the_shape_of_the_interface(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_sender, h.catalog)
        answer = await call_tool(CALLER, h.calls, "send_notes", {"group": "g", "to": ["a@example.com", "b@example.com"]})
        body = answer.body
        assert answer.over and len(answer.evidence.report) == 64 and answer.evidence.annotations == {"from": "spec"}
        shape = {"id", "tool", "version", "channel", "state", "replayed", "result", "error", "plan", "effects", "trace_id"}
        assert set(body) == shape | {"plan_summary", "approval"}
        assert (body["tool"], body["version"], body["channel"], body["state"]) == ("send_notes", 1, "stable", "completed")
        assert body["result"]["done"] == 2 and body["effects"]["send"]["done"] == 2 and body["replayed"] is False
        row = views.read_run(CALLER, database, body["id"])
        assert row["channel_reason"] == "the only channel with weight" and row["source"] == "rest"


async def test_the_same_key_gets_the_first_answer_byte_for_byte(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_sender, h.catalog)
        args = {"group": "g", "to": ["a@example.com"]}
        first = await call_tool(CALLER, h.calls, "send_notes", args, key="k")
        again = await call_tool(CALLER, h.calls, "send_notes", dict(reversed(args.items())), key="k")
        assert (again.body["replayed"], again.body["id"]) == (True, first.body["id"])
        assert json.dumps(again.body["result"]) == json.dumps(first.body["result"]) and again.evidence == first.evidence
        with pytest.raises(Invalid) as caught:
            await call_tool(CALLER, h.calls, "send_notes", {"group": "g", "to": ["b@example.com"]}, key="k")
        assert caught.value.code == "idempotency_conflict"
        without = await call_tool(CALLER, h.calls, "send_notes", args)
        assert without.body["result"]["skipped"] == 1 and without.body["id"] != first.body["id"]
        assert len(h.connectors.performed) == 1


async def test_a_key_of_the_spec_is_shared_by_actors_and_a_callers_key_is_not(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    other = Actor("key_other", "other", "default", frozenset({"tools:call"}))
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release, h.catalog, counter_spec(_run_key="[args.group]"))
        first = await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS)
        assert (await call_tool(other, h.calls, "count_notes", COUNTER_ARGS)).body["id"] == first.body["id"]
        mine = await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS, key="k")
        theirs = await call_tool(other, h.calls, "count_notes", COUNTER_ARGS, key="k")
        assert len({first.body["id"], mine.body["id"], theirs.body["id"]}) == 3


async def test_unknown_and_forbidden_tools_look_the_same(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release, h.catalog, counter_spec(_permissions=["notes:count"]))
        said = []
        for actor, tool in ((CALLER, "count_notes"), (CALLER, "no_such_tool")):
            with pytest.raises(NotFound) as caught:
                await call_tool(actor, h.calls, tool, COUNTER_ARGS)
            said.append(json.dumps(caught.value.as_dict()).replace(tool, "TOOL"))
        assert said[0] == said[1] and "tool_not_found" in said[0]
        with database.reading() as session:
            refused = session.exec(select(AuditEvent).where(AuditEvent.action == "tool.called")).all()
        assert [(row.target, row.outcome) for row in refused] == [("count_notes", "refused")]
        allowed = Actor("key_2", "two", "default", CALLER.permissions | {"notes:count"})
        assert (await call_tool(allowed, h.calls, "count_notes", COUNTER_ARGS)).body["result"] == {"done": 1}


async def test_a_pinned_version_asks_for_its_own_permissions(sqlite_database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release, h.catalog, counter_spec(_permissions=["notes:count"]))
        await asyncio.to_thread(release, h.catalog, counter_spec())
        assert (await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS)).body["version"] == 2
        with pytest.raises(NotFound) as caught:
            await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS, version=1)
        assert caught.value.code == "tool_not_found"
        allowed = Actor("key_2", "two", "default", CALLER.permissions | {"notes:count"})
        assert (await call_tool(allowed, h.calls, "count_notes", COUNTER_ARGS, version=1)).body["version"] == 1


@pytest.mark.parametrize(
    ("args", "code", "path"),
    [
        ({"group": "g"}, "args_invalid", "$"),
        ({"group": "g", "to": [1]}, "args_invalid", "$.to[0]"),
        ({"group": "g", "to": [], "more": 1}, "args_invalid", "$"),
        ({"group": "g", "to": [float("nan")]}, "args_invalid", None),
        ({"group": "\ud800", "to": []}, "args_invalid", None),
        ({"group": "g", "to": ["a" * 300] * 1000}, "input_too_large", None),
        ([], "args_invalid", "$"),
    ],
)
async def test_arguments_that_break_the_contract_are_refused_with_their_place(
    sqlite_database: Database, sandbox: Sandbox, tmp_path: Path, args: object, code: str, path: str | None
) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release, h.catalog)
        with pytest.raises(ToolmintError) as caught:
            await call_tool(CALLER, h.calls, "count_notes", args)
        assert caught.value.code == code and isinstance(caught.value, Invalid | TooLarge)
        assert path is None or caught.value.problems[0].path == path
        assert views.list_runs(CALLER, sqlite_database)["items"] == []


async def test_a_dry_run_answers_with_a_plan_and_reserves_no_key(sqlite_database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_sender, h.catalog)
        args = {"group": "g", "to": ["a@example.com"]}
        dry = await call_tool(CALLER, h.calls, "send_notes", args, key="k", dry_run=True)
        assert [step["would"] for step in dry.body["plan"]] == ["perform"] and h.connectors.performed == []
        real = await call_tool(CALLER, h.calls, "send_notes", args, key="k")
        assert not real.body["replayed"] and len(h.connectors.performed) == 1


async def test_without_time_a_run_is_handed_to_a_worker_and_its_twin_waits_for_it(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_sender, h.catalog)
        args = {"group": "g", "to": ["a@example.com"]}
        handle = await call_tool(CALLER, h.calls, "send_notes", args, key="k", waiting=Waiting(0))
        assert not handle.over and handle.body["state"] == "available" and handle.body["result"] is None
        twin = asyncio.create_task(call_tool(CALLER, h.calls, "send_notes", args, key="k"))
        await h.runtime.execute(handle.body["id"])
        answer = await twin
        assert (answer.body["id"], answer.body["replayed"], answer.over) == (handle.body["id"], True, True)


async def test_a_call_that_outlives_its_time_goes_on_in_a_worker(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_slow, h)
        told: list[tuple[int, int | None]] = []

        async def tell(done: int, total: int | None) -> None:
            told.append((done, total))

        handle = await call_tool(CALLER, h.calls, "send_notes", {"group": "g", "to": MANY}, waiting=Waiting(1.0, tell))
        assert not handle.over and handle.body["state"] in ("executing", "available")
        await until_async(lambda: due_runs(database) == [handle.body["id"]])
        ending = await h.runtime.execute(handle.body["id"])
        assert ending is not None and ending.state == "completed" and ending.result["done"] == len(MANY)
        assert len(h.connectors.performed) == len(MANY) and told


async def test_a_caller_that_goes_away_loses_nothing_or_cancels_as_its_door_decides(
    sqlite_database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_slow, h)
        for group, cancels in (("stays", False), ("ends", True)):
            sent, to = len(h.connectors.performed), MANY if cancels else MANY[:60]
            waiting = Waiting(30, cancels=lambda cancels=cancels: cancels)  # type: ignore[misc]  # binds the loop's value
            call = asyncio.create_task(call_tool(CALLER, h.calls, "send_notes", {"group": group, "to": to}, waiting=waiting))
            run = (await until_async(lambda: views.list_runs(CALLER, sqlite_database, state="executing")["items"]))[0]
            await until_async(lambda: views.read_run(CALLER, sqlite_database, run["id"])["effects"])  # noqa: B023  # awaited at once
            call.cancel()
            final = "cancelled" if cancels else "completed"
            await until_async(lambda: views.read_run(CALLER, sqlite_database, run["id"])["state"] == final)  # noqa: B023  # awaited at once
            done = [one.item["to"] for one in h.connectors.performed[sent:]]
            assert len(done) == len(set(done)) and (len(done) < len(to) if cancels else sorted(done) == sorted(to)), final


async def test_too_many_calls_at_once_are_refused_for_now(sqlite_database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release, h.catalog)
        await asyncio.to_thread(release_slow, h)
        h.calls.per_actor = 2
        async with open_calls(h, 2):
            with pytest.raises(Limited) as refused:
                await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS)
            assert refused.value.code == "too_many_calls" and refused.value.retryable
        assert (await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS)).over


def release_slow(h: House) -> None:
    release(h.catalog, sender_spec(), SLOW)


@asynccontextmanager
async def open_calls(h: House, number: int) -> AsyncIterator[None]:
    """So many calls of the slow tool, whose runs have begun; given up at the end."""
    calls = [
        asyncio.create_task(call_tool(CALLER, h.calls, "send_notes", {"group": str(n), "to": MANY}, waiting=Waiting(30)))
        for n in range(number)
    ]
    await until_async(lambda: len(views.list_runs(CALLER, h.database, state="executing")["items"]) == number)
    yield
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_calls_take_turns_for_the_places_here_and_go_to_a_worker_when_none_comes_free(
    sqlite_database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools", places=2) as h:
        await asyncio.to_thread(release, h.catalog)
        answers = await asyncio.gather(*(call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS) for _ in range(12)))
        assert all(answer.over for answer in answers)
        await asyncio.to_thread(release_slow, h)
        async with open_calls(h, 2):
            other = await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS, waiting=Waiting(0.2))
            assert not other.over and other.body["state"] == "available"
