"""A stand-in for the Messages API on loopback: it streams what it is told to, breaks off where it is told to, and keeps what it was sent.

    with FakeAnthropic() as fake:
        fake.will(Says('{"content": "x"}'), Refuses(), Fails(529, "overloaded_error"))
        AnthropicModel("any key", fake.url)

It refuses to be: a model. Without a next reply it answers 500.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal

USAGE = {"input_tokens": 120, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 1800, "output_tokens": 60}
Event = dict[str, Any]


@dataclass(frozen=True)
class Says:
    """A streamed answer. `cut_after` events the connection ends, `framing` says whether a client can notice."""

    text: str = "{}"
    stop: str | None = "end_turn"
    details: dict[str, Any] | None = None
    usage: dict[str, Any] = field(default_factory=lambda: dict(USAGE))
    thinking: str = ""
    cut_after: int | None = None
    framing: Literal["chunked", "until close"] = "chunked"
    breaks_with: str = ""


@dataclass(frozen=True)
class Fails:
    """An error in place of an answer."""

    status: int
    kind: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sends:
    """These bytes with status 200, whatever they are."""

    body: bytes
    content_type: str = "text/event-stream"


@dataclass(frozen=True)
class Hangs:
    """Nothing at all, until the server closes."""


def Refuses(category: str = "cyber") -> Says:  # noqa: N802  # reads as the other replies do
    """A refusal by policy."""
    return Says("", stop="refusal", details={"type": "refusal", "category": category, "explanation": "not this"})


Reply = Says | Fails | Sends | Hangs


class FakeAnthropic:
    """A server on a free port; `requests` are the parsed bodies that came, `headers` those that came with them."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._replies: deque[Reply] = deque()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def will(self, *replies: Reply) -> None:
        """Queue replies, first come first served."""
        self._replies.extend(replies)

    def __enter__(self) -> FakeAnthropic:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        """Keep a request; the reply to it."""
        self.requests.append(body)
        self.headers.append(headers)
        return self._replies.popleft() if self._replies else Fails(500, "api_error")


class _Handler(BaseHTTPRequestHandler):
    """One connection; `fake` is set on a subclass for each server."""

    protocol_version = "HTTP/1.1"
    fake: FakeAnthropic

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        reply = self.fake.take(body, {name.lower(): value for name, value in self.headers.items()})
        try:
            self._send(reply, body)
        except OSError:  # the client has gone, as it may
            self.close_connection = True

    def _send(self, reply: Reply, body: dict[str, Any]) -> None:
        if isinstance(reply, Hangs):
            self.fake.closing.wait(60)
            self.close_connection = True
        elif isinstance(reply, Fails):
            error = {"type": "error", "error": {"type": reply.kind, "message": reply.kind}, "request_id": "req_1"}
            self._whole(reply.status, json.dumps(error).encode(), "application/json", reply.headers)
        elif isinstance(reply, Sends):
            self._whole(200, reply.body, reply.content_type, {})
        else:
            self._stream(reply, str(body.get("model")))

    def _whole(self, status: int, data: bytes, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": content_type, "content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, reply: Says, model: str) -> None:
        chunked = reply.framing == "chunked"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("request-id", "req_1")
        self.send_header(*(("transfer-encoding", "chunked") if chunked else ("connection", "close")))
        self.end_headers()
        self.close_connection = True
        for number, event in enumerate(events_of(reply, model)):
            if number == reply.cut_after:
                return
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        return None


def events_of(reply: Says, model: str) -> Iterator[Event]:
    """The events of a stream, in the order in which the API sends them."""
    start: Event = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [], "container": None}
    unfinished = {"stop_reason": None, "stop_sequence": None, "stop_details": None, "usage": {**reply.usage, "output_tokens": 1}}
    yield {"type": "message_start", "message": {**start, **unfinished}}
    yield {"type": "ping"}
    blocks: list[tuple[Event, list[Event]]] = []
    if reply.thinking:
        deltas: list[Event] = [{"type": "thinking_delta", "thinking": reply.thinking}, {"type": "signature_delta", "signature": "s"}]
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if reply.text:
        pieces = [reply.text[at : at + 40] for at in range(0, len(reply.text), 40)]
        blocks.append(({"type": "text", "text": "", "citations": None}, [{"type": "text_delta", "text": piece} for piece in pieces]))
    for index, (block, deltas) in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
            if reply.breaks_with:
                yield {"type": "error", "error": {"type": reply.breaks_with, "message": reply.breaks_with}}
                return
        yield {"type": "content_block_stop", "index": index}
    end = {"stop_reason": reply.stop, "stop_sequence": None, "stop_details": reply.details}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": reply.usage["output_tokens"]}}
    yield {"type": "message_stop"}
