"""Campaign sends with the full ledger against the same SMTP pool without one, at the same SMTP server."""

from __future__ import annotations

import asyncio
import time

import uvloop

from app.connectors.port import Request
from app.connectors.smtp import SmtpEffect
from app.connectors.smtp_server_url import parse_smtp_url
from app.core.clock import SystemClock
from tests.bench.table import Row
from tests.support.releases import import_customers
from tests.support.service import Service
from tests.support.smtp import SmtpProcess

RECIPIENTS = 10_000
CONNECTIONS = 10
ROUNDS = 3


def with_ledger(service: Service, smtp: SmtpProcess, round_: int) -> float:
    """Sends a second of one call with 10,000 recipients by reference."""
    if round_ == 0:
        import_customers(service, RECIPIENTS)
    args = {"campaign_id": f"bench-{round_}", "template_id": "news", "recipients": {"collection": "customers"}}
    before = len(smtp.accepted())
    began = time.perf_counter()
    run = service.admin.post("/tools/campaign_send_bulk/runs", {"args": args, "wait_s": 110})
    took = time.perf_counter() - began
    if run.get("result", {}).get("sent") != RECIPIENTS or len(smtp.accepted()) - before != RECIPIENTS:
        raise AssertionError(f"the campaign was not sent: {run['state']} {run.get('error')} {run.get('result')}")
    return RECIPIENTS / took


async def bare(smtp: SmtpProcess) -> float:
    """Sends a second of the same pool, with the same mails, and no ledger."""
    effect = SmtpEffect(parse_smtp_url(smtp.url), CONNECTIONS, SystemClock())
    await effect.start()
    text = "Dear Customer,\n\n" + "all the news.\n" * 20
    requests = iter([_request(effect, number, text) for number in range(RECIPIENTS)])

    async def lane() -> None:
        for request in requests:
            reply = await effect.perform(request)
            if reply.verdict != "done":
                raise AssertionError(str(reply))

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(CONNECTIONS)))
    took = time.perf_counter() - began
    await effect.stop()
    return RECIPIENTS / took


def _request(effect: SmtpEffect, number: int, text: str) -> Request:
    item = {"to": f"c{number}@example.org", "subject": f"News for Customer {number}", "text": text}
    config = {"from_domain": "example.com"}
    identity = f"{number:064x}"
    deadline = SystemClock().monotonic() + 600_000
    return Request(
        identity,
        "default",
        "bare",
        "send",
        "email.send",
        config,
        effect.canonical(config, item),
        effect.message_id(identity, config),
        1,
        deadline,
    )


def measured(service: Service, smtp: SmtpProcess) -> list[Row]:
    """The best of each side over rounds in turns."""
    ours: list[float] = []
    theirs: list[float] = []
    for round_ in range(ROUNDS):
        ours.append(with_ledger(service, smtp, round_))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            theirs.append(runner.run(bare(smtp)))
    return [Row("sends/s of a campaign of 10,000", max(ours), max(theirs), "/s", "0.6", "the same SMTP pool without a ledger")]
