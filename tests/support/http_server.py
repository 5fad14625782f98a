"""A real HTTP server on loopback for tests, on a thread with an event loop of its own; it answers on cue and remembers.

What it does follows from the path: `/status/<n>` answers with n, `/drop` closes once it has the request, `/half` closes in the middle of
its answer, `/hang` never answers, `/garble` answers what is no HTTP, `/to?<url>` redirects with 307, `/large` answers 1 MB, `/echo`
answers the request's own headers and body. `cues` may set more: path → `(status, headers, body)`. Paths of `slow` are answered once their
event is set.

It refuses to be: complete. It reads requests with Content-Length and closes nothing unless told.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from tests.support.waiting import until_async

Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Heard:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpServer:
    """`heard` is every request that came whole, in order; `connections` counts what was accepted."""

    port: int = 0
    tls: bool = False
    heard: list[Heard] = field(default_factory=list)
    cues: dict[str, Answer] = field(default_factory=dict)
    slow: dict[str, threading.Event] = field(default_factory=dict)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client has gone, which is its right
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.heard.append(Heard(method, path, headers, body))
        if path in self.slow:
            await until_async(self.slow[path].is_set, 60, f"{path} may be answered")
        if path == "/hang":
            await reader.read()
            return False
        if path in ("/drop", "/garble", "/half"):
            writer.write({"/drop": b"", "/garble": b"nonsense\r\n\r\n", "/half": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"}[path])
            await writer.drain()
            return False
        status, more, content = self.cues.get(path) or _told(path, headers, body)
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(content)}", *(f"{name}: {value}" for name, value in more.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if method == "HEAD" else content))
        await writer.drain()
        return True


def _told(path: str, headers: dict[str, str], body: bytes) -> Answer:
    plain = {"Content-Type": "application/json"}
    if path.startswith("/status/"):
        return int(path.split("/")[2]), plain, b"{}"
    if path.startswith("/to?"):
        return 307, {"Location": unquote(path[4:])}, b""
    if path == "/large":
        return 200, plain, b'{"id": "big", "more": "' + b"x" * 1_000_000 + b'"}'
    if path == "/echo":
        return 200, plain, json.dumps({"headers": headers, "body": body.decode(), "seen": headers.get("authorization", "")}).encode()
    return 201, {**plain, "X-Request-Id": "req-1", "Set-Cookie": "a=b"}, b'{"id": "o-1", "total": 12.5, "lines": [1]}'


@contextmanager
def http_server(certificate: tuple[Path, Path] | None = None) -> Iterator[HttpServer]:
    """A running server; with a certificate and key it speaks TLS."""
    made = HttpServer(tls=certificate is not None)
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
        made.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), name="http server")
    thread.start()
    assert ready.wait(60), "the server did not start"
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()
