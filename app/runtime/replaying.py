"""Play a run again: its version's code in the sandbox, every host call answered from the journal, nothing performed.

What is compared: each request with the recorded one, each effect key computed anew with the ledger's, and how the run ends. A run that
something else ended (a cancellation, its time, three crashes) is played to where its journal ends.

It refuses to be: an execution. No effect row is written, no connector is asked to read or to act, and the run's row stays as it is.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core import feed
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Conflict, Failed, ToolmintError
from app.observability import audit, metrics
from app.observability.traces import tracing
from app.runtime.ending import Ending, closing, judge
from app.runtime.journal import REFUSED, Recorded, encode, request_digest
from app.runtime.models import Replay, Run
from app.runtime.process import Runtime
from app.runtime.program import Program
from app.runtime.rekeying import MOST_SHOWN, Keys
from app.runtime.repository import journal as journaled
from app.runtime.repository import replays as repository
from app.sandbox.session import GuestSession

MOST_ATTEMPTS = 3
log = logging.getLogger(__name__)
_BY_ITSELF = frozenset({"tool_crashed", "result_invalid", "result_too_large", "invariant_violated"})
Message = dict[str, Any]


class Differs(Exception):
    """The first difference: `what` (`request`, `missing`, `extra`, `key`, `end`), and what was recorded beside what is now."""

    def __init__(self, what: str, recorded: Any, asked: Any, **where: Any) -> None:
        super().__init__(what)
        self.found = {"what": what, **where, "recorded": recorded, "asked": asked}


class _JournalEnds(Exception):
    """All that is recorded has been asked for again, and what came then was not the tool's doing."""


async def carry_out(runtime: Runtime, replay_id: str) -> str | None:
    """Replay and record the report; returns the state that it ended in, None if another worker has it."""
    replay = await asyncio.to_thread(_claim, runtime, replay_id)
    if replay is None:
        return None
    with tracing(replay.trace_id):
        run = await asyncio.to_thread(_run, runtime.database, replay.run_id)
        state, report = await _report(runtime, replay, run)
        await asyncio.to_thread(_record, runtime, replay, run, state, report)
        metrics.REPLAYS.labels(state).inc()
    runtime.feed.nudge()
    return state


def _claim(runtime: Runtime, replay_id: str) -> Replay | None:
    with runtime.database.writing() as session:
        return repository.claim(session, replay_id, runtime.owner)


def _run(database: Database, run_id: str) -> Run:
    with database.reading() as session:
        return session.get_one(Run, run_id)


def _record(runtime: Runtime, replay: Replay, run: Run, state: str, report: dict[str, Any]) -> None:
    with runtime.database.writing() as session:
        if not repository.finish(session, replay.id, replay.owner or "", state, report):
            return
        actor = Actor(replay.actor, replay.actor, replay.tenant, frozenset())
        outcome = "done" if state == "same" else "failed"
        audit.record(session, actor, "run.replayed", run.id, outcome, trace_id=replay.trace_id, state=state, replay=replay.id)
        feed.announce(session, "run.replayed", run.id, run.tenant, state=state)


async def _report(runtime: Runtime, replay: Replay, run: Run) -> tuple[str, dict[str, Any]]:
    try:
        if replay.attempts > MOST_ATTEMPTS:
            raise Failed("replay_given_up", f"This replay ended its worker {MOST_ATTEMPTS} times.", fix="See the log of the worker.")
        program = await asyncio.to_thread(runtime.load, run.tenant, run.tool, run.version)
        player = await asyncio.to_thread(Player.of, runtime, run, program)
        found = await player.play()
        if (await asyncio.to_thread(_run, runtime.database, run.id)).kept != "all":  # its journal went while it was played
            raise pruned(run.id)
        return found
    except ToolmintError as error:
        return _unusable(error)
    except Exception:
        # Of any kind: it is a bug of ours, and the replay must not stay with this process because of it.
        log.exception("the replay of %s failed", run.id)
        return _unusable(Failed("internal_error", "Something inside failed.", fix="See the log of the worker."))


