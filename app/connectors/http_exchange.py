"""One HTTP request and what is known after it: how far it got, and what came back within bounds.

The line is the first byte of the request: before it nothing was asked of the server, after it the server may have acted, whatever
becomes of the connection. An answer's status counts even where its body breaks off.

It refuses to be: a browser. No cookies, no proxies of the environment, no compression, no redirects, HTTP/1.1 alone.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpcore2

from app.connectors.pinned import AddressRefused, PinnedBackend
from app.connectors.stream import Leaving, TooLate, watching

IDLE_S = 2.0  # what stays open longer is often closed by the other side just when it is used again, which nobody could tell from a loss
MOST_ANSWER = 256 * 1024
_LEAVES = "http11.send_request_headers.started"
_LEAVES_NO_MORE = frozenset({"http11.send_request_headers.failed", "http11.send_request_body.complete", "http11.send_request_body.failed"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it leaves. `headers` may hold a credential; it is in no repr."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """The server's answer. `whole` is false where the body is longer than `MOST_ANSWER` or broke off."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    whole: bool


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer: `certain` that nothing of the request had left; `refused` where it never will."""

    certain: bool
    code: str
    message: str
    refused: bool = False


class Exchanges:
    """Requests over reused connections. Used from one event loop; `close` it at the end."""

    def __init__(self, size: int, *, private: bool, context: ssl.SSLContext | None = None) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context or httpcore2.default_ssl_context(),
            max_connections=size,
            keepalive_expiry=IDLE_S,
            network_backend=PinnedBackend(private=private),
        )

    async def ask(self, asked: Asked, deadline: float, send_by: float = math.inf) -> Answered | Unanswered:
        """Send it once before `send_by`, and have its answer before `deadline` (event loop time). No byte of it leaves after `send_by`.

        Never raises for what the server or the network does.
        """
        progress = _Progress(asyncio.timeout_at(min(deadline, send_by)), deadline, Leaving(send_by))
        try:
            headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in asked.headers.items()]
        except UnicodeEncodeError:
            return Unanswered(True, "header_unusable", "a header, or the credential, holds letters that HTTP cannot carry")
        try:
            async with progress.limit:
                return await self._ask(asked, headers, progress)
        except TimeoutError:
            return progress.answer or _lost(progress, "http_timeout", "the server did not answer in time")
        except TooLate:
            return _lost(progress, "deadline_passed", f"its time was over before {'all of it' if progress.sent else 'anything'} was sent")
        except AddressRefused as refused:
            return Unanswered(True, "address_refused", str(refused), refused=True)
        except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
            code = "http_disconnected" if progress.sent else "http_unreachable"
            return progress.answer or _lost(progress, code, f"the connection failed: {type(error).__name__}")
        except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
            if "disconnected" in str(error):  # httpcore's word for an end before any answer
                return progress.answer or _lost(progress, "http_disconnected", "the server closed the connection without an answer")
            return progress.answer or _lost(progress, "http_garbled", f"the server's answer is no HTTP: {type(error).__name__}")

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _ask(self, asked: Asked, headers: list[tuple[bytes, bytes]], progress: _Progress) -> Answered:
        if asked.body or asked.method not in ("GET", "HEAD", "DELETE"):
            headers.append((b"Content-Length", str(len(asked.body)).encode()))
        request = httpcore2.Request(
            asked.method, asked.url, headers=[*_host(asked.url), *headers], content=asked.body, extensions={"trace": progress.note}
        )
        with watching(progress.leaving):
            response = await self._pool.handle_async_request(request)
        reason = bytes(response.extensions.get("reason_phrase", b"")).decode("latin-1")
        progress.answer = _answer(response.status, reason, response.headers, b"", whole=False)
        body, whole = await _read(response)
        return _answer(response.status, reason, response.headers, body, whole=whole)


@dataclass(slots=True)
class _Progress:
    """How far a request has got. What has left as a whole, or will get no further, is waited for longer than what has not."""

    limit: asyncio.Timeout
    deadline: float
    leaving: Leaving
    answer: Answered | None = None

    @property
    def sent(self) -> bool:
        """Whether the system has had a byte of it."""
        return self.leaving.begun

    async def note(self, event: str, _info: Any) -> None:
        """What httpcore is about to do, or has done."""
        if event == _LEAVES:
            self.leaving.under_way = True
        elif event in _LEAVES_NO_MORE:
            self.leaving.under_way = False
            if not self.limit.expired():
                self.limit.reschedule(self.deadline)


async def _read(response: httpcore2.Response) -> tuple[bytes, bool]:
    body = b""
    try:
        async with aclosing(response.aiter_stream()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > MOST_ANSWER:
                    return body[:MOST_ANSWER], False
    finally:
        await response.aclose()
    return body, True


def _answer(status: int, reason: str, headers: Sequence[tuple[bytes, bytes]], body: bytes, *, whole: bool) -> Answered:
    named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    return Answered(status, reason, named, body, whole)


def _lost(progress: _Progress, code: str, message: str) -> Unanswered:
    return Unanswered(not progress.sent, code, message)


def _host(url: str) -> list[tuple[bytes, bytes]]:
    return [(b"Host", url.split("/", 3)[2].encode("ascii"))]
