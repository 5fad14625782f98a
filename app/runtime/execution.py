"""One attempt at one run: a guest is given the arguments, its requests are answered, its end is recorded.

It refuses to be: the caller. Who may call which version was decided before; a run here only needs its row and its Program.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.core import feed
from app.core.actor import Actor
from app.core.errors import Conflict, ToolmintError
from app.core.faults import fault
from app.core.writer import BulkWrite
from app.observability import audit
from app.runtime.dry_run import Rehearsal
from app.runtime.ending import Ending, closing, failure
from app.runtime.journal import REFUSED, Journal, Recorded, digest_text, request_digest
from app.runtime.program import Program
from app.runtime.repository import runs as repository
from app.runtime.repository.effects import FencedOut
from app.runtime.repository.recovery import Held
from app.runtime.values import Engine, Measured, RunView
from app.sandbox.failures import GuestDied
from app.sandbox.session import GuestSession

GRACE_S = 2.0
PROGRESS_EVERY_MS = 500
CHUNKS_UNDER_WAY = 2
"""How many chunks of one call are worked on at once: the next is planned while the effects of the one before are in flight."""
_REFUSED = ("effect_undeclared", "read_undeclared", "effect_limit_exceeded", "version_read_only", "key_unusable")
Message = dict[str, Any]
_Handler = Callable[[Message], Awaitable[Any]]


class _Performs(Protocol):
    refused: Counter[tuple[str, str]]

    async def perform(self, effect_id: str, step: int, first: int, items: list[Any], journal: Journal) -> list[dict[str, Any]]: ...

    def count(self, effect_id: str, outcomes: list[dict[str, Any]]) -> None: ...

    def held(self) -> Held: ...

    def works_ahead(self, effect_id: str) -> bool: ...


@dataclass(slots=True)
class Execution:
    """`stop(reason)` ends it at the next effect boundary: `cancelled`, `leave` (go on in a worker), `timed_out`, `lost`,
    `paused` (wait until the pause of its tool, or of the connector `waits_for`, is over).

    `beginning`: the run's row on its way, where it may share a commit with the end.
    """

    engine: Engine
    run: RunView
    program: Program
    beginning: asyncio.Future[Any] | None = None
    resumed: bool = False
    stopping: str | None = None
    waits_for: str | None = None
    journal: Journal = field(init=False)
    performer: _Performs = field(init=False)
    _receiving: bool = False
    _task: asyncio.Task[Message] | None = None
    _under_way: deque[asyncio.Task[None]] = field(default_factory=deque)
    _logs: list[dict[str, Any]] = field(default_factory=list)
    _progress_at: int = 0
    _progress: tuple[int, int | None] | None = None

    def __post_init__(self) -> None:
        self.journal = Journal(self.engine.database, self.run.id)
        self.performer = self._performer()

    def stop(self, reason: str) -> None:
        """Ask for an end; the first reason counts. Effects in flight are awaited, none is begun."""
        if self.stopping is not None:
            return
        self.stopping = reason
        self._be_patient()

    def _be_patient(self) -> None:
        """Give the guest a while to end; then end it, unless effects of its are in flight."""
        if self._task is not None:
            asyncio.get_running_loop().call_later(GRACE_S, self._give_up)

    def _give_up(self) -> None:
        if self._task is None or self._task.done():
            return
        if self._receiving:
            self._task.cancel()
        else:
            self._be_patient()

    async def drive(self) -> Ending:
        """Run the guest to its end and record it. Returns how it ended; raises bugs, cancellation, and GuestDied with its whole sandbox."""
        if self.resumed and not self.run.dry_run:  # a rehearsal has done nothing; it begins anew, with a plan that is whole
            await self.journal.resume()
        measured = Measured()
        try:
            message = await self._converse(measured)
            ending = await self._judge(message)
        except FencedOut:
            ending = Ending("lost")
        except ToolmintError as error:
            if self.stopping is None and isinstance(error, GuestDied) and error.data["exit"] is None:
                raise  # its sandbox went away, which is no fault of the tool: the run goes on as after a crash
            fix = {"fix": error.fix} if error.fix else {}
            ending = self._stopped() or failure(error.code, error.detail, **(fix | error.data))
        return await self._record(ending, measured)

    def _performer(self) -> _Performs:
        if self.run.dry_run:
            return self.engine.rehearsal(self.run, self.program)
        return self.engine.broker(self.run, self.program, self._may_go_on, self._wait_for)

    def _may_go_on(self) -> bool:
        return self.stopping is None

    def _wait_for(self, connector: str | None) -> None:
        if self.stopping is None:
            self.waits_for = connector
        self.stop("paused")

    async def _converse(self, measured: Measured) -> Message:
        limits = self.program.spec.limits
        session = await self.engine.session(self.program)
        timer = asyncio.get_running_loop().call_later(limits.timeout_s, self.stop, "timed_out")
        try:
            await session.start(self.run.args, now=self.run.instant or self.run.started_at, seed=self.run.seed)
            self._task = asyncio.create_task(self._serve(session))
            if self.stopping is not None:
                self._be_patient()
            return await self._task
        except asyncio.CancelledError:
            if self.stopping is None:
                raise
            return {"t": "cancelled"}
        finally:
            timer.cancel()
            measured.take(await session.close())

    async def _serve(self, session: GuestSession) -> Message:
        try:
            while True:
                message = await self._receive(session)
                kind = message["t"]
                if kind == "perform":
                    await self._answer_chunk(session, message)
                elif kind == "read":
                    await self._answer(session, self._read, message)
                elif kind == "log":
                    self._log(message)
                elif kind == "progress":
                    await self._note_progress(message["done"], message["total"])
                else:
                    await self._finish(0)
                    return message
        finally:
            # What is in flight is awaited, whatever ended the conversation; what went wrong there counts, or its claims would stay here.
            if self._under_way:
                await asyncio.wait(self._under_way)
            wrong = [error for chunk in self._under_way if (error := chunk.exception()) is not None]
            for error in sorted(wrong, key=_ends_the_run):
                raise error

    async def _receive(self, session: GuestSession) -> Message:
        """The guest's next message. Raises what a chunk under way has ended with meanwhile."""
        if not self._under_way:
            self._receiving = True
            try:
                return await session.receive()
            finally:
                self._receiving = False
        receiving = asyncio.ensure_future(session.receive())
        try:
            while not receiving.done():
                self._receiving = not self._under_way
                await asyncio.wait({receiving, *self._under_way}, return_when=asyncio.FIRST_COMPLETED)
                await self._finish(CHUNKS_UNDER_WAY)
            return receiving.result()
        finally:
            self._receiving = False
            receiving.cancel()

    async def _finish(self, most: int) -> None:
        """Wait until at most so many chunks are under way. Raises what one has raised."""
        while self._under_way and (len(self._under_way) > most or self._under_way[0].done()):
            await asyncio.wait([self._under_way[0]])
            self._under_way[0].result()
            self._under_way.popleft()

    async def _answer_chunk(self, session: GuestSession, message: Message) -> None:
        """Begin to work on a chunk; where its kind does not allow that, or a resume is under way, answer it before anything else."""
        ahead = self.performer.works_ahead(message["id"]) and not self.journal.unasked
        await self._finish(CHUNKS_UNDER_WAY - 1 if ahead else 0)
        before = self._under_way[-1] if self._under_way else None
        answering = self._answer(session, self._perform, message, before)
        if ahead:
            self._under_way.append(asyncio.create_task(answering))
        else:
            await answering

    async def _answer(self, session: GuestSession, handler: _Handler, message: Message, before: asyncio.Task[None] | None = None) -> None:
        if self.stopping is None:
            await self._tell(session, handler, message, before)
        if self.stopping is not None:
            await session.cancel()

    async def _tell(self, session: GuestSession, handler: _Handler, message: Message, before: asyncio.Task[None] | None) -> None:
        """Answer a request; chunks in their order, reads as soon as they are known."""
        kind, step, chunk, name = message["t"], message["step"], message.get("chunk", 0), message["id"]
        request = request_digest(message)
        answer = await self.journal.recorded(step, chunk, kind, name, request)
        if answer is None:
            started = self.engine.clock.monotonic()
            value, refused = await self._ask(handler, message)
            if before is not None:
                await asyncio.wait([before])
            answer = Recorded(value, self.engine.clock.now(), refused)
            if self.stopping is not None:
                return
            took = self.engine.clock.monotonic() - started
            fault("journal.step.before")
            noted = kind + REFUSED if refused else kind
            size = len(message["items"]) if kind == "perform" else 1
            self.journal.note(step, chunk, noted, name, request, value, answer.at, items=size, duration_ms=took)
        elif kind == "perform" and not answer.refused:
            self.performer.count(name, answer.value)
        if answer.refused:
            code, words = answer.value
            await session.refuse(code, words, self.run.instant or answer.at, of=(step, chunk))
        else:
            await session.answer(answer.value, self.run.instant or answer.at, of=(step, chunk))

    async def _ask(self, handler: _Handler, message: Message) -> tuple[Any, bool]:
        """The answer to a request that no earlier attempt has seen; with True it is a refusal, `[code, message]`."""
        try:
            return await handler(message), False
        except Conflict:
            raise
        except ToolmintError as error:
            if error.code in _REFUSED:
                await asyncio.to_thread(self._audit_refusal, message["id"], error.code)
            return [error.code, error.detail], True

    async def _read(self, message: Message) -> Any:
        query = message["query"] | ({"cursor": message["cursor"]} if message.get("cursor") else {})
        overlay = self.performer.overlay if isinstance(self.performer, Rehearsal) else None
        return await asyncio.to_thread(self.engine.read, self.run.tenant, self.program, message["id"], query, overlay)

    async def _perform(self, message: Message) -> Any:
        return await self.performer.perform(message["id"], message["step"], message["first"], message["items"], self.journal)

    def _audit_refusal(self, target: str, code: str) -> None:
        with self.engine.database.writing() as session:
            audit.record(session, self._actor, "effect.refused", f"{self.program.tool}/{target}", "refused", code=code, run=self.run.id)

    def _refused_items(self) -> list[repository.RefusedItems]:
        """What became no effect because no key can be made of it, for the audit trail."""
        counted = sorted(self.performer.refused.items())
        return [repository.RefusedItems(f"{self.program.tool}/{effect}", code, count) for (effect, code), count in counted]

    @property
    def _actor(self) -> Actor:
        return Actor(self.run.actor, self.run.actor, self.run.tenant, frozenset())

    def _log(self, message: Message) -> None:
        at = self.engine.clock.now()
        event = message["event"].replace("\0", "\N{REPLACEMENT CHARACTER}")  # a column of PostgreSQL holds no NUL
        self._logs.append({"run_id": self.run.id, "at": at, "event": event, "fields": message["fields"]})
        self.engine.say(self.run, event, message["fields"])

    async def _note_progress(self, done: int, total: int | None) -> None:
        self._progress = (done, total)
        at = self.engine.clock.now()
        if at - self._progress_at >= PROGRESS_EVERY_MS:
            self._progress_at = at
            if self.beginning is not None:
                await asyncio.wait([self.beginning])
            if not await asyncio.to_thread(self._announce_progress, done, total):
                self.stop("lost")

    def _announce_progress(self, done: int, total: int | None) -> bool:
        with self.engine.database.writing() as session:
            held = repository.note_progress(session, self.run.id, self.run.owner, self.run.fence, done, total)
            if held:
                feed.announce(session, "run.progress", self.run.id, self.run.tenant, done=done, total=total)
            return held

    async def _judge(self, message: Message) -> Ending:
        stopped = self._stopped()
        if stopped is not None:
            return stopped
        self.journal.ended()
        if message["t"] != "result":
            return closing(message)
        if isinstance(self.performer, Rehearsal):
            book = self.performer.book
            return Ending("completed", result=message["value"], plan=book.listed, plan_summary=book.summary(), marks=bytes(book.marks))
        if not self.program.rules and not self.program.spec.invariants:  # neither the database nor a child is asked
            return self.engine.check(self.run, self.program, message["value"])
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

    async def _record(self, ending: Ending, measured: Measured) -> Ending:
        if ending.state in ("leave", "lost", "paused"):
            held = await self._write(repository.release, self.release(ending.state))
            return ending if held else Ending("lost")
        steps, texts = self.journal.take()
        fault("run.result.before")
        finish = repository.Finish(
            actor=self._actor,
            run_id=self.run.id,
            owner=self.run.owner,
            fence=self.run.fence,
            state=ending.state,
            result=_stored(ending.result),
            plan=_stored(ending.plan),
            plan_summary=ending.plan_summary,
            bound=self.run.bound is not None,
            error=ending.error,
            effects=ending.effects,
            steps=steps,
            stored=texts,
            logs=self._logs,
            refused=self._refused_items(),
            measured=measured.columns(self.journal.highest, self._progress),
            trace_id=self.run.trace_id,
        )
        if not await self._write(repository.finish, finish):
            return Ending("lost")
        fault("run.result.after")
        self.engine.finished(self.run, ending)
        return ending

    async def _write(self, write: BulkWrite[Any, bool], argument: Any) -> bool:
        """Have the end written, behind the beginning where that was put off."""
        answer = self.engine.writer.put(write, argument)
        if self.beginning is not None:
            await asyncio.gather(self.beginning, answer)
        return await answer

    def release(self, reason: str, *, crashed: bool = False, delay_ms: int = 0) -> repository.Release:
        """This run given back with the journal so far, and with the claims that this attempt drops."""
        steps, texts = ((), ()) if self.run.dry_run or crashed else self.journal.take()
        return repository.Release(
            actor=self._actor,
            run_id=self.run.id,
            owner=self.run.owner,
            fence=self.run.fence,
            delay_ms=delay_ms,
            crashed=crashed,
            reason=reason,
            steps=steps,
            stored=texts,
            logs=() if crashed else self._logs,
            held=self.performer.held(),
            paused=reason == "paused",
            waits_for=self.waits_for,
            trace_id=self.run.trace_id,
        )


def _ends_the_run(error: BaseException) -> bool:
    """False for what gives the run back instead, with all that it holds: that goes before, or what is performing would stay here."""
    return isinstance(error, ToolmintError)


def _stored(value: Any) -> tuple[str, str] | None:
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return digest_text(text), text