def _unusable(error: ToolmintError) -> tuple[str, dict[str, Any]]:
    return "unusable", {"error": {"code": error.code, "detail": error.detail, "fix": error.fix}}


@dataclass(slots=True)
class Player:
    """One replay under way; `whole`: the run came to its end by itself.

    `unasked` are the recorded seats, `(step, chunk)`, that have not been asked for again yet.
    """

    runtime: Runtime
    run: Run
    program: Program
    args: dict[str, Any]
    keys: Keys
    unasked: set[tuple[int, int]]
    recorded: int
    whole: bool
    asked: int = 0
    reached: str = "end"

    @classmethod
    def of(cls, runtime: Runtime, run: Run, program: Program) -> Player:
        """What is recorded of the run. Raises Conflict `journal_pruned`."""
        if run.kept != "all":
            raise pruned(run.id)
        with runtime.database.reading() as session:
            args = json.loads(journaled.payload(session, run.args))
            plan = json.loads(journaled.payload(session, run.plan)) if run.plan else None
            seats = journaled.seats(session, run.id)
        planned = frozenset((one["effect"], encode(one["key"])) for one in plan) if plan is not None else None
        summary = run.plan_summary or {}
        whole = summary.get("listed") == summary.get("total")
        keys = Keys(program, runtime.connectors, run.tenant, run.id, args, planned if run.dry_run else None, whole)
        return cls(runtime, run, program, args, keys, seats, len(seats), ended_by_itself(run))

    async def play(self) -> tuple[str, dict[str, Any]]:
        """`same` or `differs`, with the report."""
        difference = None
        try:
            await self._compare()
        except _JournalEnds:
            self.reached = "journal_end"
        except Differs as error:
            difference = error.found
        report = {
            "reached": self.reached if difference is None else "difference",
            "steps": {"recorded": self.recorded, "asked": self.asked},
            "keys": {"checked": self.keys.checked, "unchecked": self.keys.unchecked},
            "difference": difference,
        }
        return ("same" if difference is None else "differs"), report

    async def _compare(self) -> None:
        if not self.whole and not self.unasked:
            raise _JournalEnds
        try:
            message = await self._converse()
        except ToolmintError as error:
            if not error.code.startswith("guest_") or error.data.get("exit", 0) is None:
                raise
            raise Differs(
                "end", _end(self.run.state, self.run.error), _end("failed", {"code": error.code, "message": error.detail})
            ) from None
        if self.unasked:
            step, chunk = min(self.unasked)
            row, _ = await asyncio.to_thread(self._look_up, step, chunk)
            raise Differs("missing", _call(row.kind, row.name), _end(message["t"], None), step=step, chunk=chunk)
        await asyncio.to_thread(self._compare_end, message)

    async def _converse(self) -> Message:
        session = await self.runtime.engine.session(self.program)
        try:
            await session.start(self.args, now=self._told or self.run.started_at or self.run.created_at, seed=self.run.seed)
            while True:
                message = await session.receive()
                if message["t"] in ("read", "perform"):
                    await self._answer(session, message)
                elif message["t"] not in ("log", "progress"):
                    return message
        finally:
            await session.close()

    async def _answer(self, session: GuestSession, message: Message) -> None:
        answer = await asyncio.to_thread(self._recorded, message)
        if not self.unasked and not self.whole:
            raise _JournalEnds
        if answer.refused:
            code, words = answer.value
            await session.refuse(code, words, self._told or answer.at)
        else:
            await session.answer(answer.value, self._told or answer.at)

    @property
    def _told(self) -> int | None:
        """The one instant that the tool is told throughout; None where it was told the time of each answer."""
        return self.run.started_at if self.run.as_of is None and self.run.dry_run else self.run.as_of

    def _recorded(self, message: Message) -> Recorded:
        """The journaled answer for this very request. Raises Differs."""
        step, chunk, kind, name = message["step"], message.get("chunk", 0), message["t"], message["id"]
        where = {"step": step, "chunk": chunk}
        if (step, chunk) not in self.unasked:
            raise Differs("extra", None, _call(kind, name, message), **where)
        row, text = self._look_up(step, chunk)
        self.asked += 1
        if (row.kind.removesuffix(REFUSED), row.name) != (kind, name):
            raise Differs("request", _call(row.kind, row.name), _call(kind, name, message), **where)
        if row.request != request_digest(message):
            raise self._other_request(row, message, where)
        self.unasked.discard((step, chunk))
        refused, value = row.kind.endswith(REFUSED), json.loads(text)
        if kind == "perform" and not refused:
            with self.runtime.database.reading() as session:
                other = self.keys.difference(session, message, value)
            if other is not None:
                raise Differs("key", kind=kind, name=name, **where, **other)
        return Recorded(value, row.at, refused)

    def _other_request(self, row: Any, message: Message, where: Mapping[str, Any]) -> Differs:
        recorded = _call(row.kind, row.name) | {"items": row.items, "request": row.request}
        asked = _call(message["t"], message["id"], message) | {"request": request_digest(message)}
        if message["t"] != "perform":
            return Differs("request", recorded, asked, **where)
        with self.runtime.database.reading() as session:
            other = self.keys.first_other_item(session, message)
        if other is None:
            return Differs("request", recorded, asked, **where)
        at = {"position": other["position"]}
        return Differs("request", recorded | other["recorded"], asked | other["asked"], **where, **at)

    def _look_up(self, step: int, chunk: int) -> tuple[Any, str]:
        with self.runtime.database.reading() as session:
            return journaled.step_at(session, self.run.id, step, chunk)

    def _compare_end(self, message: Message) -> None:
        if not self.whole:
            return
        ending = self._judged(message)
        recorded = self._result()
        same = ending.state == self.run.state and _error(ending.error) == _error(self.run.error)
        if not same:
            raise Differs("end", _end(self.run.state, self.run.error), _end(ending.state, ending.error))
        if ending.state == "completed" and encode(ending.result) != encode(recorded):
            raise Differs("end", {"result": _text(recorded)}, {"result": _text(ending.result)})

    def _judged(self, message: Message) -> Ending:
        if message["t"] != "result":
            return closing(message)
        if self.run.dry_run:
            return Ending("completed", result=message["value"])
        return judge(self.program, self.args, message["value"], self.run.effects or {})

    def _result(self) -> Any:
        if self.run.result is None:
            return None
        with self.runtime.database.reading() as session:
            return json.loads(journaled.payload(session, self.run.result))


def ended_by_itself(run: Run) -> bool:
    """Whether the tool came to this end by itself, so that it must come to it again."""
    error = run.error or {}
    return run.state == "completed" or (run.state == "failed" and (bool(error.get("business")) or error.get("code") in _BY_ITSELF))


def pruned(run_id: str) -> Conflict:
    """The refusal where retention has been."""
    return Conflict(
        "journal_pruned",
        f"The journal of {run_id} is kept no longer.",
        fix="A journal is kept for TOOLMINT_KEEP_JOURNALS_DAYS after the run's end. The run's effects stay in their ledger.",
    )


def _call(kind: str, name: str, message: Message | None = None) -> dict[str, Any]:
    call: dict[str, Any] = {"kind": kind, "name": name}
    if message is not None and message["t"] == "perform":
        call["items"] = len(message["items"])
    elif message is not None:
        call["query"] = _text(message["query"])
    return call


def _end(state: str, error: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"end": state} | ({"error": _text(_error(error))} if error else {})


def _error(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if error is None else {name: error.get(name) for name in ("code", "message")}


def _text(value: Any) -> str:
    text = encode(value)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"
