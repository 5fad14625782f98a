"""Limits by recipient domain hold over all processes together, and hold nobody else up: on both databases, in real time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from app.connectors.port import LaneLimits, Reply, Request
from app.connectors.smtp import SmtpEffect, domain_of
from app.connectors.smtp_server_url import parse_smtp_url
from app.core import owners
from app.core.clock import SystemClock
from app.core.db import Database
from app.core.writer import GroupWriter
from app.runtime import recovery, retention, turns
from app.runtime.flow.lanes import Lanes
from app.runtime.retention import Keep
from app.runtime.turns import Turns
from tests.support.rates import EARLY_S, early_by
from tests.support.requests import EMAIL_CONFIG, email_to, request_for
from tests.support.waiting import until_async as until

pytestmark = pytest.mark.anyio
CLOCK = SystemClock()
SERVER = parse_smtp_url("smtp://127.0.0.1:1")  # nobody connects to it
ONE, OTHER = "one.example.com", "other.example.com"


@dataclass
class World:
    """What all processes send to: when each mail began, by domain, and how many were under way at once at most."""

    takes_s: float = 0.0
    begun: dict[str, list[float]] = field(default_factory=dict)
    flying: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)

    async def perform(self, request: Request) -> Reply:
        domain, began = domain_of(request), time.monotonic()
        self.begun.setdefault(domain, []).append(began)
        self.flying[domain] += 1
        self.most[domain] = max(self.most[domain], self.flying[domain])
        if self.takes_s:
            await until(lambda: time.monotonic() - began >= self.takes_s, what="the server takes its time")
        self.flying[domain] -= 1
        return Reply("done", receipt={})


@dataclass
class Task:
    request: Request


@dataclass
class Process:
    """One process's part: its own port, lanes, writer and owner row."""

    world: World
    port: SmtpEffect
    lanes: Lanes
    put_off: list[tuple[str, int]] = field(default_factory=list)

    async def send(self, *addresses: str) -> None:
        """In six lanes of work, as the runtime does."""
        requests = [request_for(self.port, EMAIL_CONFIG, email_to(to), effect_id=f"{id(self)} {to}") for to in addresses]
        queue = Turns(self.port, [Task(request) for request in requests], self._put_off, self.lanes)

        async def lane() -> None:
            while (task := await queue.next(lambda: True)) is not None:
                await self.world.perform(task.request)
                queue.ended(task)

        await asyncio.gather(*(lane() for _ in range(6)))

    async def _put_off(self, task: Task, wait_ms: int) -> None:
        self.put_off.append((task.request.item["to"], wait_ms))


def _process(world: World, limits: LaneLimits | None, writer: GroupWriter, owner: str) -> Process:
    return Process(world, SmtpEffect(SERVER, 6, CLOCK, limits=limits), Lanes(writer, CLOCK, lambda: owner))


@asynccontextmanager
async def processes(database: Database, world: World, limits: LaneLimits | None, number: int = 2) -> AsyncIterator[list[Process]]:
    writers = [GroupWriter(database) for _ in range(number)]
    names = [owners.register(database, "worker", 60_000) for _ in range(number)]
    made = [_process(world, limits, writer, name) for writer, name in zip(writers, names, strict=True)]
    try:
        yield made
    finally:
        for process, writer in zip(made, writers, strict=True):
            await process.lanes.stop()
            writer.close()


def many(domain: str, number: int, who: int = 0) -> list[str]:
    return [f"u{who}.{index}@{domain}" for index in range(number)]


async def test_two_processes_keep_a_domains_limit_a_second_together(database: Database) -> None:
    world, rate, each = World(), 40, 30
    async with processes(database, world, LaneLimits(per_second=rate)) as both:
        began = time.monotonic()
        await asyncio.gather(*(process.send(*many(ONE, each, who), *many(OTHER, 3, who)) for who, process in enumerate(both)))
    times = world.begun[ONE]
    assert len(times) == 2 * each and [process.put_off for process in both] == [[], []]
    assert early_by(times, rate, began) <= EARLY_S
    assert max(times) - began < 2 * (2 * each / rate) + 1.0, "the limit is used"
    assert max(world.begun[OTHER]) < max(times), "the other domain goes on meanwhile"


async def test_two_processes_keep_a_domains_limit_at_once_together_and_neither_is_left_out(database: Database) -> None:
    world, each = World(takes_s=0.03), 12
    async with processes(database, world, LaneLimits(at_once=2)) as both:
        await asyncio.gather(*(process.send(*many(ONE, each, who), *many(OTHER, 4, who)) for who, process in enumerate(both)))
    assert {domain: len(times) for domain, times in world.begun.items()} == {ONE: 2 * each, OTHER: 8}
    assert world.most[ONE] == 2 and world.most[OTHER] <= 2
    assert [process.put_off for process in both] == [[], []]


