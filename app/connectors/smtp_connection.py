"""One SMTP connection (RFC 5321), its phases driven apart, so that it is known how far a message had got when something broke.

The line is the final dot. `dot_written` is false until the moment before it is handed to the transport: what breaks earlier has
certainly not sent the mail, what breaks later may have. What the system does not take at once goes before its dot: a transport sends
what it still holds whenever it can, and asks nobody what time it is. Where the server offers PIPELINING (RFC 2920), MAIL, RCPT and
DATA leave in one write. The server is answered in the turn of the event loop in which it was heard, so that it does not wait until
everybody else here has been served.

It refuses to be: a retry, a pool or a verdict. It says what it heard, or raises Broken.
"""

from __future__ import annotations

import asyncio
import base64
import math
import re
import ssl
import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import cast

from app.connectors.message import Letter
from app.connectors.smtp_server_url import SmtpServer

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})\b")
_LONGEST_REPLY = 64 * 1024
_CLOSING = 421
_AT_ONCE = 16 * 1024  # of a message: the system's buffer has room for so much, since all before was answered
_LOOK_AGAIN_S = 0.005


class Broken(Exception):
    """The connection ended, or spoke what is no SMTP. The message says which."""


class SessionRefused(Exception):
    """The server refuses this client, not this message: greeting, EHLO, STARTTLS or AUTH."""


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """One reply, perhaps of several lines."""

    code: int
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.code} {' '.join(self.lines)}".strip()

    @property
    def enhanced(self) -> str:
        """The enhanced status code (RFC 3463) if the reply begins with one."""
        match = _ENHANCED.match(self.lines[0])
        return match.group(1) if match else ""


_Dialogue = Generator[None, SmtpReply, SmtpReply]
_LEFT = SmtpReply(0, ())
"""What a dialogue hears in place of a reply: all that it wrote has left."""


