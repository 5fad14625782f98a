"""What a process gives back that lives on and does not go on with it: nobody else would take it up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from app.connectors.port import Reply, Request
from app.connectors.scripted import ScriptedEmail
from app.core.db import Database
from app.runtime.execution import Execution
from app.runtime.plans import Terms
from app.runtime.process import Call
from app.runtime.program import Program
from app.runtime.repository.effects import move_together
from app.runtime.repository.planning import plan_chunks
from app.sandbox.sandbox import Sandbox
from tests.support.processes import kill_whole
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, world

pytestmark = pytest.mark.anyio
ADA = "ada@example.org"


async def test_a_run_whose_program_cannot_be_read_just_now_is_given_back_and_not_kept_by_a_process_that_does_not_drive_it(
    database: Database, sandbox: Sandbox
) -> None:
    async with world(database, sandbox) as w:
        begun, _ = await w.call(here=False, group="g", to=[ADA])
        load = w.runtime.load

        def away(*_version: Any) -> Program:
            raise OperationalError("SELECT", None, Exception("the server closed the connection"))

        w.runtime.load = away
        ending = await w.runtime.execute(begun.run_id)
        assert ending is not None and ending.state == "crashed"
        assert w.run(begun.run_id)["state"] == "scheduled"
        w.runtime.load = load
        await until(lambda: _executed(w, begun.run_id))
        assert w.sent() == [ADA]


@pytest.mark.parametrize("met_before", [False, True])
async def test_what_was_claimed_by_a_commit_whose_answer_was_lost_is_given_back_with_its_run(
    database: Database, sandbox: Sandbox, met_before: bool
) -> None:
    script = [{"effect": "send", "when": {"to": ADA}, "answer": "refuse_for_good", "times": 1}] if met_before else ()
    async with world(database, sandbox, script=script, retry_failed=True) as w:
        if met_before:
            await w.call(group="g", to=[ADA])
        submit, lost = w.runtime.writer.submit, [True]

        async def losing(write: Any, argument: Any) -> Any:
            answer = await submit(write, argument)
            if write is plan_chunks and lost and lost.pop():
                raise OperationalError("COMMIT", None, Exception("the server closed the connection"))
            return answer

        w.runtime.writer.submit = losing  # type: ignore[method-assign]  # a connection that breaks when the commit is through
        begun, ending = await w.call(group="g", to=[ADA])
        assert ending is not None and ending.state == "crashed"
        assert w.states() == {ADA: "planned"}
        await until(lambda: _executed(w, begun.run_id))
        assert w.sent() == [ADA] and w.states() == {ADA: "done"}


async def test_a_database_that_goes_away_under_one_chunk_gives_the_run_back_though_the_next_chunk_would_end_it(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = [f"c{number}@example.org" for number in range(60)]
    async with world(database, sandbox) as w:
        planned = await w.runtime.drive(await _begun(w, dry_run=True, to=to[:50]))
        execution = await _begun(w, terms=Terms("00" * 16, approval="apv_1", marks=planned.marks), to=to)
        put, perform = w.runtime.writer.put, ScriptedEmail.perform

        async def slowly(port: ScriptedEmail, request: Request) -> Reply:
            await until(lambda: len(execution._under_way) == 2 and execution._under_way[1].done())
            return await perform(port, request)

        def losing(write: Any, argument: Any) -> Any:
            if write is move_together and any(move.after == "done" for move in argument):
                lost = asyncio.get_running_loop().create_future()
                lost.set_exception(OperationalError("COMMIT", None, Exception("the server closed the connection")))
                return lost
            return put(write, argument)

        monkeypatch.setattr(ScriptedEmail, "perform", slowly)  # the same answers, once the next chunk has failed
        w.runtime.writer.put = losing  # type: ignore[method-assign]  # a database that takes no end any more
        assert (await w.runtime.drive(execution)).state == "crashed"
        assert len(w.sent()) > 0 and set(w.states()) == set(to[:50])
        assert {to for to, state in w.states().items() if state == "unknown"} == set(w.sent())
        assert set(w.states().values()) == {"unknown", "planned"}


async def _begun(w: World, *, dry_run: bool = False, terms: Terms | None = None, to: list[str]) -> Execution:
    _, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": to}, dry_run=dry_run, terms=terms))
    assert execution is not None
    return execution


async def _executed(w: World, run_id: str) -> bool:
    return await w.runtime.execute(run_id) is not None


async def test_a_run_whose_sandbox_is_killed_goes_on_and_repeats_nothing(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, others = sandbox.apart(), _children()
    perform = ScriptedEmail.perform

    async def last_act(port: ScriptedEmail, request: Request) -> Reply:
        reply = await perform(port, request)
        await kill_whole(_children() - others)
        return reply

    async with world(database, own) as w:
        with monkeypatch.context() as patched:
            patched.setattr(ScriptedEmail, "perform", last_act)
            begun, ending = await w.call(group="g", to=[ADA])
        assert ending is not None and ending.state == "crashed", ending
        await until(lambda: _executed(w, begun.run_id))
        run = w.run(begun.run_id)
        assert (run["state"], run["result"]["done"], run["crashes"]) == ("completed", 1, 1)
        assert w.sent() == [ADA]
    await own.stop()


def _children() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}
