"""A real SMTP server on loopback, a process of its own: takes mail, writes one JSON line per accepted message, misbehaves on cue.

    python -m tests.support.smtp_server --log FILE [--port 0] [--rules FILE] …

It prints `listening on 127.0.0.1 port N`. A line of the log is `{"at", "queue_id", "message_id", "from", "to", "subject"}`, `at` in ms
UTC, handed to the kernel before the 250 leaves, so that the log is what was accepted, whatever happened to the reply.

It misbehaves for a recipient whose local part begins with the name of an action (`reject550.anna@example.com`), or that a rule
names: a JSON list of `{"to": pattern, "do": action, "times": n}`, read again when the file changes; with `each` in place of `times`, n
times for each recipient. Actions are in `ACTIONS`; `delay<ms>` answers the message late.

It refuses to be: a mail server. Nothing is delivered.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.header import decode_header, make_header
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import uvloop

ACTIONS: dict[str, str] = {
    "reject550": "550 to the recipient",
    "reject450": "450 to the recipient",
    "close421": "421 to the recipient, then close",
    "data554": "554 to the message",
    "data451": "451 to the message",
    "data421": "421 to the message, then close",
    "dropbefore": "close when the message should come",
    "dropmiddle": "close once some of the message has come",
    "dropafter": "close after the final dot, message not accepted",
    "losereply": "accept the message, then close without a reply",
    "hang": "accept the message, never reply",
    "hangearly": "never reply to the recipient",
    "cutreply": "accept the message, send the first two bytes of the reply, then close",
    "garble": "accept the message, reply nonsense",
    "chatter": "reply twice to the recipient",
}
_ACTION = re.compile(rf"({'|'.join(ACTIONS)}|delay\d+)(?=[.+_-]|$)")
_ADDRESS = re.compile(r"<([^>]*)>")
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE)
_SUBJECT = re.compile(rb"^subject:[ \t]*(.*(?:\r\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE)
_END = b"\r\n.\r\n"


@dataclass
class Rules:
    """What the rules file says, read again when it changes."""

    path: Path | None
    _seen: int = -1
    _rules: list[dict[str, Any]] = field(default_factory=list)
    _given: Counter[tuple[int, str]] = field(default_factory=Counter)

    def action(self, recipient: str) -> str:
        """The action for this recipient; empty where it is served well."""
        for index, rule in enumerate(self._read()):
            given = (index, recipient if "each" in rule else "")
            if fnmatchcase(recipient, rule["to"]) and self._given[given] < rule.get("each", rule.get("times", 1 << 62)):
                self._given[given] += 1
                action: str = rule["do"]
                return action
        match = _ACTION.match(recipient.partition("@")[0])
        return match.group(1) if match else ""

    def _read(self) -> list[dict[str, Any]]:
        if self.path is not None and self.path.exists() and self.path.stat().st_mtime_ns != self._seen:
            self._seen = self.path.stat().st_mtime_ns
            self._rules = json.loads(self.path.read_text())
            self._given.clear()
        return self._rules


@dataclass
class Options:
    """How the server behaves for everyone."""

    log_fd: int
    rules: Rules
    features: list[str]
    greeting: str = "220 loopback ESMTP"
    delay_ms: int = 0
    early_ms: int = 0
    most_per_connection: int = 0
    login: str = ""
    context: ssl.SSLContext | None = None
    connections: int = 0
    accepted: int = 0


class Session(asyncio.Protocol):
    """One client."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._buffer = b""
        self._in_data = False
        self._silent = False
        self._messages = 0
        self._logged_in = False
        self._sender = self._recipient = self._action = ""
        self._out: list[bytes] = []
        self._upgrade = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are, but do not say so
        self._options.connections += 1
        self._transport.write(f"{self._options.greeting}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        if self._silent:
            return
        self._buffer += data
        while not self._silent and (self._take_message() if self._in_data else self._take_command()):
            pass
        self._flush()
        if self._upgrade:
            self._upgrade = False
            asyncio.get_running_loop().create_task(self._start_tls())

    # Commands.

    def _take_command(self) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer = rest
        text = line.decode(errors="replace")
        verb = text[:4].upper()
        handler = _COMMANDS.get(verb)
        if handler is None:
            self._say("500 5.5.1 what?")
        else:
            handler(self, text)
        return True

    def _ehlo(self, _text: str) -> None:
        names = ["loopback", *self._options.features]
        self._say("\r\n".join(f"250{'-' if i < len(names) - 1 else ' '}{name}" for i, name in enumerate(names)))

    def _mail(self, text: str) -> None:
        if self._options.login and not self._logged_in:
            self._say("530 5.7.0 authentication required")
        elif self._sender:
            self._say("503 5.5.1 nested MAIL")
        elif 0 < self._options.most_per_connection <= self._messages:
            self._say("421 4.7.0 enough for one connection")
            self._close()
        else:
            self._sender = _address(text) or "<>"
            self._say("250 2.1.0 ok")

    def _rcpt(self, text: str) -> None:
        if not self._sender:
            self._say("503 5.5.1 no MAIL")
            return
        recipient = _address(text)
        action = self._options.rules.action(recipient)
        if action.startswith("reject"):
            self._say("550 5.1.1 no such user" if action == "reject550" else "450 4.2.1 mailbox busy")
        elif action == "close421":
            self._say("421 4.3.2 going down")
            self._close()
        elif action == "hangearly":
            self._silent = True
        else:
            self._recipient, self._action = recipient, action
            self._say("250 2.1.5 ok")
            if action == "chatter":
                self._say("250 2.1.5 ok again")

    def _data(self, _text: str) -> None:
        if not self._recipient:
            self._say("503 5.5.1 no valid recipients")
            return
        if self._action == "dropbefore":
            self._abort()
            return
        self._in_data = True
        if self._options.early_ms:
            self._flush()
            asyncio.get_running_loop().call_later(self._options.early_ms / 1000, self._transport.write, b"354 go ahead\r\n")
        else:
            self._say("354 go ahead")
        self._buffer = b"\r\n" + self._buffer  # so that a message may begin with its final dot

    def _rset(self, _text: str) -> None:
        self._sender = self._recipient = self._action = ""
        self._say("250 2.0.0 ok")

    def _noop(self, _text: str) -> None:
        self._say("250 2.0.0 ok")

    def _quit(self, _text: str) -> None:
        self._say("221 2.0.0 bye")
        self._close()

    def _auth(self, text: str) -> None:
        expected = base64.b64encode(b"\0" + b"\0".join(self._options.login.encode().split(b":", 1))).decode()
        self._logged_in = bool(self._options.login) and text.split()[1:] == ["PLAIN", expected]
        self._say("235 2.7.0 welcome" if self._logged_in else "535 5.7.8 wrong credentials")

    def _starttls(self, _text: str) -> None:
        if self._options.context is None:
            self._say("502 5.5.1 no TLS here")
            return
        self._say("220 2.0.0 go ahead")
        self._upgrade = True

    async def _start_tls(self) -> None:
        assert self._options.context is not None
        secured = await asyncio.get_running_loop().start_tls(self._transport, self, self._options.context, server_side=True)
        if secured is not None:
            self._transport = secured

    # Messages.

    def _take_message(self) -> bool:
        end = self._buffer.find(_END)
        if end < 0:
            if self._action == "dropmiddle" and len(self._buffer) > 2:
                self._abort()
            return False
        message, self._buffer = self._buffer[2:end], self._buffer[end + len(_END) :]
        self._in_data = False
        self._messages += 1
        sender, recipient, action = self._sender, self._recipient, self._action
        self._sender = self._recipient = self._action = ""
        refusal = {"data554": "554 5.6.0 no", "data451": "451 4.3.0 later", "data421": "421 4.3.2 going down"}.get(action)
        if refusal:
            self._say(refusal)
            if action == "data421":
                self._close()
            return True
        if action in ("dropafter", "dropmiddle"):
            self._abort()
            return False
        queue_id = self._accept(sender, recipient, message)
        self._answer(action, f"250 2.0.0 Ok: queued as {queue_id}")
        return True

    def _accept(self, sender: str, recipient: str, message: bytes) -> str:
        self._options.accepted += 1
        queue_id = f"{os.getpid():X}{self._options.accepted:08X}"
        head = message.partition(b"\r\n\r\n")[0]
        message_id, subject = _MESSAGE_ID.search(head), _SUBJECT.search(head)
        line = {
            "at": time.time_ns() // 1_000_000,
            "queue_id": queue_id,
            "message_id": message_id.group(1).strip().decode(errors="replace") if message_id else None,
            "from": sender,
            "to": recipient,
            "subject": _decoded(subject.group(1)) if subject else None,
        }
        os.write(self._options.log_fd, json.dumps(line, ensure_ascii=False).encode() + b"\n")
        return queue_id

    def _answer(self, action: str, reply: str) -> None:
        delay_ms = int(action.removeprefix("delay")) if action.startswith("delay") else self._options.delay_ms
        if action in ("losereply", "cutreply"):
            self._flush()
            if action == "cutreply":
                self._transport.write(reply[:2].encode())
                self._close()
            else:
                self._abort()
        elif action == "hang":
            self._silent = True
        elif action == "garble":
            self._say("well, that went fine")
        elif delay_ms:
            asyncio.get_running_loop().call_later(delay_ms / 1000, self._transport.write, f"{reply}\r\n".encode())
        else:
            self._say(reply)

    def _say(self, line: str) -> None:
        self._out.append(f"{line}\r\n".encode())

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _close(self) -> None:
        self._flush()
        self._silent = True
        self._transport.close()

    def _abort(self) -> None:
        self._flush()
        self._silent = True
        self._transport.abort()


_COMMANDS: dict[str, Callable[[Session, str], None]] = {
    "EHLO": Session._ehlo,
    "HELO": Session._ehlo,
    "MAIL": Session._mail,
    "RCPT": Session._rcpt,
    "DATA": Session._data,
    "RSET": Session._rset,
    "NOOP": Session._noop,
    "QUIT": Session._quit,
    "AUTH": Session._auth,
    "STAR": Session._starttls,
}


def _address(text: str) -> str:
    match = _ADDRESS.search(text)
    return match.group(1) if match else ""


def _decoded(subject: bytes) -> str:
    text = subject.decode(errors="replace").strip()
    return str(make_header(decode_header(text))) if "=?" in text else text


async def serve(arguments: argparse.Namespace) -> None:
    """Listen until the process ends."""
    features = [name for name in ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES") if name.lower() not in arguments.without]
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate, arguments.certificate_key)
        features += [] if arguments.tls else ["STARTTLS"]
    if arguments.login:
        features.append("AUTH PLAIN")
    options = Options(
        log_fd=os.open(arguments.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        rules=Rules(Path(arguments.rules) if arguments.rules else None),
        features=features,
        greeting=arguments.greeting,
        delay_ms=arguments.delay_ms,
        early_ms=arguments.early_ms,
        most_per_connection=arguments.most_per_connection,
        login=arguments.login,
        context=context,
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Session(options), "127.0.0.1", arguments.port, ssl=context if arguments.tls else None, backlog=512
    )
    print(f"listening on 127.0.0.1 port {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="An SMTP server that logs what it accepts and misbehaves on cue.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", required=True)
    parser.add_argument("--rules", default="")
    parser.add_argument("--greeting", default="220 loopback ESMTP")
    parser.add_argument("--delay-ms", type=int, default=0, help="how late the reply to a message is that was accepted")
    parser.add_argument("--early-ms", type=int, default=0, help="how late the go-ahead to a message is that has not come")
    parser.add_argument("--most-per-connection", type=int, default=0)
    parser.add_argument("--without", action="append", default=[], help="a feature not to offer, such as pipelining")
    parser.add_argument("--login", default="", help="user:password that clients must give")
    parser.add_argument("--certificate", default="")
    parser.add_argument("--certificate-key", default="")
    parser.add_argument("--tls", action="store_true", help="TLS from the first byte, else STARTTLS")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
