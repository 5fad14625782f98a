"""A pool of reused SMTP connections, opened when they are needed, closed when they idle.

It tells three things apart, and that is its whole point: a definite answer, a failure before the final dot (nothing was sent),
and a failure after it (nobody knows). After the server could not be reached it says so at once for a second, so that a long
campaign does not wait out a timeout per recipient.

It refuses to be: a retry of anything that may have been sent. One fresh connection is tried where a reused one turned out to be
closed before it said a word about the letter.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from app.connectors.message import Letter
from app.connectors.smtp_connection import Broken, SessionRefused, SmtpConnection, SmtpReply, open_connection
from app.connectors.smtp_server_url import SmtpServer

IDLE_S = 30.0
CONNECT_S = 15.0
DOWN_S = 1.0
GOODBYE_S = 1.0
_CLOSING = 421


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one letter: the server's `reply`; or, where it gave none, `code` and `message`, and whether it is `certain`
    that nothing was sent."""

    reply: SmtpReply | None = None
    certain: bool = True
    code: str = ""
    message: str = ""


@dataclass(slots=True)
class _Attempt:
    connection: SmtpConnection | None = None


class SmtpPool:
    """At most `size` connections to one server. Used from one event loop."""

    def __init__(self, server: SmtpServer, size: int, *, context: ssl.SSLContext | None = None, idle_s: float = IDLE_S) -> None:
        self._server = server
        self._context = context or (ssl.create_default_context() if server.tls != "none" else None)
        self._slots = asyncio.Semaphore(size)
        self._idle_s = idle_s
        self._idle: list[tuple[float, SmtpConnection]] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._down_until = 0.0
        self._down: Delivery | None = None
        self.opened = 0

    async def deliver(self, letter: Letter, deadline: float) -> Delivery:
        """Send one letter before `deadline` (event loop time). Never raises for what the server or the network does."""
        attempt = _Attempt()
        try:
            await self._slot(deadline)
            try:
                return await self._deliver(letter, attempt, deadline)
            finally:
                self._slots.release()
        except TimeoutError:
            return _cut_off(attempt.connection, "smtp_timeout", "the server did not answer in time")

    async def close(self) -> None:
        """Say goodbye on every idle connection, and wait until they are closed, a second at most."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        connections = [connection for _, connection in self._idle]
        self._idle.clear()
        for connection in connections:
            connection.quit()
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await asyncio.gather(*(connection.gone.wait() for connection in connections))
        for connection in connections:
            connection.abort()

    async def _slot(self, deadline: float) -> None:
        if self._slots.locked():
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        else:
            await self._slots.acquire()

    async def _deliver(self, letter: Letter, attempt: _Attempt, deadline: float) -> Delivery:
        while True:
            connection = self._reuse()
            if connection is None:
                async with asyncio.timeout_at(deadline):
                    opened = await self._open()
                if isinstance(opened, Delivery):
                    return opened
                connection = opened
            attempt.connection = connection
            delivery = await self._hand_over(connection, letter, deadline)
            if delivery is not None:
                return delivery

    async def _hand_over(self, connection: SmtpConnection, letter: Letter, deadline: float) -> Delivery | None:
        """None: the reused connection turned out to be closed; nothing was sent, another may be tried."""
        fresh = connection.used == 0
        clean = False
        try:
            if letter.needs_utf8 and not connection.offers_utf8:
                clean = True
                return Delivery(SmtpReply(553, ("5.6.7 the server takes no addresses beyond ASCII",)))
            reply = await connection.send(letter, deadline)
            clean = reply.code != _CLOSING
            if reply.code == _CLOSING and not fresh and not connection.dot_written:
                return None
            return Delivery(reply)
        except Broken as broken:
            if not fresh and not connection.heard:
                return None
            return _cut_off(connection, "smtp_disconnected", str(broken))
        finally:
            if clean and not connection.lost:
                self._put_back(connection)
            else:
                connection.abort()

    async def _open(self) -> SmtpConnection | Delivery:
        loop = asyncio.get_running_loop()
        if self._down is not None and loop.time() < self._down_until:
            return self._down
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await open_connection(self._server, self._context)
        except SessionRefused as refused:
            failure = Delivery(code="smtp_session_refused", message=f"the server refuses this sender: {refused}")
        except Broken as broken:
            failure = Delivery(code="smtp_unreachable", message=f"the server could not be used: {broken}")
        except OSError as error:  # no route, no listener, no such host, no valid certificate, a timeout
            failure = Delivery(code="smtp_unreachable", message=f"the server could not be reached: {type(error).__name__}")
        else:
            self.opened += 1
            self._down = None
            return connection
        self._down, self._down_until = failure, loop.time() + DOWN_S
        return failure

    def _reuse(self) -> SmtpConnection | None:
        while self._idle:
            _, connection = self._idle.pop()
            if not connection.lost:
                return connection
        return None

    def _put_back(self, connection: SmtpConnection) -> None:
        loop = asyncio.get_running_loop()
        self._idle.append((loop.time(), connection))
        if self._sweep is None:
            self._sweep = loop.call_later(self._idle_s, self._close_idle, loop)

    def _close_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        before = loop.time() - self._idle_s
        old = [connection for since, connection in self._idle if since <= before]
        self._idle = [(since, connection) for since, connection in self._idle if since > before]
        for connection in old:
            connection.quit()
        self._sweep = loop.call_at(self._idle[0][0] + self._idle_s, self._close_idle, loop) if self._idle else None


def _cut_off(connection: SmtpConnection | None, code: Literal["smtp_timeout", "smtp_disconnected"], message: str) -> Delivery:
    sent = connection is not None and connection.dot_written
    return Delivery(certain=not sent, code=code, message=message)