class SmtpConnection(asyncio.Protocol):
    """Open it with `open_connection`; then `send` one letter after the other, never two at once."""

    def __init__(self) -> None:
        self.dot_written = False
        self.heard = False
        self.lost = False
        self.gone = asyncio.Event()
        self.used = 0
        self._why = "the server closed the connection"
        self._buffer = b""
        self._lines: list[str] = []
        self._replies: deque[SmtpReply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._dialogue: _Dialogue | None = None
        self._decided: asyncio.Future[SmtpReply] | None = None
        self._filling = False
        self._transport: asyncio.Transport | None = None
        self._below: asyncio.Transport | None = None
        self._features: dict[str, str] = {}
        self._midway = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self._below = cast("asyncio.Transport", transport)  # uvloop's are, but do not say so

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        for line in lines:
            self._hear(line)
        if len(self._buffer) > _LONGEST_REPLY or len(self._lines) > 500:
            self._break("the server's reply does not end")
        self._go_on()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self.lost:
            self._why = f"the connection broke: {type(exc).__name__}"
        self.lost = True
        self.gone.set()
        self._go_on()
        self._wake()

    # What the pool calls.

    @property
    def offers_utf8(self) -> bool:
        """Whether the server takes addresses beyond ASCII (RFC 6531)."""
        return "SMTPUTF8" in self._features

    async def greet(self, server: SmtpServer, context: ssl.SSLContext | None) -> None:
        """Everything before the first message. Raises SessionRefused or Broken."""
        if server.tls == "implicit" and context is not None:
            await self._secure(server, context)
        await self._expect(220, "the greeting")
        await self._ehlo()
        if server.tls == "starttls":
            await self._starttls(server, context)
        if server.user:
            await self._authenticate(server)

    async def send(self, letter: Letter, until: float = math.inf) -> SmtpReply:
        """Hand over one letter; returns the reply that decided: a 2xx to the final dot, or a 4xx or 5xx at any phase.

        Nothing that commits is written once `until` (monotonic seconds, as the event loop's) has passed: a process that was stopped
        meanwhile may find the server's go-ahead before it finds out that its time is over.

        Raises Broken, and TimeoutError at `until`; then `dot_written` says whether the mail may have been sent, and `heard` whether the
        server had answered anything about this letter.
        """
        self.dot_written = self.heard = self._filling = False
        self.used += 1
        dialogue = self._hand_over(letter, until)
        next(dialogue)
        loop = asyncio.get_running_loop()
        self._dialogue, self._decided = dialogue, loop.create_future()
        timer = loop.call_at(until, self._decide, TimeoutError()) if until < math.inf else None
        try:
            return await self._decided
        finally:
            self._dialogue = None
            if timer is not None:
                timer.cancel()

    async def noop(self) -> SmtpReply:
        """Ask for nothing: whether the session is as good as it looks. Raises Broken."""
        return await self._command("NOOP")

    def abort(self) -> None:
        """Drop the connection at once."""
        self.lost = True
        if self._transport is not None:
            self._transport.abort()

    def quit(self) -> None:
        """Say goodbye and close, without waiting for the answer."""
        if not self.lost and self._transport is not None:
            self._transport.write(b"QUIT\r\n")
            self._transport.close()
        self.lost = True

    # How.

    def _go_on(self) -> None:
        while self._dialogue is not None and (self._replies or self.lost):
            self._step(self._dialogue, self._replies.popleft() if self._replies else None)

    def _step(self, dialogue: _Dialogue, reply: SmtpReply | None) -> None:
        """Let the dialogue hear a reply; None: that its connection is lost."""
        try:
            if reply is None:
                dialogue.throw(Broken(self._why))
            else:
                dialogue.send(reply)
        except StopIteration as over:
            self._decide(over.value)
        except Broken as broken:
            self._decide(broken)

    def _look_again(self) -> None:
        if self._dialogue is None or not self._filling:
            return
        if self._unsent:
            asyncio.get_running_loop().call_later(_LOOK_AGAIN_S, self._look_again)
        else:
            self._step(self._dialogue, _LEFT)

    def _decide(self, what: SmtpReply | Exception) -> None:
        self._dialogue = None
        if self._decided is None or self._decided.done():
            return
        if isinstance(what, SmtpReply):
            self._decided.set_result(what)
        else:
            self._decided.set_exception(what)

    def _hand_over(self, letter: Letter, until: float) -> _Dialogue:
        """The dialogue about one letter, which is sent the server's replies, and has thrown in that its connection is lost."""
        self._must_be_silent()
        refusal = yield from self._envelope(letter)
        if refusal is not None:
            return refusal
        data = letter.data.replace(b"\r\n.", b"\r\n..")
        if data.startswith(b"."):
            data = b"." + data
        if len(data) > _AT_ONCE:
            early = yield from self._fill(data)
            if early is not None:
                return early
            data = b""
        self._must_be_silent()
        if time.monotonic() >= until:
            self._break("its time was over before the message left")
            raise Broken(self._why)
        self.dot_written = True
        self._write(data + b".\r\n")
        reply = yield
        if reply.code // 100 == 3:
            self._break("the server's reply to the message makes no sense")
            raise Broken(self._why)
        self._midway = False
        return reply

    def _fill(self, data: bytes) -> Generator[None, SmtpReply, SmtpReply | None]:
        """Write a long message without its dot, and wait until the system has taken all of it. What the server says before that decides."""
        self._must_be_silent()
        self._write(data)
        if not self._unsent:
            return None
        self._filling = True
        asyncio.get_running_loop().call_later(_LOOK_AGAIN_S, self._look_again)
        early = yield
        self._filling = False
        if early is _LEFT:
            return None
        if early.code // 100 not in (4, 5):
            self._break("the server spoke out of turn")
            raise Broken(self._why)
        self.abort()  # it expects the rest of a message that it does not want
        return early

    @property
    def _unsent(self) -> bool:
        """Whether this process still holds some of what was written."""
        return any(each is not None and each.get_write_buffer_size() > 0 for each in (self._transport, self._below))

    def _envelope(self, letter: Letter) -> Generator[None, SmtpReply, SmtpReply | None]:
        utf8 = " SMTPUTF8" if letter.needs_utf8 else ""
        commands = [f"MAIL FROM:<{letter.sender}>{utf8}\r\n", f"RCPT TO:<{letter.recipient}>\r\n", "DATA\r\n"]
        if self._midway:
            commands.insert(0, "RSET\r\n")
        self._midway = True
        together = "PIPELINING" in self._features
        if together:
            self._write("".join(commands).encode())
        refusal: SmtpReply | None = None
        for command in commands:
            if not together:
                self._write(command.encode())
            reply = yield
            self.heard = True
            if reply.code // 100 != (3 if command == "DATA\r\n" else 2):
                refusal = refusal or reply
                if not together or reply.code == _CLOSING:
                    break
        if refusal is not None:
            if refusal.code // 100 not in (4, 5):
                self._break("the server's reply to the envelope makes no sense")
                raise Broken(self._why)
            if reply.code == _CLOSING or reply.code // 100 == 3:
                self.abort()  # it waits for a message to nobody; without a final dot there is none
        return refusal

    def _must_be_silent(self) -> None:
        # A reply that nobody asked for would be taken for the answer to what comes next.
        if self._replies or self._lines or self._buffer:
            self._break("the server spoke out of turn")
        if self.lost:
            raise Broken(self._why)

    def _write(self, data: bytes) -> None:
        if self.lost or self._transport is None:
            raise Broken(self._why)
        self._transport.write(data)

    async def _reply(self) -> SmtpReply:
        while not self._replies:
            if self.lost:
                raise Broken(self._why)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._replies.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _hear(self, line: bytes) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            self._break("the server's reply is garbled")
            return
        self._lines.append((match.group(3) or b"").decode(errors="replace"))
        if match.group(2) != b"-":
            self._replies.append(SmtpReply(int(match.group(1)), tuple(self._lines)))
            self._lines = []

    def _break(self, why: str) -> None:
        self._why = why
        self._replies.clear()
        self.abort()

    async def _command(self, text: str) -> SmtpReply:
        self._write(f"{text}\r\n".encode())
        return await self._reply()

    async def _expect(self, code: int, what: str) -> None:
        reply = await self._reply()
        if reply.code != code:
            raise SessionRefused(f"{what}: {reply}")

    async def _ehlo(self) -> None:
        name = self._transport.get_extra_info("sockname")[0] if self._transport else "127.0.0.1"
        reply = await self._command(f"EHLO [{'IPv6:' if ':' in name else ''}{name}]")
        if reply.code != 250:
            raise SessionRefused(f"EHLO: {reply}")
        self._features = {name.upper(): rest for name, _, rest in (line.partition(" ") for line in reply.lines[1:])}

    async def _starttls(self, server: SmtpServer, context: ssl.SSLContext | None) -> None:
        reply = await self._command("STARTTLS")
        if reply.code != 220 or context is None or self._transport is None:
            raise SessionRefused(f"STARTTLS: {reply}")
        if self._buffer or self._replies or self._lines:
            raise Broken("the server spoke before TLS began")  # a man in the middle may have put it there
        await self._secure(server, context)
        await self._ehlo()

    async def _secure(self, server: SmtpServer, context: ssl.SSLContext) -> None:
        if self._transport is None:
            raise Broken(self._why)
        secured = await asyncio.get_running_loop().start_tls(self._transport, self, context, server_hostname=server.host)
        if secured is None:
            raise Broken("the connection broke while TLS began")
        self._transport = secured

    async def _authenticate(self, server: SmtpServer) -> None:
        mechanisms = self._features.get("AUTH", "").upper().split()
        if "PLAIN" in mechanisms:
            reply = await self._command(f"AUTH PLAIN {_base64(f'{chr(0)}{server.user}{chr(0)}{server.password}')}")
        elif "LOGIN" in mechanisms:
            reply = await self._command("AUTH LOGIN")
            for answer in (server.user, server.password):
                if reply.code == 334:
                    reply = await self._command(_base64(answer))
        else:
            raise SessionRefused("AUTH: the server offers neither PLAIN nor LOGIN")
        if reply.code != 235:
            raise SessionRefused(f"AUTH: {reply.code} {reply.enhanced}".strip())


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def open_connection(server: SmtpServer, context: ssl.SSLContext | None) -> SmtpConnection:
    """Connect and greet. Raises OSError, SessionRefused or Broken; leaves nothing open then."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(SmtpConnection, server.host, server.port)
    try:
        await connection.greet(server, context)
    except BaseException:
        connection.abort()
        raise
    return connection
