"""Requests that leave while their process is stopped, and connections that end meanwhile: what a real server gets, and what is known."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from app.connectors.http_exchange import Answered, Asked, Exchanges, Unanswered
from tests.support.certificates import write_certificate
from tests.support.http_server import HttpServer, http_server
from tests.support.waiting import until_async

HEARD = b"HTTP/1.1 200 Said\r\nContent-Length: 2\r\n\r\n{}"
LARGE = b"x" * 16_000_000  # more than the system takes at once for a server that does not read
Heard = Answered | Unanswered

pytestmark = pytest.mark.parametrize("run", [asyncio.run, uvloop.run])


@pytest.fixture(params=["plain", "TLS"])
def certificate(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path] | None:
    """What a server shows, if it speaks TLS."""
    return write_certificate(tmp_path) if request.param == "TLS" else None


@pytest.fixture
def server(certificate: tuple[Path, Path] | None) -> Iterator[HttpServer]:
    with http_server(certificate) as made:
        yield made


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts and says nothing, and reads when the test does; its buffer is small."""
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        made.bind(("127.0.0.1", 0))
        made.listen()
        made.settimeout(60)
        yield made


def trusting(certificate: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=str(certificate[0])) if certificate else None


def serving(certificate: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def sleep_until(moment: float) -> None:
    """Hold up the loop, as a stop of the process does."""
    now = asyncio.get_running_loop().time
    while now() < moment:
        pass


class Stopped(logging.Handler):
    """The process is stopped at the moment at which httpcore says `at`, and woken at `until`."""

    def __init__(self, at: str, until: float) -> None:
        super().__init__()
        self.at, self.until = at, until

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self.at):
            sleep_until(self.until)


@contextmanager
def stopped(at: str, until: float, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    logger, handler = logging.getLogger("httpcore2.http11"), Stopped(at, until)
    logger.addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG, logger.name):
            yield
    finally:
        logger.removeHandler(handler)


def asked_late(run: Any, server: HttpServer, context: ssl.SSLContext | None, at: str, caplog: pytest.LogCaptureFixture) -> list[Heard]:
    """Three requests; the process is stopped at a step of the second until its time is over."""

    async def main() -> list[Heard]:
        exchanges, now = Exchanges(1, private=True, context=context), asyncio.get_running_loop().time

        async def ask(path: str, send_by: float) -> Heard:
            return await exchanges.ask(Asked("POST", server.url + path, {}, b"{}"), now() + 30, send_by)

        heard = [await ask("/first", now() + 30)]
        send_by = now() + 0.5
        with stopped(at, send_by, caplog):
            heard.append(await ask("/late", send_by))
        heard.append(await ask("/after", now() + 30))
        await exchanges.close()
        return heard

    heard: list[Heard] = run(main())
    return heard


