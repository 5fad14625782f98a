"""One TCP connection, plain or with TLS, that looks at the time directly before each piece of a request is handed to the system.

A process may be stopped at any moment, and woken when others have taken its work over. Nothing is left in a buffer that empties itself
later: what the system has no room for is handed over piece by piece, and there is no await between the look and the system call. Those
few instructions are all that a stop can still fall between.

It refuses to be: a transport of asyncio. It knows no protocols, reads nothing that nobody asked for, and does no TLS within TLS.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import httpcore2

T = TypeVar("T")
PIECE = 64 * 1024


class TooLate(Exception):
    """Its time was over before it had left, or before it had left as a whole."""


@dataclass(slots=True)
class Leaving:
    """What must have left before `by` (event loop time). It is written while `under_way`; `begun`: the system has had a byte of it."""

    by: float
    under_way: bool = False
    begun: bool = False


_leaving: ContextVar[Leaving | None] = ContextVar("_leaving", default=None)


@contextmanager
def watching(leaving: Leaving) -> Iterator[None]:
    """Hold what this task writes meanwhile to its time: a write then raises TooLate."""
    token = _leaving.set(leaving)
    try:
        yield
    finally:
        _leaving.reset(token)


async def connect(
    address: str,
    port: int,
    timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
    local_address: str | None = None,
    socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
) -> SocketStream:
    """A connection to this very address, which is no name. Raises httpcore2.ConnectError or ConnectTimeout and leaves nothing open then."""
    async with _named(timeout, httpcore2.ConnectTimeout, httpcore2.ConnectError):
        family, kind, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
        stream = SocketStream(socket.socket(family, kind))
        try:
            await stream.open(where, local_address, socket_options or ())
        except BaseException:
            await stream.aclose()
            raise
        return stream


class SocketStream(httpcore2.AsyncNetworkStream):
    """A TCP connection. One task may read while another writes, and a third may close it: the others are told at once."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._waiting: set[asyncio.Future[None]] = set()

    # What httpcore calls.

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # httpcore's interface
        """What has come, b"" at the end. Raises httpcore2.ReadError or ReadTimeout."""
        async with _named(timeout, httpcore2.ReadTimeout, httpcore2.ReadError):
            return await self.receive(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # httpcore's interface
        """Hand over all of it. Raises httpcore2.WriteError or WriteTimeout, and TooLate."""
        async with _named(timeout, httpcore2.WriteTimeout, httpcore2.WriteError):
            await self.hand_over(buffer)

    async def aclose(self) -> None:
        """Close it at once, whoever waits for it; once more does nothing."""
        if self._socket.fileno() < 0:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.remove_writer(self._socket)
        self._socket.close()
        for waiter in self._waiting:
            _settle(waiter)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
    ) -> httpcore2.AsyncNetworkStream:
        """The same connection with TLS. Raises httpcore2.ConnectError or ConnectTimeout, and closes it then."""
        try:
            async with _named(timeout, httpcore2.ConnectTimeout, httpcore2.ConnectError):
                secured = TlsStream(self, ssl_context, server_hostname)
                await secured.shake_hands()
        except BaseException:
            await self.aclose()
            raise
        return secured

    def get_extra_info(self, info: str) -> Any:
        """`is_readable`: something has come that nobody has read, the end included. `client_addr`, `server_addr`, `socket`."""
        if info == "is_readable":
            return self._is_readable()
        if info == "client_addr":
            return self._socket.getsockname()
        if info == "server_addr":
            return self._socket.getpeername()
        return self._socket if info == "socket" else None

    # What TLS and `connect` are made of. They raise OSError.

    async def open(self, where: Any, local_address: str | None, options: Iterable[httpcore2.SOCKET_OPTION]) -> None:
        """Connect to a socket's address."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in options:
            self._socket.setsockopt(*option)
        if local_address is not None:
            self._socket.bind((local_address, 0))
        try:
            self._socket.connect(where)
        except BlockingIOError:
            await self._until_writable()
        failure = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, os.strerror(failure))

    async def receive(self, most: int) -> bytes:
        """What has come, b"" at the end. It always lets others run, however fast the server is."""
        while True:
            await self._until_readable()
            try:
                return self._socket.recv(most)
            except BlockingIOError:
                continue  # somebody else's bytes, or a checksum that was wrong

    async def hand_over(self, buffer: bytes) -> None:
        """All of it to the system; raises TooLate where that takes too long."""
        rest = memoryview(buffer)
        while rest:
            try:
                rest = rest[self._hand(rest) :]
            except BlockingIOError:
                await self._until_writable()

    def _hand(self, piece: memoryview) -> int:
        leaving = _leaving.get()
        if leaving is None or not leaving.under_way:
            return self._socket.send(piece)
        if time.monotonic() >= leaving.by:  # the loop's own clock, of which uvloop tells whole milliseconds
            raise TooLate
        taken = self._socket.send(piece)
        leaving.begun = True
        return taken

    async def _until_readable(self) -> None:
        loop = asyncio.get_running_loop()
        await self._until(loop.add_reader, loop.remove_reader)

    async def _until_writable(self) -> None:
        loop = asyncio.get_running_loop()
        await self._until(loop.add_writer, loop.remove_writer)

    async def _until(self, watch: Callable[..., object], unwatch: Callable[[socket.socket], object]) -> None:
        if self._socket.fileno() < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        ready = asyncio.get_running_loop().create_future()
        self._waiting.add(ready)
        watch(self._socket, _settle, ready)
        try:
            await ready
        finally:
            self._waiting.discard(ready)
            if self._socket.fileno() >= 0:
                unwatch(self._socket)

    def _is_readable(self) -> bool:
        if self._socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))


class TlsStream(httpcore2.AsyncNetworkStream):
    """TLS over a connection. What it encrypts goes to the system at once; it ends without a goodbye, as HTTP clients do."""

    def __init__(self, below: SocketStream, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._below = below
        self._come, self._gone = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._come, self._gone, server_hostname=server_hostname)

    async def shake_hands(self) -> None:
        """Before anything else. Raises OSError, of which ssl.SSLError is one."""
        await self._step(self._tls.do_handshake)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # httpcore's interface
        """What has come, b"" at the end, with or without a goodbye. Raises httpcore2.ReadError or ReadTimeout."""
        async with _named(timeout, httpcore2.ReadTimeout, httpcore2.ReadError):
            try:
                return await self._step(partial(self._tls.read, max_bytes))
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # httpcore's interface
        """Encrypt it piece by piece and hand it over. Raises httpcore2.WriteError or WriteTimeout, and TooLate."""
        rest = memoryview(buffer)
        async with _named(timeout, httpcore2.WriteTimeout, httpcore2.WriteError):
            while rest:
                rest = rest[await self._step(partial(self._tls.write, rest[:PIECE])) :]

    async def aclose(self) -> None:
        """Close the connection at once."""
        await self._below.aclose()

    def get_extra_info(self, info: str) -> Any:
        """As the connection below has it, and `ssl_object`."""
        if info == "is_readable" and self._come.pending:
            return True
        return self._tls if info == "ssl_object" else self._below.get_extra_info(info)

    async def _step(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._below.hand_over(self._gone.read())
                come = await self._below.receive(PIECE)
                if come:
                    self._come.write(come)
                else:
                    self._come.write_eof()
            else:
                await self._below.hand_over(self._gone.read())
                return result


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


@asynccontextmanager
async def _named(
    timeout: float | None,  # noqa: ASYNC109  # httpcore's interface
    slow: type[httpcore2.TimeoutException],
    failed: type[httpcore2.NetworkError],
) -> AsyncIterator[None]:
    """Failures by httpcore's names. The system's own ETIMEDOUT is a TimeoutError too, and a failed connection."""
    try:
        async with asyncio.timeout(timeout):
            try:
                yield
            except OSError as error:
                raise failed(error) from error
    except TimeoutError as error:
        raise slow(error) from error
