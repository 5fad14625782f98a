"""Campaigns of growing size by reference: memory of each process, cost per recipient, and the ledger's last page against its first."""

from __future__ import annotations

import json
import sqlite3
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from app.core import pages
from tests.bench.meter import forget_peak, peak_kb
from tests.bench.table import Row
from tests.bench.trees import cpu_ms
from tests.support.service import Service
from tests.support.waiting import until

BOUNDED = (1_000, 10_000, 30_000)
FULL = (1_000, 100_000, 1_000_000)
WARM = 100_000
WHOLLY = {"web": 100, "worker": 0}
"""Campaigns before those that are measured, one by each process, and for how many seconds the web may work on it: what a process keeps
whatever it does (the database's page caches, the allocator's arenas) is full then, so what grows afterwards grows with the campaign.
"""
PAGE_TIMES = 30
FLAT = 1.1
CONSTANT = 1.25
"""How far what should stay the same may be off: caches fill and machines are noisy."""
_LINES = 20_000
_LONGEST_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Size:
    """What a campaign to `recipients` took: peaks in KiB, CPU of the whole tree in ms, seconds."""

    recipients: int
    web_kb: int
    worker_kb: int
    guest_kb: int
    cpu_ms: float
    took_s: float


def measured(service: Service, sizes: Sequence[int]) -> list[Row]:
    """Rows for the smallest against the largest size."""
    _import(service, "contacts", 0, WARM)
    for name, web_s in WHOLLY.items():
        _sent(service, "contacts", WARM, web_s, f"warm {name}")
    imported = 0
    found: list[Size] = []
    for recipients in sizes:
        _import(service, "subscribers", imported, recipients)
        imported = recipients
        found.append(_sent(service, "subscribers", recipients, 100, _group(recipients)))
        print(f"    {found[-1]}", flush=True)
    small, large = found[0], found[-1]
    rows = [_slope(name, small, large) for name in ("web", "worker", "guest")]
    each = [size.cpu_ms / size.recipients for size in (found[-2], large)]
    cost = f"CPU a recipient, {large.recipients:,} against {found[-2].recipients:,}"
    return [*rows, Row(cost, each[1], each[0], "ms", "1", "itself", most=CONSTANT), _pages(service, large.recipients)]


def _import(service: Service, collection: str, first: int, count: int) -> None:
    headers = {"Content-Type": "application/x-ndjson"}
    for start in range(first, count, _LINES):
        numbers = range(start, min(start + _LINES, count))
        lines = (json.dumps({"key": f"s{n}", "body": {"email": f"s{n}@example.org", "name": f"Customer {n}"}}) + "\n" for n in numbers)
        service.admin.post(f"/records/{collection}/imports", content="".join(lines).encode(), headers=headers)


def _group(recipients: int) -> str:
    return f"scale {recipients}"


def _sent(service: Service, collection: str, recipients: int, web_s: int, campaign: str) -> Size:
    """A campaign to the whole collection, by the web process for so many seconds at most, then by the worker."""
    watched = {name: service.process.pid(name) for name in ("web", "worker")}
    for pid in watched.values():
        forget_peak(pid)
    before, began = cpu_ms(service.pid), time.perf_counter()
    args = {"campaign_id": campaign, "template_id": "news", "recipients": {"collection": collection}}
    run = service.admin.post("/tools/campaign_send_bulk/runs", {"args": args, "wait_s": web_s})
    run = until(lambda: _over(service, run["id"]), _LONGEST_S, f"a campaign to {recipients} is over", every_s=1.0)
    took = time.perf_counter() - began
    if run["state"] != "completed" or run["result"]["sent"] != recipients:
        raise AssertionError(f"the campaign to {recipients} was not sent: {run['state']} {run.get('error')} {run.get('result')}")
    peaks = {name: peak_kb(pid) for name, pid in watched.items()}
    return Size(recipients, peaks["web"], peaks["worker"], run["usage"]["rss_kb"], cpu_ms(service.pid) - before, took)


def _over(service: Service, run_id: str) -> dict[str, Any] | None:
    run: dict[str, Any] = service.admin.get(f"/runs/{run_id}")
    return run if run["state"] in ("completed", "failed", "cancelled", "quarantined") else None


def _slope(name: str, small: Size, large: Size) -> Row:
    first, last = getattr(small, f"{name}_kb"), getattr(large, f"{name}_kb")
    slope = (last - first) * 1024 / (large.recipients - small.recipients)
    what = f"peak memory of the {name}, {large.recipients:,} against {small.recipients:,} recipients ({slope:+.1f} bytes each)"
    return Row(what, last / 1024, first / 1024, "MiB", "1, flat", "itself", most=FLAT)


def _pages(service: Service, recipients: int) -> Row:
    """The median time of the ledger's last page against its first, asked for in turns."""
    group = _group(recipients)
    with closing(sqlite3.connect(service.home / "toolmint.db")) as store:
        (last,) = store.execute(
            "SELECT seq FROM effect WHERE ledger = 'campaigns' AND ledger_group = ? ORDER BY seq DESC LIMIT 1 OFFSET 50", [group]
        ).fetchone()
    path = f"/ledgers/campaigns/{quote(group, safe='')}"
    times: dict[str | None, list[float]] = {None: [], pages.encode([last]): []}
    for _ in range(PAGE_TIMES):
        for cursor, taken in times.items():
            began = time.perf_counter()
            rows = service.admin.get(path, cursor=cursor, limit=50)["items"]
            taken.append((time.perf_counter() - began) * 1000)
            if len(rows) != 50:
                raise AssertionError(f"a page of {len(rows)} rows")
    first, end = (statistics.median(taken) for taken in times.values())
    return Row(f"a ledger page at row {recipients:,}", end, first, "ms", "1", "the page at row 1", most=CONSTANT)
