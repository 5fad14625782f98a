"""The host's end of a fork server: one sandbox, in it a template per tool, from which each run gets a child of its own.

It refuses to be: a judge of what a child says. It makes children, kills them and learns how they ended; sessions do the talking.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from app.core.errors import Unavailable
from app.sandbox import cgroups
from app.sandbox.interpreter import FLAGS
from app.sandbox.launcher import Plan
from app.sandbox.oneshot import PATIENCE
from app.sandbox.slots import Slot
from app.sandbox.spawn import in_memory, spawn

_PACKET = 1 << 16
_START_S = 20.0
_PREPARE_S = 20.0
_KILL_S = 5.0
_ANEW = "Ask again: a new sandbox is started. If it stays so, run `toolmint doctor`."


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended. `status` is negative for a signal, None where the whole sandbox went away."""

    status: int | None
    max_rss_kb: int = 0
    cpu_ms: int = 0


@dataclass(slots=True)
class Child:
    """One forked child: our end of its channel, and its end."""

    ident: int
    channel: socket.socket
    ended: asyncio.Future[Exit] = field(repr=False)


class ForkServer:
    """One sandbox, running, or a tool's template in it; `stop` ends it with all its children.

    `start` makes the first and takes over its slot, `template` the second; only a template has children that run a tool.
    """

    def __init__(
        self, control: socket.socket, ended: asyncio.Future[Any], kill: Callable[[], object], patience: int, pid: int | None = None
    ) -> None:
        self.patience = patience
        """How many times its wall time all in it may take: more where it gets the processor only when nothing else wants it."""
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._kill = kill
        self._pid = pid
        self._idents = count(1)
        self._children: dict[int, Child] = {}
        self._sending = asyncio.Lock()
        self._kills: set[asyncio.Task[Exit]] = set()
        self.ended = ended
        self.group = cgroups.Group(())
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(control.fileno(), self._hear)
        self.ended.add_done_callback(lambda _: self._forget())

    def host_uid(self) -> int | None:
        """The uid that the host's kernel counts the sandbox under; None once it has gone."""
        try:
            status = Path(f"/proc/{self._pid}/status").read_text()
        except OSError:
            return None
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Uid:"))

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    @property
    def busy(self) -> bool:
        """Whether it has children."""
        return bool(self._children)

    @classmethod
    async def start(cls, plan: Plan, executable: str, slot: Slot) -> ForkServer:
        """Boot the sandbox of `plan` (150-300 ms). Raises Unavailable `sandbox_start_failed` with what bubblewrap said."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        group = cgroups.create_background() if plan.background else cgroups.Group(())
        complaints = os.memfd_create("sandbox-stderr", os.MFD_CLOEXEC)
        command = [executable, *FLAGS, "-m", "toolkit.guest", str(theirs.fileno())]
        try:
            process = await spawn(plan, command, cgroups=group.folders, inherit=[theirs.fileno()], stderr=complaints)
            theirs.close()
            server = cls(ours, process.ended, process.kill, PATIENCE if plan.background else 1, process.popen.pid)
            server.ended.add_done_callback(lambda _: slot.release())
            server.group = group
            with suppress(OSError):  # it has ended already; what it complained of is told below
                await server._send({"filter": plan.strict_filter.hex(), "rlimits": dict(plan.child_rlimits)})
            if not await server._began(_START_S):
                said = os.pread(complaints, 2000, 0).decode(errors="replace").strip()
                why = f"the sandbox did not start: {said or 'it said nothing'}"
                raise Unavailable("sandbox_start_failed", why, fix="Run `toolmint doctor`: it names what is missing.", retryable=False)
            return server
        finally:
            theirs.close()
            os.close(complaints)

    async def template(self, files: Mapping[str, str], rlimits: dict[str, int]) -> ForkServer:
        """A fork server inside this one that holds these files compiled, under `rlimits` itself. Raises Unavailable `sandbox_gone`."""
        source = in_memory(json.dumps(dict(files)).encode())
        try:
            child = await self._fork("template", socket.SOCK_SEQPACKET, rlimits, source)
        finally:
            os.close(source)
        template = ForkServer(child.channel, child.ended, lambda: self._kill_soon(child), self.patience)
        if not await template._began(_PREPARE_S):
            raise Unavailable("sandbox_gone", "the tool could not be made ready to run", fix=_ANEW, retryable=False)
        return template

    async def spawn(self, rlimits: dict[str, int]) -> Child:
        """A new confined child that loads the template's tool and waits for `start` (1-3 ms). Raises Unavailable `sandbox_gone`."""
        return await self._fork("spawn", socket.SOCK_STREAM, rlimits)

    async def _fork(self, what: str, kind: socket.SocketKind, rlimits: dict[str, int], *descriptors: int) -> Child:
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        ours.setblocking(False)
        child = Child(next(self._idents), ours, self._loop.create_future())
        self._children[child.ident] = child
        try:
            await self._send({what: child.ident, "rlimits": rlimits}, *descriptors, theirs.fileno())
        except OSError as error:
            ours.close()
            self._children.pop(child.ident, None)
            raise Unavailable("sandbox_gone", "the fork server has gone away", fix=_ANEW) from error
        finally:
            theirs.close()
        return child

    async def kill(self, child: Child) -> Exit:
        """SIGKILL to one child and its end; where even that is not reported in time, to the whole sandbox."""
        if not child.ended.done():
            try:
                await self._send({"kill": child.ident})
                async with asyncio.timeout(_KILL_S * self.patience):
                    return await asyncio.shield(child.ended)
            except (TimeoutError, OSError):
                self._kill()
        return await asyncio.shield(child.ended)

    def _kill_soon(self, child: Child) -> None:
        task = asyncio.create_task(self.kill(child))
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)

    async def stop(self) -> None:
        """End it and every child in it; idempotent."""
        if self.alive:
            self._kill()
        await asyncio.shield(self.ended)
        await self.group.remove()

    async def _began(self, within_s: float) -> bool:
        """Whether it got ready in time; it is over where it did not."""
        waiting: set[asyncio.Future[Any]] = {self._ready, self.ended}
        await asyncio.wait(waiting, timeout=within_s * self.patience, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done():
            await self.stop()
        return self._ready.done()

    async def _send(self, order: Mapping[str, object], *descriptors: int) -> None:
        packet = json.dumps(order).encode()
        async with self._sending:
            while True:
                try:
                    socket.send_fds(self._control, [packet], descriptors)
                    return
                except BlockingIOError:
                    await self._writable()

    async def _writable(self) -> None:
        room: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(self._control.fileno(), _settle, room)
        try:
            await room
        finally:
            self._loop.remove_writer(self._control.fileno())

    def _hear(self) -> None:
        while True:
            try:
                packet = self._control.recv(_PACKET)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._loop.remove_reader(self._control.fileno())
                if self.alive:
                    self._kill()
                return
            report = json.loads(packet)
            if "ready" in report:
                self._ready.set_result(None)
            else:
                self._finish(report["exit"], Exit(report["status"], report["rss_kb"], report["cpu_ms"]))

    def _finish(self, ident: int, how: Exit) -> None:
        child = self._children.pop(ident, None)
        if child is not None and not child.ended.done():
            child.ended.set_result(how)

    def _forget(self) -> None:
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
        for ident in list(self._children):
            self._finish(ident, Exit(None))


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
