"""Mails that leave while their process is stopped, or while the server speaks out of turn: the dot follows only what is certain."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import uvloop

from app.connectors.message import render
from app.connectors.smtp_pool import Delivery, SmtpPool
from app.connectors.smtp_server_url import parse_smtp_url
from app.core.clock import SystemClock
from tests.support.requests import EMAIL_CONFIG, email_to
from tests.support.smtp import SmtpProcess
from tests.support.waiting import until, until_async

CLOCK = SystemClock()


def test_a_process_that_slept_past_its_deadline_before_the_final_dot_sends_nothing(server: SmtpProcess) -> None:
    class Asleep(bytes):
        """A body that takes until the deadline, as it is for a process that was stopped there."""

        def replace(self, *words: Any) -> bytes:
            while time.monotonic() < deadline:
                pass
            return super().replace(*words)

    async def main() -> Delivery:
        pool = SmtpPool(parse_smtp_url(server.url), 1)
        letter = render(EMAIL_CONFIG, email_to("ann@example.com"), "<a@example.com>", CLOCK.now())
        found = await pool.deliver(replace(letter, data=Asleep(letter.data)), deadline)
        await pool.close()
        return found

    deadline = time.monotonic() + 0.5
    delivery = uvloop.run(main())
    assert delivery.reply is None and delivery.certain
    assert server.accepted() == []


def slow_listener(early: bytes = b"") -> tuple[str, threading.Event, dict[str, bytes], threading.Thread]:
    """A mail server that reads no message before it is told to, over a line that holds little; `early`: what it says meanwhile."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    reads, heard = threading.Event(), {"bytes": b""}

    def serve() -> None:
        with listener, listener.accept()[0] as client, client.makefile("rb") as lines:
            client.settimeout(10)
            client.sendall(b"220 ready\r\n")
            for answer in (b"250 hello", b"250 ok", b"250 ok", b"354 go ahead"):
                lines.readline()
                client.sendall(answer + b"\r\n")
            if early:
                client.sendall(early)
            reads.wait(30)
            with suppress(OSError):
                while part := lines.read1():
                    heard["bytes"] += part

    serving = threading.Thread(target=serve)
    serving.start()
    return f"smtp://127.0.0.1:{listener.getsockname()[1]}", reads, heard, serving


async def hand_over(url: str, deadline_s: float, then: Callable[[float], None] = lambda _deadline: None) -> Delivery:
    """A letter of which no system takes all at once; `then` is done while it is under way."""
    pool = SmtpPool(parse_smtp_url(url), 1)
    letter = render(EMAIL_CONFIG, email_to("ann@example.com", text="a line of text\n" * 10_000), "<a@example.com>", CLOCK.now())
    deadline = asyncio.get_running_loop().time() + deadline_s
    sent = asyncio.create_task(pool.deliver(letter, deadline))
    try:
        await until_async(lambda: pool.opened == 1 or sent.done(), what="it is connected")
        await asyncio.wait([sent], timeout=0.2)
        then(deadline)
        return await sent
    finally:
        await pool.close()


def test_the_dot_of_a_large_mail_does_not_leave_a_process_that_slept_past_its_deadline() -> None:
    url, reads, heard, serving = slow_listener()

    def sleep(deadline: float) -> None:
        until(lambda: time.monotonic() > deadline, 5, "its time is over")
        reads.set()
        until(lambda: len(heard["bytes"]) > 40_000, 5, "there is room for the rest")

    delivery = uvloop.run(hand_over(url, 1, sleep))
    serving.join()
    assert delivery.reply is None and delivery.certain
    assert not heard["bytes"].endswith(b"\r\n.\r\n")


def test_a_server_that_refuses_a_large_mail_while_it_comes_is_heard() -> None:
    url, reads, heard, serving = slow_listener(b"552 5.3.4 message too big\r\n")
    delivery = uvloop.run(hand_over(url, 5))
    reads.set()
    serving.join()
    assert delivery.reply is not None and delivery.reply.code == 552
    assert not heard["bytes"].endswith(b"\r\n.\r\n")


def test_an_acceptance_of_a_large_mail_before_its_dot_is_none() -> None:
    url, reads, _, serving = slow_listener(b"250 2.0.0 Ok: queued as NEVER\r\n")
    delivery = uvloop.run(hand_over(url, 5))
    reads.set()
    serving.join()
    assert delivery.reply is None and delivery.certain
