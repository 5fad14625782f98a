"""One connection as httpcore uses it: its settings, its ends, and the names of its failures, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpcore2
import pytest
import uvloop

from app.connectors.stream import SocketStream, connect

pytestmark = pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
Work = Callable[[SocketStream, socket.socket], Awaitable[Any]]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(60)
        yield made


def address_of(listener: socket.socket) -> tuple[str, int]:
    address, port = listener.getsockname()
    return address, port


def working(run: Any, listener: socket.socket, work: Work) -> Any:
    """Do it with a connection and its other end."""

    async def main() -> Any:
        stream = await connect(*address_of(listener), 60)
        other, _ = listener.accept()
        with other:
            try:
                return await work(stream, other)
            finally:
                await stream.aclose()

    return run(main())


def test_a_connection_has_the_settings_that_were_asked_for(listener: socket.socket, run: Any) -> None:
    async def main() -> list[Any]:
        options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        stream = await connect(*address_of(listener), 60, "127.0.0.2", options)
        made = stream.get_extra_info("socket")
        asked = (socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_NODELAY)
        found = [made.getsockopt(*option) != 0 for option in asked]
        found += [stream.get_extra_info("client_addr")[0], stream.get_extra_info("server_addr")]
        found += [stream.get_extra_info("ssl_object"), stream.get_extra_info("unheard_of")]
        await stream.aclose()
        return found

    assert run(main()) == [True, True, "127.0.0.2", listener.getsockname(), None, None]


def test_what_is_written_comes_and_what_comes_is_read_up_to_the_end(listener: socket.socket, run: Any) -> None:
    async def work(stream: SocketStream, other: socket.socket) -> list[Any]:
        await stream.write(b"")
        await stream.write(b"asked")
        found: list[Any] = [other.recv(100), stream.get_extra_info("is_readable")]
        other.sendall(b"said")
        found += [stream.get_extra_info("is_readable"), await stream.read(2), await stream.read(100)]
        other.shutdown(socket.SHUT_WR)
        return [*found, stream.get_extra_info("is_readable"), await stream.read(100)]

    assert working(run, listener, work) == [b"asked", False, True, b"sa", b"id", True, b""]


def test_each_wait_that_takes_too_long_has_its_name(listener: socket.socket, run: Any) -> None:
    async def work(stream: SocketStream, _other: socket.socket) -> None:
        with pytest.raises(httpcore2.ReadTimeout):
            await stream.read(1, 0.05)
        with pytest.raises(httpcore2.WriteTimeout):
            await stream.write(b"x" * 64_000_000, 0.2)
        with pytest.raises(httpcore2.ConnectTimeout):
            await stream.start_tls(ssl.create_default_context(), "127.0.0.1", 0.05)
        assert stream.get_extra_info("is_readable"), "a handshake that fails closes the connection"

    working(run, listener, work)


def test_each_failure_has_its_name(listener: socket.socket, run: Any) -> None:
    async def work(stream: SocketStream, other: socket.socket) -> None:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # a reset
        other.close()
        with pytest.raises(httpcore2.ReadError):
            await stream.read(1)
        with pytest.raises(httpcore2.WriteError):
            await stream.write(b"x")
        with pytest.raises(httpcore2.ConnectError):
            await stream.start_tls(ssl.create_default_context(), "127.0.0.1")
        await stream.aclose()
        with pytest.raises(httpcore2.ReadError):
            await stream.read(1)
        with pytest.raises(httpcore2.WriteError):
            await stream.write(b"x")

    working(run, listener, work)


def test_where_nobody_listens_there_is_no_connection(run: Any) -> None:
    async def main(port: int) -> None:
        for address in ("127.0.0.1", "no address"):
            with pytest.raises(httpcore2.ConnectError):
                await connect(address, port, 60)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        run(main(taken.getsockname()[1]))


def test_a_server_that_takes_no_more_connections_is_given_up_in_time(run: Any) -> None:
    async def main(address: tuple[str, int]) -> None:
        async with AsyncExitStack() as opened:
            with pytest.raises(httpcore2.ConnectTimeout):
                for _ in range(10):  # the system takes a few of them itself
                    opened.push_async_callback((await connect(*address, 0.5)).aclose)

    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        run(main(address_of(full)))


def test_a_read_that_waits_is_told_when_somebody_else_closes_the_connection(listener: socket.socket, run: Any) -> None:
    async def work(stream: SocketStream, _other: socket.socket) -> None:
        reading = asyncio.create_task(stream.read(1))
        await asyncio.sleep(0)
        await stream.aclose()
        with pytest.raises(httpcore2.ReadError):
            await reading

    working(run, listener, work)
