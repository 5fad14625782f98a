"""The runtime of one process: its owner row and heartbeat, the runs that it executes, its share of the queue.

It refuses to be: a scheduler. Which run is due is in the tables; jobs and sweeps say "now".
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from app.connectors.port import Connectors
from app.core import ids, owners
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import ToolmintError
from app.core.faults import fault
from app.core.feed import Feed, Signal
from app.core.writer import BulkWrite, GroupWriter
from app.observability import metrics
from app.observability.traces import current_trace, new_trace, tracing
from app.runtime.ending import Ending, failure
from app.runtime.execution import Execution
from app.runtime.flow.board import Flow
from app.runtime.flow.limits import Limits
from app.runtime.journal import digest_text, encode
from app.runtime.models import Run
from app.runtime.plans import Proviso, Terms, bound_by
from app.runtime.program import Program
from app.runtime.recovery import enter
from app.runtime.repository import runs as repository
from app.runtime.repository.journal import payload
from app.runtime.values import Engine, Guests, RunView
from app.runtime.visibility import note_requirements

BEGIN_WITHIN_S = 0.05
"""How long the row of a run may wait that can have no effect, answers for no key and uses no approval, to share a commit with its end.

A crash meanwhile leaves no trace of it, as if the call had not arrived: nothing was done, and nobody was told anything.
"""

Loader = Callable[[str, str, int], Program]
Identity = repository.Identity
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """What a run is begun with. `here`: this process executes it at once; else a worker does.

    `patient`: its caller asks for nothing but the end before `BEGIN_WITHIN_S` has passed. `terms`: those of a dry run before it;
    `proviso` is asked in the transaction that begins the run, which no other run answers for.
    """

    args: Mapping[str, Any]
    identity: repository.Identity | None = None
    channel: str | None = None
    reason: str = ""
    source: str = "rest"
    dry_run: bool = False
    here: bool = True
    patient: bool = False
    terms: Terms | None = None
    proviso: Proviso | None = None


class Runtime:
    """Start it, begin runs, drive them, stop it. `load` finds the Program of `(tenant, tool, version)`."""

    def __init__(
        self,
        database: Database,
        sandbox: Guests,
        connectors: Connectors,
        load: Loader,
        feed: Feed,
        *,
        role: str,
        lease_s: float = 15.0,
        heartbeat_s: float = 2.0,
        limits: Limits | None = None,
    ) -> None:
        self.database = database
        self.connectors = connectors
        self.feed = feed
        self.load = load
        ours = copy_context()  # the writer's thread has none: what is counted apart here is so there
        self.writer = GroupWriter(database, lambda writes: ours.run(metrics.COMMIT_ITEMS.observe, writes))
        self.role = role
        self._lease_ms = round(lease_s * 1000)
        self._heartbeat_s = heartbeat_s
        self._lease_until = 0
        self._executions: dict[str, Execution] = {}
        self._noted: set[tuple[str, str, int]] = set()
        self._cancelled: deque[str] = deque(maxlen=1000)
        self._owed: list[tuple[BulkWrite[Any, Any], Any]] = []
        self._idle = asyncio.Event()
        self._leaving = False
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.engine = Engine(database, self.writer, sandbox, connectors, "", lambda: self._lease_until)
        self.flow = Flow(database, self.writer, feed, limits, lambda: self.owner, self._stop_paused) if limits is not None else None
        if self.flow is not None:
            self.engine.gate_of = self.flow.gate

    @property
    def owner(self) -> str:
        """The id of this process's present owner row."""
        return self.engine.owner

    @property
    def leaving(self) -> bool:
        """Whether this process is about to stop and begins nothing more."""
        return self._leaving

    @property
    def executing(self) -> int:
        """How many runs are under way here."""
        return len(self._executions)

    async def start(self) -> None:
        """Take an owner row and begin the heartbeat."""
        await self._register()
        if self.flow is not None:
            await self.flow.start()
        self._tasks = [asyncio.create_task(self._beat(), name="heartbeat"), asyncio.create_task(self._obey(), name="cancellations")]

    async def stop(self, grace_s: float = 3.0) -> None:
        """Hand what is under way to others (at an effect boundary), then give up the lease."""
        self._leaving = True
        for execution in list(self._executions.values()):
            execution.stop("leave")
        if self._executions:
            self._idle.clear()
            with suppress(TimeoutError):  # what has not left by then is taken up by another process
                await asyncio.wait_for(self._idle.wait(), grace_s)
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        await self.engine.stop()
        if self.flow is not None:
            await self.flow.stop()
        self._lease_until = 0
        await asyncio.to_thread(owners.void, self.database, owner=self.owner)
        self.writer.close()

    async def begin(self, actor: Actor, program: Program, call: Call) -> tuple[repository.Begun, Execution | None]:
        """Insert the run, or name the one that answers for its identity. With an Execution: drive it now."""
        await self._note(actor.tenant, program)
        text = encode(call.args)
        row = self._row(actor, program, call, digest_text(text))
        marks = call.terms.marks if call.terms is not None else None
        new = repository.NewRun(actor, row, text, call.identity, call.proviso, marks)
        asked_nothing = call.identity is None and call.proviso is None
        if call.here and call.patient and asked_nothing and (call.dry_run or not program.rules):
            begun, beginning = repository.Begun("begun", row["id"]), self.writer.put_soon(repository.begin, new, BEGIN_WITHIN_S)
        else:
            begun, beginning = await self.writer.submit(repository.begin, new), None
            fault("run.begun")
        if begun.how != "begun" or not call.here:
            self.feed.nudge()
            return begun, None
        view = RunView(
            id=row["id"],
            tenant=actor.tenant,
            actor=actor.id,
            version=program.version,
            trace_id=row["trace_id"],
            dry_run=call.dry_run,
            args=dict(call.args),
            seed=row["seed"],
            started_at=row["started_at"],
            owner=row["owner"],
            fence=row["fence"],
            as_of=row["as_of"],
            approval=row["approval"],
            bound=bound_by(marks) if marks is not None else None,
        )
        return begun, Execution(self.engine, view, program, beginning)

    async def _note(self, tenant: str, program: Program) -> None:
        version = (tenant, program.tool, program.version)
        if program.spec.permissions and version not in self._noted:
            await asyncio.to_thread(note_requirements, self.database, *version, program.spec.permissions)
            self._noted.add(version)

    def _row(self, actor: Actor, program: Program, call: Call, args: str) -> dict[str, Any]:
        return {
            "id": ids.new("run"),
            "tenant": actor.tenant,
            "tool": program.tool,
            "version": program.version,
            "digest": program.digest,
            "channel": call.channel,
            "reason": call.reason,
            "actor": actor.id,
            "trace_id": current_trace() or new_trace(),
            "source": call.source,
            "dry_run": call.dry_run,
            "state": "executing" if call.here else "available",
            "started_at": self.database.clock.now() if call.here else None,
            "args": args,
            "seed": call.terms.seed if call.terms is not None else os.urandom(16).hex(),
            "as_of": call.terms.as_of if call.terms is not None else None,
            "approval": call.terms.approval if call.terms is not None else None,
            "owner": self.owner if call.here else None,
            "fence": 1 if call.here else 0,
            "due_at": 0,
            "crashes": 0,
            "steps": 0,
            "cpu_ms": 0,
            "rss_kb": 0,
            "bytes_in": 0,
            "bytes_out": 0,
        }

    async def drive(self, execution: Execution) -> Ending:
        """Execute a run that this process holds, to its end.

        If the caller is cancelled the run leaves at the next effect boundary, for a worker; what is in flight is awaited.
        """
        self._executions[execution.run.id] = execution
        if execution.run.id in self._cancelled:
            execution.stop("cancelled")
        elif self._leaving:
            execution.stop("leave")
        self._stop_paused()
        task = asyncio.create_task(self._drive(execution), name=execution.run.id)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            execution.stop("leave")
            await asyncio.wait([task])
            raise

    async def _drive(self, execution: Execution) -> Ending:
        run = execution.run
        with tracing(run.trace_id):
            try:
                return await execution.drive()
            except Exception:
                # Of any kind: it is a bug of ours, and the run must not stay with this process because of it.
                log.exception("the execution of %s failed", run.id)
                await self.owe(repository.release, execution.release("internal error", crashed=True, delay_ms=1000))
                return Ending("crashed")
            finally:
                self._executions.pop(run.id, None)
                if not self._executions:
                    self._idle.set()
                self.feed.nudge("run.finished", run.id, run.tenant)

    async def execute(self, run_id: str) -> Ending | None:
        """Claim a waiting run and drive it. None: somebody else has it, or it is over."""
        taken: list[repository.Release] = []
        try:
            run = await asyncio.to_thread(self._claim, run_id, taken)
            if run is None:
                return None
            fault("run.claimed")
            claimed = await self._taken_up(run)
        except Exception:
            # Of any kind, a database too that went away as it committed the claim: the run must not stay with a process that lives on.
            log.exception("%s could not be taken up", run_id)
            for release in taken:
                await self.owe(repository.release, release)
            return Ending("crashed")
        return await self.drive(claimed) if isinstance(claimed, Execution) else claimed

    async def _taken_up(self, run: Run) -> Execution | Ending:
        """What a claimed run goes on as, or how it ended at once."""
        if run.cancel_at is not None:
            return await self._end(run, Ending("cancelled"))
        try:
            program = await asyncio.to_thread(self.load, run.tenant, run.tool, run.version)
        except ToolmintError as error:
            return await self._end(run, failure(error.code, error.detail))
        view = RunView(
            id=run.id,
            tenant=run.tenant,
            actor=run.actor,
            version=run.version,
            trace_id=run.trace_id,
            dry_run=run.dry_run,
            args=await asyncio.to_thread(self._args, run.args),
            as_of=run.as_of,
            approval=run.approval,
            bound=await asyncio.to_thread(self._bound, run.id) if run.approval is not None else None,
            seed=run.seed,
            started_at=run.started_at or run.created_at,
            owner=run.owner or self.owner,
            fence=run.fence,
        )
        return Execution(self.engine, view, program, resumed=run.fence > 1)

    def _unbegun(self, run: Run) -> repository.Release:
        actor, owner = Actor(run.actor, run.actor, run.tenant, frozenset()), run.owner or self.owner
        return repository.Release(actor, run.id, owner, run.fence, 1000, crashed=True, reason="not taken up", trace_id=run.trace_id)

    def stop_run(self, run_id: str, reason: str) -> bool:
        """Stop an execution of this process at its next effect boundary; False if it is not here."""
        execution = self._executions.get(run_id)
        if execution is None:
            return False
        execution.stop(reason)
        return True

    def _stop_paused(self) -> None:
        """Have runs of paused tools leave, and wait. A rehearsal ends by itself, and performs nothing."""
        for execution in list(self._executions.values()):
            run = execution.run
            if self.flow is not None and not run.dry_run and self.flow.pause_of(run.tenant, execution.program.tool) is not None:
                execution.stop("paused")

    def _claim(self, run_id: str, taken: list[repository.Release]) -> Run | None:
        """Claim a run; `taken` says how to give it back before the commit, whose answer may be lost."""
        most = self.flow.limits.runs_of if self.flow is not None else None
        with self.database.writing() as session:
            run = repository.claim(session, run_id, self.owner, most)
            taken += [self._unbegun(run)] if run is not None else []
            return run

    def _bound(self, run_id: str) -> frozenset[bytes]:
        with self.database.reading() as session:
            return bound_by(repository.marks(session, run_id) or b"")

    def answered(self, identity: repository.Identity) -> bool:
        """Whether some run answers for this identity at present, so that a call would begin none."""
        with self.database.reading() as session:
            return repository.answered(session, identity)

    def _args(self, digest: str) -> dict[str, Any]:
        with self.database.reading() as session:
            found: dict[str, Any] = json.loads(payload(session, digest))
            return found

    async def owe(self, write: BulkWrite[Any, Any], argument: Any) -> None:
        """Give something back now, or, while the database is away, with a later heartbeat: nobody else would, as this owner lives."""
        try:
            await self.writer.submit(write, argument)
        except SQLAlchemyError:
            log.exception("something could not be given back yet")
            self._owed.append((write, argument))

    async def _end(self, run: Run, ending: Ending) -> Ending:
        actor, owner = Actor(run.actor, run.actor, run.tenant, frozenset()), run.owner or self.owner
        bound = run.approval is not None
        end = repository.Finish(actor, run.id, owner, run.fence, ending.state, error=ending.error, bound=bound, trace_id=run.trace_id)
        held = await self.writer.submit(repository.finish, end)
        self.feed.nudge()
        return ending if held else Ending("lost")

    async def _register(self) -> None:
        before = self.database.clock.monotonic()
        self.engine.become(await asyncio.to_thread(enter, self.database, self.role, self._lease_ms))
        self._lease_until = before + self._lease_ms

    async def _beat(self) -> None:
        while not await self._stopped_within(self._heartbeat_s):
            try:
                await self._renew()
            except SQLAlchemyError:  # a database that is away for a while costs the lease at most, never the process
                log.exception("the lease could not be renewed")

    async def _renew(self) -> None:
        before = self.database.clock.monotonic()
        if self.engine.departures.open and await asyncio.to_thread(owners.renew, self.database, self.owner):
            self._lease_until = before + self._lease_ms
            owed, self._owed = self._owed, []
            for write, argument in owed:
                await self.owe(write, argument)
            return
        log.warning("owner %s has lost its lease; its runs go to others", self.owner)
        for execution in list(self._executions.values()):
            execution.stop("lost")
        await self._register()

    async def _obey(self) -> None:
        async with self.feed.told(_is_cancellation, self._cancel):
            await self._stopping.wait()

    async def _cancel(self, signal: Signal) -> None:
        self._cancelled.append(signal.subject)  # it may be for a run that this process is about to drive
        self.stop_run(signal.subject, "cancelled")

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):  # told by what is returned
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()


def _is_cancellation(signal: Signal) -> bool:
    return signal.topic == "run.cancel"
