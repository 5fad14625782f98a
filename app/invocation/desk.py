"""Where calls are taken in one process: how many are under way, for whom, and the runs that are driven here.

A run is begun and driven by a task of its own, so that a caller that goes away takes nothing with it. When the caller's time is over
the run is asked to leave, and a worker goes on with it from its journal.

It refuses to be: a queue of runs. What finds no place here within its caller's patience is begun for a worker.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Conflict, Limited, NotFound
from app.registry.catalog import Catalog
from app.runtime.decisions import cancel_run
from app.runtime.ending import Ending
from app.runtime.process import Call, Runtime
from app.runtime.program import Program
from app.runtime.values import RunView


@dataclass(eq=False, slots=True)
class Started:
    """A call that was handed to the runtime: how it began, and its end if it is driven here."""

    how: str
    run_id: str
    run: RunView | None = None
    ending: Ending | None = None


@dataclass(eq=False)
class Calls:
    """One per process. `places`: runs driven here at once; `per_actor`, `per_tool`: calls that may wait here at once."""

    runtime: Runtime
    catalog: Catalog
    places: int = 4
    per_actor: int = 64
    per_tool: int = 128
    _here: int = 0
    _queue: deque[asyncio.Future[None]] = field(default_factory=deque)
    _busy: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def database(self) -> Database:
        return self.runtime.database

    @contextmanager
    def counted(self, actor: Actor, tool: str) -> Iterator[None]:
        """One call among those that wait here. Raises Limited `too_many_calls`."""
        mine, its = (actor.tenant, "actor", actor.id), (actor.tenant, "tool", tool)
        if self._busy[mine] >= self.per_actor or self._busy[its] >= self.per_tool:
            whose = "your key" if self._busy[mine] >= self.per_actor else f"the tool {tool}"
            detail = f"Too many calls of {whose} are under way here."
            raise Limited("too_many_calls", detail, fix="Wait for some to end, then send the same call again.", data={"retry_after_s": 2})
        for counter in (mine, its):
            self._busy[counter] += 1
        try:
            yield
        finally:
            for counter in (mine, its):
                self._busy[counter] -= 1
                if not self._busy[counter]:
                    del self._busy[counter]

    async def place(self, patience_s: float) -> bool:
        """Take a place for one run to be driven here, in turn; False if none comes free in time. `begin` gives it back."""
        if self._here < self.places and not self._queue:
            self._here += 1
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(patience_s):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.done() and not turn.cancelled():
                self._free()
            if isinstance(error, TimeoutError):
                return False
            raise
        finally:
            turn.cancel()
        return True

    def _free(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._here -= 1

    async def begin(self, actor: Actor, program: Program, call: Call) -> tuple[Started, asyncio.Task[None] | None]:
        """Begin the run; with `call.here` (in a `place`) the second value ends when the run has ended, or left, here.

        It outlives the caller: a cancelled wait neither undoes the beginning nor stops the run.
        """
        begun: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._drive(actor, program, call, begun))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        started = await asyncio.shield(begun)
        return started, task if started.run is not None else None

    async def _drive(self, actor: Actor, program: Program, call: Call, begun: asyncio.Future[Started]) -> None:
        try:
            try:
                found, execution = await self.runtime.begin(actor, program, call)
            except BaseException as error:
                begun.set_exception(error)
                begun.exception()  # it is known: the caller may be gone and never look
                if not isinstance(error, Exception):
                    raise
                return
            started = Started(found.how, found.run_id, execution.run if execution is not None else None)
            begun.set_result(started)
            if execution is not None:
                started.ending = await self.runtime.drive(execution)
        finally:
            if call.here:
                self._free()

    def leave(self, run_id: str) -> None:
        """Ask a run that is driven here to go on in a worker, at its next effect boundary."""
        self.runtime.stop_run(run_id, "leave")

    def abandoned(self, actor: Actor, run_id: str, *, cancel: bool, patience_s: float) -> None:
        """The caller has gone away: cancel its run, or let it go on, here for the rest of its time and then in a worker."""
        if cancel:
            self._background(lambda: _cancel(actor, self.database, run_id))
            self.runtime.stop_run(run_id, "cancelled")
        else:
            asyncio.get_running_loop().call_later(max(0.0, patience_s), self.leave, run_id)

    def _background(self, work: Callable[[], None]) -> None:
        async def done() -> None:
            await asyncio.to_thread(work)
            self.runtime.feed.nudge()

        task = asyncio.create_task(done())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _cancel(actor: Actor, database: Database, run_id: str) -> None:
    try:
        cancel_run(actor, database, run_id)
    except (Conflict, NotFound):  # it has ended meanwhile: there is nothing left to cancel
        return
