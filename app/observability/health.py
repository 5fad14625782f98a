"""Health: whether this installation can do its work now, from probes that the composition root passes in.

It refuses to be: a repair. It also says nothing that a stranger could use: names and short reasons only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from app.core import owners
from app.core.db import Database
from app.core.errors import ToolmintError, Unavailable

Probe = Callable[[], Awaitable[None]]
Samples = Literal["off", "verifying", "published"]
TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` answers: 200 with the body if `ready`, else 503 with it."""

    ready: bool
    checks: Mapping[str, str]
    reasons: Mapping[str, str]
    samples: Samples

    def body(self) -> dict[str, Any]:
        """`{"status", "checks": {name: "ok" | "failed"}, "reasons", "samples"}`."""
        status = "ready" if self.ready else "not_ready"
        return {"status": status, "checks": dict(self.checks), "reasons": dict(self.reasons), "samples": self.samples}


async def readiness(probes: Mapping[str, Probe], samples: Samples, timeout_s: float = TIMEOUT_S) -> Readiness:
    """Ask every probe at once, each for at most `timeout_s`. A probe says that all is well by returning, else it raises."""
    reasons = await asyncio.gather(*(_reason(probe, timeout_s) for probe in probes.values()))
    failed = {name: reason for name, reason in zip(probes, reasons, strict=True) if reason}
    return Readiness(not failed, {name: "failed" if name in failed else "ok" for name in probes}, failed, samples)


async def _reason(probe: Probe, timeout_s: float) -> str:
    try:
        await asyncio.wait_for(probe(), timeout_s)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except ToolmintError as error:
        return error.detail
    except Exception as error:  # noqa: BLE001  # whatever breaks a probe is its answer; its text may hold addresses
        return type(error).__name__
    return ""


def database_probe(database: Database) -> Probe:
    """The database answers a query."""

    def ask() -> None:
        with database.reading() as session:
            session.connection().execute(sa.text("SELECT 1"))

    return lambda: asyncio.to_thread(ask)


def worker_probe(database: Database) -> Probe:
    """At least one worker holds a lease."""

    def ask() -> None:
        if owners.alive(database, "worker") == 0:
            raise Unavailable("worker_missing", "no worker holds a lease", fix="Start one: `toolmint up` keeps one running.")

    return lambda: asyncio.to_thread(ask)
