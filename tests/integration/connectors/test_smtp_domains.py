"""Limits by recipient domain against a real mail server, through the runtime's turns: a slow domain holds nobody else up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from app.connectors.connections import Connections, create_connection
from app.connectors.opening import Directory
from app.connectors.port import LaneLimits, PacedEffect, Reply, Request, is_paced
from app.connectors.smtp import SmtpEffect
from app.connectors.smtp_connected import ConnectedEmail
from app.connectors.smtp_server_url import parse_smtp_url
from app.connectors.vault import Vault
from app.core import owners
from app.core.actor import SYSTEM
from app.core.clock import SystemClock
from app.core.db import Database
from app.core.writer import GroupWriter
from app.runtime import turns
from app.runtime.flow.lanes import Lanes
from app.runtime.repository.flow import SLACK_US
from app.runtime.turns import Turns
from tests.support.requests import EMAIL_CONFIG, email_to, request_for
from tests.support.smtp import SmtpProcess

CLOCK = SystemClock()
LANES = 4
SLACK_S = SLACK_US / 1_000_000  # so far back may the first place lie


@dataclass
class Mail:
    """One task, with what became of it and when."""

    request: Request
    reply: Reply | None = None
    put_off_ms: int | None = None
    at: float = field(default=0.0)

    @property
    def domain(self) -> str:
        to: str = self.request.item["to"]
        return to.rpartition("@")[2]


def delivered(database: Database, port: PacedEffect, addresses: list[str], config: dict[str, Any] = EMAIL_CONFIG) -> list[Mail]:
    """Send to each in four lanes, as the runtime does."""
    owner = owners.register(database, "worker", 60_000)
    deadline = CLOCK.monotonic() + 60_000
    mails = [
        Mail(request_for(port, config, email_to(to), effect_id=f"effect_{number}", deadline=deadline))
        for number, to in enumerate(addresses)
    ]
    began = time.monotonic()

    async def put_off(mail: Mail, wait_ms: int) -> None:
        mail.put_off_ms = wait_ms

    async def lane(queue: Turns[Mail]) -> None:
        while (mail := await queue.next(lambda: True)) is not None:
            mail.reply = await port.perform(mail.request)
            mail.at = time.monotonic() - began
            queue.ended(mail)

    async def main() -> None:
        await port.start()  # type: ignore[attr-defined]  # both of these have it
        writer = GroupWriter(database)
        lanes = Lanes(writer, CLOCK, lambda: owner)
        queue = Turns(port, mails, put_off, lanes)
        await asyncio.gather(*(lane(queue) for _ in range(LANES)))
        await lanes.stop()
        writer.close()
        await port.stop()  # type: ignore[attr-defined]  # as above

    assert is_paced(port)
    uvloop.run(main())
    return mails


def rule(server: SmtpProcess, *rules: dict[str, Any]) -> None:
    server.rules.write_text(json.dumps(rules))


def smtp(server: SmtpProcess, **limits: Any) -> SmtpEffect:
    return SmtpEffect(parse_smtp_url(server.url), LANES, CLOCK, limits=LaneLimits(**limits) if limits else None)


def mixed(count: int) -> list[str]:
    return [f"u{number}@{'slow' if number % 2 else 'quick'}.example.com" for number in range(count)]


def test_a_slow_domain_does_not_hold_up_the_others(sqlite_database: Database, server: SmtpProcess) -> None:
    rule(server, {"to": "*@slow.example.com", "do": "delay150"})
    mails = delivered(sqlite_database, smtp(server, at_once=1), mixed(16))
    assert all(mail.reply is not None and mail.reply.verdict == "done" for mail in mails)
    quick, slow = ([mail.at for mail in mails if mail.domain == f"{name}.example.com"] for name in ("quick", "slow"))
    assert sum(at < max(quick) for at in slow) <= 3, "the quick ones do not wait for the slow"
    assert max(slow) >= 8 * 0.15
    assert len(server.accepted()) == 16


def test_a_domain_that_says_421_rests_while_the_others_go_on(sqlite_database: Database, server: SmtpProcess) -> None:
    rule(server, {"to": "*@slow.example.com", "do": "close421", "times": 1})
    mails = delivered(sqlite_database, smtp(server), mixed(12))
    slow = [mail for mail in mails if mail.domain == "slow.example.com"]
    refused = [mail for mail in mails if mail.reply is not None and mail.reply.verdict != "done"]
    assert [mail.reply.code for mail in refused if mail.reply] == ["smtp_421"]
    assert refused[0] in slow
    assert len(server.accepted()) == 11
    assert sorted(mail.at for mail in slow)[-1] >= 0.25  # it rested
    assert max(mail.at for mail in mails if mail not in slow) < max(mail.at for mail in slow), "the others did not wait for it"


def test_mails_begin_so_many_a_second(sqlite_database: Database, server: SmtpProcess) -> None:
    mails = delivered(sqlite_database, smtp(server, per_second=20), [f"u{number}@one.example.com" for number in range(11)])
    times = sorted(mail.at for mail in mails)
    assert times[-1] >= 10 / 20 - SLACK_S
    assert len(server.accepted()) == 11


def test_what_waits_too_long_is_put_off_and_counts_no_attempt(
    sqlite_database: Database, server: SmtpProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_MS", 300)  # five seconds would be waited for
    mails = delivered(sqlite_database, smtp(server, per_second=2), [f"u{number}@one.example.com" for number in range(6)])
    sent = [mail for mail in mails if mail.reply is not None]
    put_off = [mail for mail in mails if mail.put_off_ms is not None]
    assert (len(sent), len(put_off)) == (1, 5)
    assert all(mail.put_off_ms is not None and mail.put_off_ms >= 400 for mail in put_off)
    assert len(server.accepted()) == 1


def test_the_limits_of_a_named_connection_are_its_own(
    sqlite_database: Database, start_server: Callable[..., SmtpProcess], tmp_path: Any
) -> None:
    server = start_server()
    connections = Connections(sqlite_database, Vault(tmp_path / "home"))
    settings = {"host": "127.0.0.1", "port": server.port, "tls": "none", "connections": LANES, "per_domain_per_second": 20}
    create_connection(SYSTEM, connections, "mail", "smtp", settings)
    config = {**EMAIL_CONFIG, "connection": "mail"}
    port = ConnectedEmail(Directory(connections), CLOCK)
    mails = delivered(sqlite_database, port, [f"u{number}@one.example.com" for number in range(7)], config)
    assert all(mail.reply is not None and mail.reply.verdict == "done" for mail in mails)
    assert max(mail.at for mail in mails) >= 6 / 20 - SLACK_S
    unknown = delivered(sqlite_database, port, ["ann@example.com"], {**config, "connection": "nobody"})[0].reply
    assert unknown is not None
    assert (unknown.verdict, unknown.code) == ("refused_now", "connection_unknown")
