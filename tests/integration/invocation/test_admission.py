"""Whether a call may begin: pauses, limits of calls and runs, and what is let through all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.core.actor import DEFAULT_TENANT, Actor
from app.core.db import Database
from app.core.errors import Forbidden, Invalid, Limited, NotFound, Unavailable
from app.invocation import pausing
from app.invocation.calling import Waiting, call_tool
from app.runtime import views
from app.runtime.flow.limits import Limits, ToolLimits
from app.runtime.recovery import due_runs
from app.sandbox.sandbox import Sandbox
from tests.support.published import CALLER, COUNTER_ARGS, House, house, release, release_sender
from tests.support.stalls import until_within
from tests.support.waiting import until_async

pytestmark = pytest.mark.anyio
OPERATOR = Actor("key_operator", "operator", DEFAULT_TENANT, frozenset({"runs:pause"}))
SEND = {"group": "g", "to": ["a@example.org"]}


async def pause(h: House, scope: str, name: str = "") -> None:
    await asyncio.to_thread(pausing.pause, OPERATOR, h.calls, scope, name, "the list is wrong")
    await until_within(1.0, lambda: _known(h, 1), "the pause is known")


async def resume(h: House, scope: str, name: str = "") -> None:
    await asyncio.to_thread(pausing.resume, OPERATOR, h.calls, scope, name)
    await until_within(1.0, lambda: _known(h, 0), "the end of the pause is known")


def _known(h: House, number: int) -> bool:
    assert h.runtime.flow is not None
    return len(h.runtime.flow.pauses(DEFAULT_TENANT)) == number


@pytest.mark.parametrize(("scope", "name"), [("tool", "send_notes"), ("everything", "")])
async def test_calls_of_what_is_paused_are_refused_for_now_and_a_stored_answer_is_still_given(
    database: Database, sandbox: Sandbox, tmp_path: Path, scope: str, name: str
) -> None:
    async with house(database, sandbox, tmp_path / "tools", limits=Limits()) as h:
        await asyncio.to_thread(release_sender, h.catalog)
        first = await call_tool(CALLER, h.calls, "send_notes", SEND, key="k")
        await pause(h, scope, name)
        with pytest.raises(Unavailable, match="paused") as refused:
            await call_tool(CALLER, h.calls, "send_notes", SEND, key="another")
        assert refused.value.retryable and "the list is wrong" in refused.value.detail and refused.value.fix
        with pytest.raises(Unavailable, match="paused"):
            await call_tool(CALLER, h.calls, "send_notes", SEND, dry_run=True)
        again = await call_tool(CALLER, h.calls, "send_notes", SEND, key="k")
        assert again.body["replayed"] and again.body["id"] == first.body["id"] and len(h.connectors.performed) == 1
        await resume(h, scope, name)
        assert (await call_tool(CALLER, h.calls, "send_notes", SEND, key="another")).body["result"]["skipped"] == 1


async def test_a_pause_of_one_tool_or_of_a_connector_refuses_no_call_of_others(
    sqlite_database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools", limits=Limits()) as h:
        await asyncio.to_thread(release, h.catalog)
        await asyncio.to_thread(release_sender, h.catalog)
        await pause(h, "tool", "send_notes")
        assert (await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS)).over
        await resume(h, "tool", "send_notes")
        await pause(h, "connector", "email.send")
        waits = await call_tool(CALLER, h.calls, "send_notes", SEND, waiting=Waiting(1.0))
        assert not waits.over and waits.body["state"] == "scheduled" and not h.connectors.performed
        assert due_runs(sqlite_database) == []
        await resume(h, "connector", "email.send")
        assert due_runs(sqlite_database) == [waits.body["id"]]
        ending = await h.runtime.execute(waits.body["id"])
        assert ending is not None and ending.state == "completed" and len(h.connectors.performed) == 1


async def test_what_is_not_known_refuses_calls(sqlite_database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools", limits=Limits()) as h:
        await asyncio.to_thread(release, h.catalog)
        assert (await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS)).over
        with sqlite_database.writing() as session:
            session.connection().exec_driver_sql("ALTER TABLE pause RENAME TO elsewhere")
        assert h.runtime.flow is not None
        await until_async(lambda: h.runtime.flow is not None and not h.runtime.flow.fresh, 6.0, "it is not known what is paused")
        with pytest.raises(Unavailable, match="paused") as refused:
            await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS)
        assert "not known" in refused.value.detail and refused.value.retryable
        with sqlite_database.writing() as session:
            session.connection().exec_driver_sql("ALTER TABLE elsewhere RENAME TO pause")
        assert (await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS)).over, "one look is enough"


async def test_open_calls_of_a_tool_and_of_an_actor_are_limited_over_all_processes(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    limits = Limits(tools={"count_notes": ToolLimits(calls=2)}, open_per_actor=3)
    async with house(database, sandbox, tmp_path / "tools", limits=limits) as h:
        await asyncio.to_thread(release, h.catalog)
        await asyncio.to_thread(release_sender, h.catalog)
        for key in ("a", "b"):
            await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS, key=key, waiting=Waiting(0))
        with pytest.raises(Limited, match="too_many_calls") as refused:
            await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS)
        assert refused.value.retryable and "count_notes" in refused.value.detail and refused.value.data["retry_after_s"] > 0
        joined = await call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS, key="a", waiting=Waiting(0.1))
        assert joined.body["state"] == "available", "a call that is open already may be asked for again"
        await call_tool(CALLER, h.calls, "send_notes", SEND, waiting=Waiting(0))
        with pytest.raises(Limited, match="too_many_calls") as refused:
            await call_tool(CALLER, h.calls, "send_notes", SEND, waiting=Waiting(0))
        assert "your key" in refused.value.detail
        other = Actor("key_other", "other", DEFAULT_TENANT, frozenset({"tools:call"}))
        assert not (await call_tool(other, h.calls, "send_notes", SEND, waiting=Waiting(0))).over


async def test_where_runs_at_once_are_limited_workers_take_them_in_turn(
    sqlite_database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    limits = Limits(tools={"count_notes": ToolLimits(runs=1)})
    async with house(sqlite_database, sandbox, tmp_path / "tools", limits=limits) as h:
        await asyncio.to_thread(release, h.catalog)
        calling = asyncio.create_task(call_tool(CALLER, h.calls, "count_notes", COUNTER_ARGS, waiting=Waiting(20)))
        (run,) = await until_async(lambda: views.list_runs(CALLER, sqlite_database, state="available")["items"])
        await h.runtime.execute(run["id"])
        answer = await calling
        assert answer.over and answer.body["result"] == {"done": 1}


async def test_only_what_is_there_can_be_paused_and_only_by_who_may(sqlite_database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools", limits=Limits()) as h:
        await asyncio.to_thread(release, h.catalog)
        for scope, name, code in (
            ("tool", "no_such_tool", "tool_not_found"),
            ("connector", "no.such", "connector_not_found"),
            ("connector", "records.get", "connector_not_found"),
        ):
            with pytest.raises(NotFound, match=code):
                pausing.pause(OPERATOR, h.calls, scope, name, "because it is")
        for scope, name in (("tool", ""), ("everything", "x"), ("weather", "rain")):
            with pytest.raises(Invalid, match="scope_invalid"):
                pausing.pause(OPERATOR, h.calls, scope, name, "because it is")
        with pytest.raises(Forbidden, match="permission_denied"):
            pausing.pause(CALLER, h.calls, "everything", "", "because it is")


async def test_who_may_not_know_of_a_tool_hears_nothing_of_its_pause(sqlite_database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(sqlite_database, sandbox, tmp_path / "tools", limits=Limits()) as h:
        await asyncio.to_thread(release_sender, h.catalog, _permissions=["notes:secret"])
        pausing.pause(OPERATOR, h.calls, "tool", "send_notes", "because it is")
        assert pausing.list_pauses(CALLER, h.calls)["items"] == []
        assert [row["name"] for row in pausing.list_pauses(OPERATOR, h.calls)["items"]] == ["send_notes"]