def test_a_process_that_is_stopped_directly_before_the_first_write_sends_nothing(
    server: HttpServer, certificate: tuple[Path, Path] | None, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first, late, after = asked_late(run, server, trusting(certificate), "send_request_headers.started", caplog)
    assert isinstance(first, Answered) and isinstance(after, Answered)
    assert isinstance(late, Unanswered) and (late.certain, late.code) == (True, "deadline_passed")
    assert [heard.path for heard in server.heard] == ["/first", "/after"]
    assert server.connections == 2, "a connection that a request was about to leave on is not used again"


def test_a_process_that_is_stopped_between_headers_and_body_sends_no_whole_request_and_is_not_sure(
    server: HttpServer, certificate: tuple[Path, Path] | None, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first, late, after = asked_late(run, server, trusting(certificate), "send_request_body.started", caplog)
    assert isinstance(first, Answered) and isinstance(after, Answered)
    assert isinstance(late, Unanswered) and (late.certain, late.code) == (False, "deadline_passed")
    assert [heard.path for heard in server.heard] == ["/first", "/after"]
    assert server.connections == 2, "what follows half a request would be taken for its other half"


def test_a_process_that_is_stopped_after_the_whole_request_has_left_still_hears_its_answer(
    server: HttpServer, certificate: tuple[Path, Path] | None, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    heard = asked_late(run, server, trusting(certificate), "send_request_body.complete", caplog)
    assert [isinstance(one, Answered) for one in heard] == [True, True, True]
    assert server.connections == 1


def test_a_process_that_is_stopped_while_a_large_body_leaves_sends_no_more_of_it(silent: socket.socket, run: Any) -> None:
    async def main() -> tuple[Heard, bytes]:
        exchanges, now = Exchanges(1, private=True), asyncio.get_running_loop().time
        send_by = now() + 1.5
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/large"
        asking = asyncio.create_task(exchanges.ask(Asked("POST", url, {}, LARGE), now() + 30, send_by))
        connection, _ = await asyncio.to_thread(silent.accept)
        with connection:
            await asyncio.to_thread(connection.recv, 1, socket.MSG_PEEK)
            sleep_until(send_by)
            come = await asyncio.to_thread(read_all, connection)
        heard = await asking
        await exchanges.close()
        return heard, come

    heard, come = run(main())
    assert come.startswith(b"POST /large HTTP/1.1\r\n")
    assert len(come) < len(LARGE)
    assert isinstance(heard, Unanswered)
    assert not heard.certain


def read_all(connection: socket.socket) -> bytes:
    """Everything up to the end of the connection, which may end with a reset."""
    connection.settimeout(60)
    come = bytearray()
    try:
        while piece := connection.recv(1 << 20):
            come += piece
    except ConnectionResetError:
        pass  # whoever leaves with bytes unread ends it so
    return bytes(come)


def test_a_connection_that_the_server_closed_while_it_was_idle_is_not_used_again(certificate: tuple[Path, Path] | None, run: Any) -> None:
    gone = []

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEARD)
        await writer.drain()
        writer.transport.abort()
        await writer.wait_closed()
        gone.append(writer)

    async def main() -> list[Heard]:
        server = await asyncio.start_server(answer_once, "127.0.0.1", 0, ssl=serving(certificate))
        url = f"http{'s' if certificate else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        exchanges, heard = Exchanges(1, private=True, context=trusting(certificate)), list[Heard]()
        for _ in range(3):
            heard.append(await exchanges.ask(Asked("GET", url, {}), asyncio.get_running_loop().time() + 30))
            await until_async(lambda: len(gone) == len(heard), what="the server has closed the connection")
        await exchanges.close()
        server.close()
        return heard

    assert [isinstance(one, Answered) for one in run(main())] == [True, True, True]


WAITING = {"for its answer": ("http", b""), "for room for its body": ("http", LARGE), "for a handshake": ("https", b"")}


async def waiting(exchanges: Exchanges, silent: socket.socket, scheme: str, body: bytes) -> tuple[asyncio.Task[Heard], socket.socket]:
    """A request that waits for a server that has got something of it, and the server's end of the connection."""
    url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
    asking = asyncio.create_task(exchanges.ask(Asked("POST", url, {}, body), asyncio.get_running_loop().time() + 60))
    connection, _ = await asyncio.to_thread(silent.accept)
    await asyncio.to_thread(connection.recv, 1, socket.MSG_PEEK)
    return asking, connection


@pytest.mark.parametrize(("scheme", "body"), WAITING.values(), ids=WAITING)
def test_a_request_that_is_cancelled_while_it_waits_leaves_nothing_open(silent: socket.socket, run: Any, scheme: str, body: bytes) -> None:
    async def main() -> bytes:
        exchanges = Exchanges(1, private=True)
        asking, connection = await waiting(exchanges, silent, scheme, body)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        with connection:
            come = await asyncio.to_thread(read_all, connection)
        await exchanges.close()
        return come

    assert run(main()), "the server has what had left, and has seen the end of the connection"


@pytest.mark.parametrize("body", [b"", LARGE], ids=["for its answer", "for room for its body"])
def test_a_request_whose_connection_is_closed_while_it_waits_is_in_doubt_at_once(silent: socket.socket, run: Any, body: bytes) -> None:
    async def main() -> Heard:
        exchanges = Exchanges(1, private=True)
        asking, connection = await waiting(exchanges, silent, "http", body)
        with connection:
            await exchanges.close()
            return await asking

    heard = run(main())
    assert isinstance(heard, Unanswered)
    assert (heard.certain, heard.code) == (False, "http_disconnected")


Broken = Callable[[ssl.SSLSocket], None]


def garble(connection: ssl.SSLSocket) -> None:
    os.write(connection.fileno(), b"this is no TLS at all\r\n")


def leave(connection: ssl.SSLSocket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("broken", [garble, leave])
def test_tls_that_breaks_after_the_request_has_left_leaves_a_doubt(silent: socket.socket, tmp_path: Path, run: Any, broken: Broken) -> None:
    certificate = write_certificate(tmp_path)
    context = serving(certificate)
    assert context is not None

    def serve(context: ssl.SSLContext) -> None:
        connection, _ = silent.accept()
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(64 * 1024)
            broken(secured)

    async def main() -> Heard:
        exchanges = Exchanges(1, private=True, context=trusting(certificate))
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        heard = await exchanges.ask(Asked("DELETE", url, {}), asyncio.get_running_loop().time() + 30)
        await exchanges.close()
        return heard

    thread = threading.Thread(target=serve, args=[context])
    thread.start()
    heard = run(main())
    thread.join(60)
    assert isinstance(heard, Unanswered)
    assert (heard.certain, heard.code) == (False, "http_disconnected")
