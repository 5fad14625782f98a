"""Readiness is what the probes say, all asked at once, none waited for longer than its time."""

from __future__ import annotations

import asyncio
import time

from app.core import owners
from app.core.db import Database
from app.core.errors import Unavailable
from app.observability import health


async def well() -> None:
    return None


async def silent() -> None:
    await asyncio.Event().wait()


async def missing() -> None:
    raise Unavailable("redis_missing", "no answer on the socket")


async def broken() -> None:
    raise ConnectionError("redis://user:secret@host")


def test_all_well_is_ready_whatever_the_samples_do() -> None:
    found = asyncio.run(health.readiness({"database": well, "sandbox": well}, "verifying"))
    assert found.ready
    assert found.body() == {"status": "ready", "checks": {"database": "ok", "sandbox": "ok"}, "reasons": {}, "samples": "verifying"}


def test_one_failure_is_not_ready_and_says_why_without_secrets() -> None:
    began = time.monotonic()
    probes = {"database": well, "redis": missing, "worker": broken, "sandbox": silent, "disk": silent}
    found = asyncio.run(health.readiness(probes, "off", timeout_s=0.1))
    assert time.monotonic() - began < 5
    assert not found.ready and found.checks["database"] == "ok"
    assert found.reasons == {
        "redis": "no answer on the socket",
        "worker": "ConnectionError",
        "sandbox": "no answer within 0.1 s",
        "disk": "no answer within 0.1 s",
    }


def test_the_database_answers_and_a_worker_is_one_with_a_lease(sqlite_database: Database) -> None:
    database = sqlite_database
    probes = {"database": health.database_probe(database), "worker": health.worker_probe(database)}
    assert asyncio.run(health.readiness(probes, "off")).checks == {"database": "ok", "worker": "failed"}
    owners.register(database, "worker", 15_000)
    assert asyncio.run(health.readiness(probes, "off")).ready
