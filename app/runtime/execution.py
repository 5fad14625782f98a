"""One attempt at one run: a guest is given the arguments, its requests are answered, its end is recorded.

It refuses to be: the caller. Who may call which version was decided before; a run here only needs its row and its Program.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.core import feed
from app.core.actor import Actor
from app.core.db import now as session_now
from app.core.errors import Conflict, ToolmintError
from app.core.faults import fault
from app.observability import audit
from app.runtime.broker import Broker
from app.runtime.dry_run import Rehearsal
from app.runtime.ending import Ending, closing, failure
from app.runtime.journal import Journal, digest_text, encode
from app.runtime.performing import FencedOut
from app.runtime.program import Program
from app.runtime.repository import runs as repository
from app.runtime.values import Engine, Measured, RunView
from app.sandbox.session import GuestSession

GRACE_S = 2.0
PROGRESS_EVERY_MS = 500
_REFUSED = ("effect_undeclared", "read_undeclared", "effect_limit_exceeded")
Message = dict[str, Any]


class _Performs(Protocol):
    async def perform(self, effect_id: str, step: int, first: int, items: list[Any]) -> list[dict[str, Any]]: ...


@dataclass(slots=True)
class Execution:
    """`stop(reason)` ends it at the next effect boundary: `cancelled`, `leave` (go on in a worker), `timed_out`, `lost`."""

    engine: Engine
    run: RunView
    program: Program
    resumed: bool = False
    stopping: str | None = None
    _receiving: bool = False
    _task: asyncio.Task[Message] | None = None
    _logs: list[dict[str, Any]] = field(default_factory=list)
    _progress_at: int = 0
    _progress: tuple[int, int | None] | None = None

    def stop(self, reason: str) -> None:
        """Ask for an end; the first reason counts. Effects in flight are awaited, none is begun."""
        if self.stopping is not None:
            return
        self.stopping = reason
        if self._receiving and self._task is not None:
            asyncio.get_running_loop().call_later(GRACE_S, self._give_up)

    def _give_up(self) -> None:
        if self._receiving and self._task is not None:
            self._task.cancel()

    async def drive(self) -> Ending:
        """Run the guest to its end and record it. Returns how it ended; raises nothing but bugs and cancellation."""
        journal = Journal(self.engine.database, self.run.id)
        if self.resumed:
            journal.last = await asyncio.to_thread(self._last_step)
        performer = self._performer()
        measured = Measured()
        try:
            message = await self._converse(journal, performer, measured)
            ending = await self._judge(message, journal, performer)
        except FencedOut:
            return Ending("lost")
        except ToolmintError as error:
            ending = self._stopped() or failure(error.code, error.detail, **error.data)
        return await self._record(ending, journal, measured)

    def _performer(self) -> Broker | Rehearsal:
        return (
            self.engine.rehearsal(self.run, self.program)
            if self.run.dry_run
            else self.engine.broker(self.run, self.program, self._may_go_on)
        )

    def _may_go_on(self) -> bool:
        return self.stopping is None

    def _last_step(self) -> int:
        with self.engine.database.reading() as session:
            return repository.last_step(session, self.run.id)

    async def _converse(self, journal: Journal, performer: _Performs, measured: Measured) -> Message:
        limits = self.program.spec.limits
        session = await self.engine.session(self.program)
        timer = asyncio.get_running_loop().call_later(limits.timeout_s, self.stop, "timed_out")
        try:
            await session.start(self.run.args, now=self.run.started_at, seed=self.run.seed)
            self._task = asyncio.create_task(self._serve(session, journal, performer))
            return await self._task
        except asyncio.CancelledError:
            if self.stopping is None:
                raise
            return {"t": "cancelled"}
        finally:
            timer.cancel()
            measured.take(await session.close())

    async def _serve(self, session: GuestSession, journal: Journal, performer: _Performs) -> Message:
        handlers: dict[str, Callable[[Message], Awaitable[tuple[Any, int]]]] = {
            "read": lambda message: self._read(message, journal, performer),
            "perform": lambda message: self._perform(message, journal, performer),
        }
        while True:
            self._receiving = True
            message = await session.receive()
            self._receiving = False
            kind = message["t"]
            if kind in handlers:
                if self.stopping is None:
                    await self._answer(session, handlers[kind], message)
                if self.stopping is not None:
                    await session.cancel()
            elif kind == "log":
                self._log(message)
            elif kind == "progress":
                await self._note_progress(message["done"], message["total"])
            else:
                return message

    async def _answer(self, session: GuestSession, handler: Callable[[Message], Awaitable[tuple[Any, int]]], message: Message) -> None:
        try:
            value, at = await handler(message)
        except Conflict:
            raise
        except ToolmintError as error:
            if error.code in _REFUSED:
                await asyncio.to_thread(self._audit_refusal, message["id"], error.code)
            await session.refuse(error.code, error.detail, self.engine.clock.now())
        else:
            if self.stopping is None:
                await session.answer(value, at)

    async def _read(self, message: Message, journal: Journal, performer: _Performs) -> tuple[Any, int]:
        query = message["query"] | ({"cursor": message["cursor"]} if message.get("cursor") else {})
        request = digest_text(encode([message["id"], query]))
        recorded = await journal.recorded(message["step"], 0, "read", message["id"], request)
        if recorded is not None:
            return recorded.value, recorded.at
        started = self.engine.clock.monotonic()
        overlay = performer.overlay if isinstance(performer, Rehearsal) else None
        value = await asyncio.to_thread(self.engine.read, self.run.tenant, self.program, message["id"], query, overlay)
        at = self.engine.clock.now()
        took = self.engine.clock.monotonic() - started
        journal.note(message["step"], 0, "read", message["id"], request, value, at, items=1, duration_ms=took)
        return value, at

    async def _perform(self, message: Message, journal: Journal, performer: _Performs) -> tuple[Any, int]:
        items, step, chunk = message["items"], message["step"], message["chunk"]
        request = digest_text(encode([message["id"], message["first"], items]))
        recorded = await journal.recorded(step, chunk, "perform", message["id"], request)
        if recorded is not None:
            return recorded.value, recorded.at
        started = self.engine.clock.monotonic()
        written = asyncio.create_task(self._write_journal(journal))
        try:
            outcomes = await performer.perform(message["id"], step, message["first"], items)
        finally:
            await written
        at = self.engine.clock.now()
        took = self.engine.clock.monotonic() - started
        if self.stopping is None:
            fault("journal.step.before")
            journal.note(step, chunk, "perform", message["id"], request, outcomes, at, items=len(items), duration_ms=took)
        return outcomes, at

    async def _write_journal(self, journal: Journal) -> None:
        steps, texts = journal.take()
        if steps:
            await self.engine.writer.submit(_write_steps, (steps, texts))
            fault("journal.step.after")

    def _audit_refusal(self, target: str, code: str) -> None:
        with self.engine.database.writing() as session:
            audit.record(session, self._actor, "effect.refused", f"{self.program.tool}/{target}", "refused", code=code, run=self.run.id)

    @property
    def _actor(self) -> Actor:
        return Actor(self.run.actor, self.run.actor, self.run.tenant, frozenset())

    def _log(self, message: Message) -> None:
        at = self.engine.clock.now()
        self._logs.append({"run_id": self.run.id, "at": at, "event": message["event"], "fields": message["fields"]})
        self.engine.say(self.run, message["event"], message["fields"])

    async def _note_progress(self, done: int, total: int | None) -> None:
        self._progress = (done, total)
        at = self.engine.clock.now()
        if at - self._progress_at >= PROGRESS_EVERY_MS:
            self._progress_at = at
            await asyncio.to_thread(self._announce_progress, done, total)

    def _announce_progress(self, done: int, total: int | None) -> None:
        with self.engine.database.writing() as session:
            repository.note_progress(session, self.run.id, done, total)
            feed.announce(session, "run.progress", self.run.id, self.run.tenant, done=done, total=total)

    async def _judge(self, message: Message, journal: Journal, performer: Broker | Rehearsal) -> Ending:
        stopped = self._stopped()
        if stopped is not None:
            return stopped
        journal.ended()
        if message["t"] != "result":
            return closing(message)
        if isinstance(performer, Rehearsal):
            return Ending("completed", result=message["value"], plan=performer.plan)
        return await asyncio.to_thread(self.engine.check, self.run, self.program, message["value"])

    def _stopped(self) -> Ending | None:
        match self.stopping:
            case None:
                return None
            case "timed_out":
                seconds = self.program.spec.limits.timeout_s
                return failure("run_timed_out", f"The run took longer than the {seconds} s that its spec allows.")
            case reason:
                return Ending(reason)

    async def _record(self, ending: Ending, journal: Journal, measured: Measured) -> Ending:
        if ending.state == "lost":
            return ending
        steps, texts = journal.take()
        logs, self._logs = self._logs, []
        if ending.state in ("leave", "crashed"):
            crashed = ending.state == "crashed"
            release = repository.Release(
                self._actor, self.run.id, self.run.owner, self.run.fence, 0, crashed, ending.state, steps, texts, logs, self.run.trace_id
            )
            held = await self.engine.writer.submit(repository.release, release)
            return ending if held else Ending("lost")
        stored = [text for text in (_stored(ending.result), _stored(ending.plan)) if text is not None]
        fault("run.result.before")
        finish = repository.Finish(
            actor=self._actor,
            run_id=self.run.id,
            owner=self.run.owner,
            fence=self.run.fence,
            state=ending.state,
            result=_stored(ending.result),
            plan=_stored(ending.plan),
            error=ending.error,
            effects=ending.effects,
            steps=steps,
            stored=[*texts, *stored],
            logs=logs,
            measured=measured.columns(journal.highest, self._progress),
            trace_id=self.run.trace_id,
        )
        held = await self.engine.writer.submit(repository.finish, finish)
        fault("run.result.after")
        self.engine.finished(self.run, ending)
        return ending if held else Ending("lost")


def _stored(value: Any) -> tuple[str, str] | None:
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return digest_text(text), text


def _write_steps(session: Any, batches: list[tuple[list[dict[str, Any]], list[tuple[str, str]]]]) -> list[None]:
    at = session_now(session)
    for steps, texts in batches:
        repository.store(session, texts, at)
        repository.write_steps(session, steps)
    return [None] * len(batches)
