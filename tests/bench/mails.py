"""The mails that every side sends: the same addresses, text and pool, as requests of a port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from app.connectors.port import Request
from app.connectors.smtp import SmtpEffect
from app.connectors.smtp_server_url import parse_smtp_url
from app.core.clock import SystemClock

CONNECTIONS = 32
TEXT = "Dear Customer,\n\n" + "all the news.\n" * 20


def pool(url: str) -> SmtpEffect:
    """The product's own pool, not started."""
    return SmtpEffect(parse_smtp_url(url), CONNECTIONS, SystemClock())


def request(effect: SmtpEffect, number: int) -> Request:
    """One mail."""
    item = {"to": f"c{number}@example.org", "subject": f"News for Customer {number}", "text": TEXT}
    config = {"from_domain": "example.com"}
    identity = f"{number:064x}"
    return Request(
        effect_id=identity,
        tenant="default",
        tool="bare",
        effect="send",
        connector="email.send",
        config=config,
        item=effect.canonical(config, item),
        message_id=effect.message_id(identity, config),
        attempt=1,
        deadline=SystemClock().monotonic() + 600_000,
    )


async def send(effect: SmtpEffect, mail: Request) -> None:
    """Send it. Raises AssertionError unless the server took it."""
    reply = await effect.perform(mail)
    if reply.verdict != "done":
        raise AssertionError(str(reply))


async def in_lanes(work: Callable[[Request], Awaitable[None]], mails: Iterable[Request]) -> None:
    """Work on each mail, as many at once as there are connections."""
    left = iter(mails)

    async def lane() -> None:
        for mail in left:
            await work(mail)

    await asyncio.gather(*(lane() for _ in range(CONNECTIONS)))
