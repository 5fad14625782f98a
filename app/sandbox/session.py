"""One run of one tool in one sandboxed child, seen from the host: messages in, answers out, every limit kept.

It refuses to be: a runtime. It hands on what the guest asks for, well formed and within bounds, and performs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from app.core.errors import ToolmintError
from app.sandbox import messages
from app.sandbox.failures import GuestBrokeProtocol, GuestDied, GuestOutputTooLarge, GuestTimedOut
from app.sandbox.forkserver import Child, Exit, ForkServer
from app.sandbox.limits import GuestLimits
from app.sandbox.link import Link
from generated_tools.toolkit.wire import FrameError, Message, decode, encode

_FAREWELL_S = 0.1
_YIELD_EVERY = 200
_CPU_SPENT = 0.7  # of the limit, which the kernel counts in whole ticks: under load it ends a process that has used less


Seat = tuple[int, int]
"""Which request: its step and chunk."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run used. `exit` is negative for a signal, None where its sandbox went away; times in ms, memory in KiB, sizes in bytes."""

    cpu_ms: int
    max_rss_kb: int
    bytes_in: int
    bytes_out: int
    exit: int | None
    wall_ms: int
    dropped: int
    """Log lines and progress that went over their limits."""


class GuestSession:
    """A child that waits for `start`. Then `receive` until a closing message (result, tool_error, crash, cancelled), then `close`.

    Each read and perform that was received is answered once, by `answer`, `refuse` or `cancel`. One task at a time receives; any may
    answer or cancel.
    """

    def __init__(self, server: ForkServer, child: Child, link: Link, limits: GuestLimits) -> None:
        self.limits = limits
        self._server = server
        self._child = child
        self.link = link
        self._timer: asyncio.TimerHandle | None = None
        self._started = time.monotonic()
        self._last_progress = 0.0
        self._logs = self._dropped = self._noise = 0
        self._finished = False
        self._after_close: Callable[[], Awaitable[None]] | None = None

    @classmethod
    async def open(cls, template: ForkServer, limits: GuestLimits) -> GuestSession:
        """A new child of a tool's template. Raises Unavailable `sandbox_gone`."""
        child = await template.spawn(limits.rlimits())
        loop = asyncio.get_running_loop()
        link = Link(limits.frame_bytes, limits.total_bytes)
        try:
            await loop.create_unix_connection(lambda: link, sock=child.channel)
        except BaseException:  # cancelled: the child reads end of file and leaves
            child.channel.close()
            raise
        return cls(template, child, link, limits)

    @property
    def alive(self) -> bool:
        """Whether the child still waits or runs."""
        return not self._child.ended.done() and not self.link.closed

    async def start(self, args: Any, *, now: int, seed: str) -> None:
        """Begin the run; `now` in milliseconds since the epoch, of which the guest is told whole seconds, here and in each answer."""
        self._started = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(self.limits.wall_s * self._server.patience, self._time_out)
        self.link.send(encode({"t": "start", "args": args, "now": _told(now), "seed": seed}))

    async def receive(self) -> Message:
        """The guest's next message, well formed. Logs and progress over their limits are dropped.

        Raises GuestDied, GuestTimedOut, GuestBrokeProtocol or GuestOutputTooLarge; the child is gone by then.
        """
        while True:
            try:
                payload = await self.link.next()
            except ToolmintError:
                await self._server.kill(self._child)
                raise
            if payload is None:
                await self._mourn()
            else:
                message = await self._read(payload)
                if message is not None:
                    return message

    async def answer(self, value: Any, now: int, of: Seat | None = None) -> None:
        """Answer the open request `of` this step and chunk, else the oldest. Raises TypeError or ValueError where the value is no JSON."""
        self.link.send(encode({"t": "answer", "now": _told(now), **_addressed(of), "value": value}))

    async def refuse(self, code: str, message: str, now: int, of: Seat | None = None) -> None:
        """Refuse an open request, as `answer` does: the tool's call raises ToolError."""
        self.link.send(encode({"t": "refuse", "now": _told(now), **_addressed(of), "code": code, "message": message}))

    async def cancel(self) -> None:
        """Have the tool's present or next call raise Cancelled. A tool that makes none is ended by `close` or its time limit."""
        self.link.send(encode({"t": "cancel"}))

    async def close(self) -> Usage:
        """Kill the child unless it has ended by itself, and say what it used; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._finished:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await asyncio.shield(self._child.ended)
        how = await self._server.kill(self._child)
        self.link.close()
        if self._after_close is not None:
            after, self._after_close = self._after_close, None
            await after()
        return self._usage(how)

    def leave(self) -> asyncio.Task[Usage]:
        """`close` without the wait: what the guest used is known once its process is gone, which no answer needs to wait for.

        Hold the task until it is done. `Sandbox.stop` ends what it waits for.
        """
        return asyncio.create_task(self.close(), name="guest leaves")

    def on_close(self, after: Callable[[], Awaitable[None]]) -> None:
        """Have `after` awaited once the child is gone; a fresh sandbox stops itself this way."""
        self._after_close = after

    def _usage(self, how: Exit) -> Usage:
        return Usage(
            cpu_ms=how.cpu_ms,
            max_rss_kb=how.max_rss_kb,
            bytes_in=self.link.bytes_in,
            bytes_out=self.link.bytes_out,
            exit=how.status,
            wall_ms=round((time.monotonic() - self._started) * 1000),
            dropped=self._dropped,
        )

    async def _read(self, payload: bytes) -> Message | None:
        try:
            message = decode(payload)
        except FrameError as error:
            raise await self._end(GuestBrokeProtocol(str(error))) from error
        wrong = messages.fault(message)
        if wrong is not None:
            raise await self._end(GuestBrokeProtocol(wrong))
        if message["t"] in messages.NOISE and not await self._admit(message, len(payload)):
            return None
        self._finished = self._finished or message["t"] in messages.CLOSING
        return message

    async def _admit(self, message: Message, size: int) -> bool:
        """Whether a log line or progress is handed on; a flood of them ends the run."""
        self._noise += size
        if self._noise > self.limits.noise_bytes:
            raise await self._end(GuestOutputTooLarge(f"the tool logged more than {self.limits.noise_bytes} bytes"))
        if message["t"] == "log":
            self._logs += 1
            admitted = self._logs <= self.limits.logs and size <= self.limits.log_bytes
        else:
            now = time.monotonic()
            admitted = now - self._last_progress >= self.limits.progress_interval_s or message["done"] == message["total"]
            self._last_progress = now if admitted else self._last_progress
        if not admitted:
            self._dropped += 1
            if self._dropped % _YIELD_EVERY == 0:
                await asyncio.sleep(0)  # a flood must not keep other tasks from running
        return admitted

    async def _end(self, failure: ToolmintError) -> ToolmintError:
        self.link.fail(failure)
        await self._server.kill(self._child)
        return failure

    async def _mourn(self) -> None:
        how = await self._server.kill(self._child)
        spent = how.status == -signal.SIGKILL and how.cpu_ms >= self.limits.cpu_s * 1000 * _CPU_SPENT
        failure = GuestDied(how.status, cpu_exceeded=spent)
        self.link.fail(failure)
        raise failure

    def _time_out(self) -> None:
        self.link.fail(GuestTimedOut(self.limits.wall_s))


def seat_of(request: Message) -> Seat:
    """Which request this is."""
    return request["step"], request.get("chunk", 0)


def _told(now: int) -> int:
    """The time as a guest is told it: to the second, which is what a tool needs, and no mark of the clock that it came from."""
    return now - now % 1000


def _addressed(of: Seat | None) -> dict[str, int]:
    return {} if of is None else {"step": of[0], "chunk": of[1]}