async def test_one_process_may_not_begin_while_another_has_the_only_place_and_may_once_that_is_dead(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_MS", 1000)  # five seconds would be waited for
    world = World()
    async with processes(database, world, LaneLimits(at_once=1)) as (dead, alive):
        await until(lambda: dead.lanes.take(ONE, LaneLimits(at_once=1), "effect"), what="it has the place")
        await alive.send(f"ann@{ONE}", f"ann@{OTHER}")
        assert [to for to, _ in alive.put_off] == [f"ann@{ONE}"] and list(world.begun) == [OTHER]
        owners.void(database, owner=dead.lanes.owner())
        await alive.send(f"ann@{ONE}")
        assert len(world.begun[ONE]) == 1


async def test_a_place_whose_process_died_long_ago_is_not_kept_for_it_though_nobody_asked_meanwhile(database: Database) -> None:
    world, only = World(), LaneLimits(at_once=1)
    async with processes(database, world, only) as (dead, alive):
        await until(lambda: dead.lanes.take(ONE, only, "effect"), what="it has the place")
        owners.void(database, owner=dead.lanes.owner())
        with database.writing() as session:
            session.connection().execute(sa.text("UPDATE owner SET renewed_at = renewed_at - 3700000 WHERE voided_at IS NOT NULL"))
        recovery.sweep(database)
        with database.reading() as session:
            assert session.connection().execute(sa.text("SELECT count(*) FROM owner")).scalar_one() == 1, "it is forgotten"
        await alive.send(f"ann@{ONE}")
    assert alive.put_off == [] and len(world.begun[ONE]) == 1


async def test_a_domain_that_takes_one_in_ten_seconds_is_put_off_and_the_place_in_time_is_used_by_whoever_comes_then(
    sqlite_database: Database,
) -> None:
    world = World()
    async with processes(sqlite_database, world, LaneLimits(per_second=0.1)) as (first, second):
        await first.send(f"ann@{ONE}")
        began = time.monotonic()
        await second.send(f"bob@{ONE}", f"bob@{OTHER}")
        assert time.monotonic() - began < 5, "nobody waits for what is too far off"
        ((to, wait_ms),) = second.put_off
        assert to == f"bob@{ONE}" and 5_000 < wait_ms <= 10_000
        assert len(world.begun[ONE]) == len(world.begun[OTHER]) == 1


async def test_an_operator_who_thinks_again_is_obeyed_by_what_begins_next(sqlite_database: Database) -> None:
    world = World()
    async with processes(sqlite_database, world, LaneLimits(per_second=2), 1) as (process,):
        await process.send(f"ann@{ONE}")
        process.port.limits = LaneLimits(at_once=3, per_second=50)
        await process.send(*many(ONE, 5))
        process.port.limits = None
        await process.send(*many(ONE, 5, 1))
    assert len(world.begun[ONE]) == 11 and process.put_off == []


async def test_what_is_not_limited_asks_nobody(sqlite_database: Database) -> None:
    world = World()
    async with processes(sqlite_database, world, None, 1) as (process,):
        await process.send(*many(ONE, 200))
        assert process.lanes.writer.commits == 0 and process.lanes._lanes == {}
    assert len(world.begun[ONE]) == 200


async def test_limits_that_nobody_has_asked_for_in_an_hour_are_forgotten(database: Database) -> None:
    def rows() -> list[Any]:
        with database.reading() as session:
            return list(session.connection().execute(sa.text("SELECT name FROM pacing ORDER BY name")).scalars())

    world = World()
    async with processes(database, world, LaneLimits(at_once=5, per_second=100), 1) as (process,):
        await process.send(*(f"u@d{number}.example.com" for number in range(5)))
        assert len(rows()) == 10
        shares = [lane.shares for lane in process.lanes._lanes.values() if lane.shares is not None]
        await until(lambda: all(share.resting for share in shares), what="its shares are given back, so nothing holds a row")
        with database.writing() as session:
            session.connection().execute(sa.text("UPDATE pacing SET next_us = next_us - 3700000000 WHERE name NOT LIKE '%d1.%'"))
        assert retention.prune(database, Keep(None, None))["limits"] == 8
        assert {name.rpartition(" ")[2] for name in rows()} == {"d1.example.com"}
        await process.send(*(f"v@d{number}.example.com" for number in range(5)))
    assert sum(map(len, world.begun.values())) == 10
