"""The sandbox as the service holds it: proven at start, then sessions for runs and fresh sandboxes for verification.

It refuses to be: usable unproven. Where `start` could not show isolation, every session and every run is refused, and nothing takes its
place.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from weakref import WeakSet

from app.core.errors import Unavailable
from app.sandbox import cgroups, installation, launcher, oneshot, proof, slots
from app.sandbox.forkserver import ForkServer
from app.sandbox.installation import Installation
from app.sandbox.limits import GUEST, PROCESS, GuestLimits, ProcessLimits
from app.sandbox.link import Link
from app.sandbox.oneshot import Completed
from app.sandbox.proof import Proof
from app.sandbox.session import GuestSession

_Key = tuple[str, GuestLimits]
_TEMPLATES = 32
_log = logging.getLogger(__name__)


class Sandbox:
    """One per process. `start` before anything else, `stop` at the end; both from the event loop that uses it."""

    def __init__(self, home: Path, *, idle_per_tool: int = 2, idle_total: int = 16, background: bool = False) -> None:
        """`home` is TOOLMINT_HOME; `idle_*` bound the children that wait with a tool already loaded (5-10 MB each).

        In the `background`, all that it runs stands back where something else wants the processor.
        """
        self.background = background
        self.proof: Proof | None = None
        self._home = home
        self._idle_per_tool = idle_per_tool
        self._idle_total = idle_total
        self._idle: OrderedDict[_Key, deque[GuestSession]] = OrderedDict()
        self._replenishing: set[_Key] = set()
        self._templates: OrderedDict[_Key, asyncio.Task[ForkServer]] = OrderedDict()
        self._links: WeakSet[Link] = WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._installation: Installation | None = None
        self._server: ForkServer | None = None
        self._starting = asyncio.Lock()
        self._stopped = False

    async def start(self) -> Proof:
        """Find the parts and prove them. It does not raise where isolation fails: the proof says what and how to mend it."""
        try:
            found = await asyncio.to_thread(installation.discover, self._home)
            await asyncio.to_thread(found.checkers)
            await cgroups.clear()
        except Unavailable as error:
            self.proof = proof.failed(error)
            return self.proof
        self._installation = found
        self.proof = await proof.prove(found)
        return self.proof

    async def session(
        self, digest: str, files: Mapping[str, str], limits: GuestLimits = GUEST, *, fresh: bool = False, warm: bool = True
    ) -> GuestSession:
        """A session with the tool's files loaded, ready for `start`.

        `digest` names the files' content; a child that loaded them ahead is taken where there is one, and with `warm` more are made
        ready in the background, after this run where one is left. `fresh` makes a sandbox for this run alone, which the tool cannot tell
        from the shared one.
        Raises Unavailable `sandbox_unproven`, `sandbox_start_failed` or `sandbox_gone`.
        """
        found = self._proven()
        if fresh:
            return await self._fresh(found, files, limits)
        key = (digest, limits)
        session = self._take(key) or await self._opened(await self._template(found, key, files), limits)
        if warm:
            make_ready = partial(self._make_ready, found, key, files)
            if self._idle.get(key):
                session.on_close(make_ready)  # not now, when it would compete with this very run
            else:
                await make_ready()
        return session

    async def run_once(
        self, argv: Sequence[str], files: Mapping[str, str], limits: ProcessLimits = PROCESS, *, stdin: bytes = b""
    ) -> Completed:
        """One program in a fresh sandbox, see `oneshot.run`. Raises Unavailable `sandbox_unproven`."""
        found = self._proven()
        with slots.claim() as slot:
            plan = replace(launcher.verification_plan(found, slot.uid, limits), background=self.background)
            return await oneshot.run(plan, found.interpreter, argv, files, limits, stdin)

    def apart(self, *, background: bool | None = None) -> Sandbox:
        """Another on the same proof and parts, with a fork server of its own and no child ahead of its run.

        For code that is not published: it shares no sandbox with what is. Stop it after use. `background` is this one's unless given.
        """
        other = Sandbox(self._home, idle_per_tool=0, idle_total=0, background=self.background if background is None else background)
        other.proof, other._installation = self.proof, self._installation
        return other

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[Callable[[int], None]]:
        """What has a process of ours stand back, by its pid, as this sandbox itself does: a checker that runs nothing of a candidate."""
        if not self.background:
            yield lambda _: None
            return
        group = cgroups.create_background()

        def place(pid: int) -> None:
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
            group.take(pid)

        try:
            yield place
        finally:
            await group.remove()

    async def stop(self) -> None:
        """End every child and the fork server; idempotent."""
        self._stopped = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in list(self._links):
            link.close()
        self._idle.clear()
        if self._server is not None:
            await self._server.stop()
            self._server = None

    def _proven(self) -> Installation:
        if self._installation is None or self.proof is None or not self.proof.ok:
            failed = self.proof.failures() if self.proof is not None else ()
            raise Unavailable(
                "sandbox_unproven",
                "generated code does not run here: its isolation could not be proven"
                + "".join(f"; {each.name}: {each.detail}" for each in failed),
                fix=next((each.fix for each in failed if each.fix), "run `toolmint doctor`"),
                retryable=False,
            )
        return self._installation

    async def _running(self, found: Installation) -> ForkServer:
        """The fork server, started again if it has gone."""
        async with self._starting:
            if self._server is None or not self._server.alive:
                self._idle.clear()
                self._server = await _boot(found, self.background)
            return self._server

    async def _fresh(self, found: Installation, files: Mapping[str, str], limits: GuestLimits) -> GuestSession:
        server = await _boot(found, self.background)
        try:
            session = await self._opened(await server.template(files, limits.of_template()), limits)
        except BaseException:
            await server.stop()
            raise
        session.on_close(server.stop)
        return session

    async def _opened(self, template: ForkServer, limits: GuestLimits) -> GuestSession:
        session = await GuestSession.open(template, limits)
        self._links.add(session.link)
        return session

    async def _template(self, found: Installation, key: _Key, files: Mapping[str, str]) -> ForkServer:
        """The template of a tool: made once, and again if it has gone; those that were used least recently give way."""
        task = self._templates.get(key)
        if task is None or _over(task):
            task = self._templates[key] = asyncio.create_task(self._make_template(found, key, files))
            await self._thin_out()
        self._templates.move_to_end(key)
        return await asyncio.shield(task)

    async def _make_template(self, found: Installation, key: _Key, files: Mapping[str, str]) -> ForkServer:
        return await (await self._running(found)).template(files, key[1].of_template())

    async def _thin_out(self) -> None:
        for key, task in list(self._templates.items())[:-_TEMPLATES]:
            if _over(task):
                del self._templates[key]
            elif task.done() and not self._idle.get(key) and not task.result().busy:
                del self._templates[key]
                await task.result().stop()

    def _take(self, key: _Key) -> GuestSession | None:
        waiting = self._idle.get(key)
        while waiting:
            session = waiting.popleft()
            if session.alive:
                self._idle.move_to_end(key)
                return session
        return None

    async def _make_ready(self, found: Installation, key: _Key, files: Mapping[str, str]) -> None:
        """Have idle children of one tool made in the background."""
        if self._stopped or key in self._replenishing:
            return
        self._replenishing.add(key)
        task = asyncio.create_task(self._replenish(found, key, files))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _replenish(self, found: Installation, key: _Key, files: Mapping[str, str]) -> None:
        """Fill up the idle children of one tool, and let those go that waited longest where there are too many in all."""
        try:
            while len(self._idle.setdefault(key, deque())) < self._idle_per_tool:
                session = await self._opened(await self._template(found, key, files), key[1])
                self._idle.setdefault(key, deque()).append(session)
            while sum(map(len, self._idle.values())) > self._idle_total:
                _, surplus = self._idle.popitem(last=False)
                for session in surplus:
                    await session.close()
        finally:
            self._replenishing.discard(key)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("no idle child could be made: %s", error)


def _over(template: asyncio.Task[ForkServer]) -> bool:
    """Whether it was not made, or has gone."""
    return template.done() and (template.cancelled() or template.exception() is not None or not template.result().alive)


async def _boot(found: Installation, background: bool) -> ForkServer:
    slot = slots.claim()
    try:
        plan = replace(launcher.runtime_plan(found, slot.uid), background=background)
        return await ForkServer.start(plan, found.interpreter.executable, slot)
    except BaseException:
        slot.release()
        raise
