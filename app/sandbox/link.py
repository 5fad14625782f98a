"""The host's end of one guest's channel: bytes into frames, with caps, and frames out.

It reads on while an answer is being written, so that host and guest can never wait for each other's full buffers. It refuses to be: a
reader of what it carries.
"""

from __future__ import annotations

import asyncio
from typing import cast

from app.core.errors import ToolmintError
from app.sandbox.failures import GuestBrokeProtocol, GuestOutputTooLarge
from generated_tools.toolkit.wire import HEADER, MAX_FRAME


class Link(asyncio.Protocol):
    """Frames from a guest, in order, as raw payloads. Nothing is kept beyond two frames' worth of bytes."""

    def __init__(self, frame_bytes: int, total_bytes: int) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self.closed = False
        self._frame_bytes = frame_bytes
        self._total_bytes = total_bytes
        self._buffer = bytearray()
        self._failure: ToolmintError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.bytes_in += len(data)
        self._buffer += data
        if self.bytes_in > self._total_bytes:
            self.fail(GuestOutputTooLarge(f"the tool sent more than {self._total_bytes} bytes"))
        elif len(self._buffer) > 2 * self._frame_bytes and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self.closed = True
        self._wake()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._wake()

    def fail(self, failure: ToolmintError) -> None:
        """From now on `next` raises this, or the failure that came first."""
        self._failure = self._failure or failure
        self._wake()

    def send(self, frame: bytes) -> None:
        """Write a frame without waiting. Raises GuestBrokeProtocol where the guest does not read what it asked for."""
        if self._transport is None or self.closed or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > MAX_FRAME:
            self.fail(GuestBrokeProtocol("requests whose answers it does not read"))
        if self._failure is not None:
            raise self._failure
        self.bytes_out += len(frame)
        self._transport.write(frame)

    async def next(self) -> bytes | None:
        """The next frame's payload, None once the guest has closed its end. Raises what `fail` was given."""
        while True:
            if self._failure is not None:
                raise self._failure
            frame = self._cut()
            if frame is not None:
                return frame
            if self.closed:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def close(self) -> None:
        """Let go of the channel; the guest reads end of file."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def _cut(self) -> bytes | None:
        if len(self._buffer) < HEADER.size:
            return None
        (size,) = HEADER.unpack_from(self._buffer)
        if size > self._frame_bytes:
            failure = GuestOutputTooLarge(f"the tool sent a message of {size} bytes, over the limit of {self._frame_bytes}")
            self.fail(failure)
            raise failure
        end = HEADER.size + size
        if len(self._buffer) < end:
            return None
        frame = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        if self._paused and len(self._buffer) <= self._frame_bytes and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return frame

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
