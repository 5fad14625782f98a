"""Campaign sends with the full ledger against the same SMTP pool without one, at the same SMTP server.

One server answers at once: that shows what the ledger costs where the world costs nothing. Others take 5 ms for each mail, as one in the
same room does, and 20, as one across a network does at the least: they show what is left of it there.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

import uvloop

from tests.bench import mails
from tests.bench.meter import commits
from tests.bench.table import Row
from tests.bench.trees import cpu_ms
from tests.support.service import Service
from tests.support.smtp import SmtpProcess

RECIPIENTS = 10_000
ROUNDS = 3


def campaign(service: Service, name: str, recipients: int, key: str = "") -> dict[str, object]:
    """The finished run of one campaign to the first customers, by reference."""
    args = {"campaign_id": name, "template_id": "news", "recipients": {"collection": "customers"}}
    headers = {"Idempotency-Key": key} if key else {}
    run: dict[str, object] = service.admin.post("/tools/campaign_send_bulk/runs", {"args": args, "wait_s": 110}, headers=headers)
    if run["state"] != "completed":
        raise AssertionError(f"the campaign to {recipients} was not sent: {run['state']} {run.get('error')} {run.get('result')}")
    return run


def with_ledger(service: Service, smtp: SmtpProcess, name: str, recipients: int) -> float:
    """Sends a second of one call."""
    before, began = len(smtp.accepted()), time.perf_counter()
    run = campaign(service, name, recipients)
    took = time.perf_counter() - began
    result = run["result"]
    if not isinstance(result, dict) or result["sent"] != recipients or len(smtp.accepted()) - before != recipients:
        raise AssertionError(f"not everyone was sent to: {result}")
    return recipients / took


async def bare(smtp: SmtpProcess, recipients: int) -> float:
    """Sends a second of the same pool, with the same mails, and no ledger."""
    effect = mails.pool(smtp.url)
    await effect.start()
    prepared = [mails.request(effect, number) for number in range(recipients)]
    began = time.perf_counter()
    await mails.in_lanes(partial(mails.send, effect), prepared)
    took = time.perf_counter() - began
    await effect.stop()
    return recipients / took


def measured(service: Service, smtp: SmtpProcess, recipients: int, server: str) -> list[Row]:
    """The best of each side over rounds in turns."""
    ours: list[float] = []
    theirs: list[float] = []
    written, spent = commits(service), cpu_ms(service.pid)
    for round_ in range(ROUNDS):
        ours.append(with_ledger(service, smtp, f"bench {server} {round_}", recipients))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            theirs.append(runner.run(bare(smtp, recipients)))
    sent = ROUNDS * recipients
    return [
        Row(
            f"sends/s of a campaign of {recipients:,}, {server}",
            max(ours),
            max(theirs),
            "/s",
            "at least 0.8",
            "the same SMTP pool without a ledger",
            least=0.8,
        ),
        Row("  commits a send", (commits(service) - written) / sent, None, "", ""),
        Row("  CPU a send, all processes of the service", (cpu_ms(service.pid) - spent) / sent, None, "ms", ""),
    ]
