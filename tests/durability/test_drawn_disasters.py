"""Disasters drawn from a seed, one after the other in one ledger: whom they hit, in which order, and how each mail breaks meanwhile.

In process, with the real runtime, a real SMTP server, a real lock and a real full disk, and a clock that jumps: an hour back, or past every
lease while a process sleeps. A seed is a test's name: `pytest -k 20261123` replays it. The long form, with processes, is `make chaos`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from app.connectors.scripted import scripted
from app.connectors.smtp import SmtpEffect
from app.connectors.smtp_server_url import parse_smtp_url
from app.core.clock import SystemClock
from app.runtime import queue, views
from app.runtime.process import Call, Runtime
from app.runtime.recovery import sweep
from app.runtime.redrives import Selection, redrive_effects, resolve_effects
from app.sandbox.sandbox import Sandbox
from tests.chaos.surroundings import lock_database
from tests.durability.disks import Disk, small_disk
from tests.durability.recital import Recital
from tests.support.smtp import SmtpProcess, start_smtp
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, program_of, sender_spec, silence

pytestmark = pytest.mark.anyio
SEEDS = (20261122, 20261123)
LEASE_S, LOCKED_S, HOUR_MS, LATER_MS = 15.0, 0.3, 3_600_000, 60_000
FRESH, KNOWN, CONNECTIONS = 14, 3, 3
WAYS = (
    *("reject450", "close421", "data451", "data421", "dropbefore", "dropmiddle", "dropafter", "losereply", "cutreply", "garble"),
    *("reject550", "data554"),
)
REFUSED = ("reject550", "data554")
RETRY = {"retry": {"max_attempts": 9, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1}}
OVER = ("completed", "failed", "cancelled", "quarantined")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class JumpingClock:
    """The machine's time, and what was jumped: `step` sets the date, `sleep` lets time go by that nobody noticed."""

    date_ms: int = 0
    slept_ms: int = 0
    real: SystemClock = field(default_factory=SystemClock)

    def now(self) -> int:
        return self.real.now() + self.date_ms + self.slept_ms

    def monotonic(self) -> int:
        return self.real.monotonic() + self.slept_ms

    def step(self, ms: int) -> None:
        self.date_ms += ms

    def sleep(self, ms: int) -> None:
        self.slept_ms += ms


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, clock: JumpingClock) -> Iterator[Disk]:
    with small_disk(request, tmp_path, request.param, "64m", clock) as made:
        yield made


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[SmtpProcess]:
    server = start_smtp(tmp_path, "--delay-ms", "15")
    server.rules.write_text(json.dumps([{"to": f"{way}.*", "do": way, "each": 1} for way in WAYS] + [{"to": "*", "do": "delay15"}]))
    yield server
    server.stop()


@dataclass
class Life:
    """One ledger, and what befalls those who work on it."""

    folder: Path
    disk: Disk
    clock: JumpingClock
    smtp: SmtpProcess
    rng: random.Random
    world: World
    to: list[str] = field(default_factory=list)

    async def befall(self, disaster: str) -> None:
        """A run to fresh addresses and some known ones; once it sends, the disaster; then the run is brought to its end."""
        fresh = [f"{self._way()}.{len(self.to) + n}@example.org" for n in range(FRESH)]
        known = self.rng.sample(self.to, min(KNOWN, len(self.to)))
        self.to += fresh
        call = Call({"group": "g", "to": self.rng.sample([*fresh, *known], FRESH + len(known))}, here=False)
        begun, _ = await self.world.runtime.begin(CALLER, self.world.programs[1], call)
        before = len(self.smtp.accepted())
        working = asyncio.create_task(self.world.runtime.execute(begun.run_id))
        await until(lambda: working.done() or len(self.smtp.accepted()) > before, what="the run sends")
        await DISASTERS[disaster](self, begun.run_id)
        with suppress(Exception):  # what a full disk or a locked database throws at a worker is none of the callers' business
            await working

        async def over() -> bool:
            for run_id in {begun.run_id, *sweep(self.world.database)}:
                await self.world.runtime.execute(run_id)
            self.clock.sleep(1000)
            return self.world.run(begun.run_id)["state"] in OVER

        await until(over, 60, f"the run is over after {disaster}")
        assert self.world.run(begun.run_id)["state"] == "completed"

    def _way(self) -> str:
        return self.rng.choice(WAYS) if self.rng.random() < 0.4 else "fine"

    async def other(self) -> Runtime:
        """A second process."""
        made = self.world.another()
        await made.start()
        return made

    async def settle(self) -> None:
        """Work the queue until nothing waits."""

        async def worked() -> bool:
            self.clock.sleep(1000)
            sweep(self.world.database)
            await queue.work_queue(self.world.runtime)
            return queue.next_due(self.world.database) is None

        await until(worked, 60, what="no retry waits")

    async def resolve(self) -> None:
        """What an operator does: look the unknowns up, send the dead letters round again."""
        accepted = {line["to"] for line in self.smtp.accepted()}
        rows = self.rows()
        for row in rows.values():
            if row["state"] == "unknown":
                verdict = "confirm_done" if row["subject"] in accepted else "retry"
                resolve_effects(CALLER, self.world.database, Selection((row["effect_id"],)), verdict, "looked up")
        dead = tuple(row["effect_id"] for row in rows.values() if row["state"] == "dead")
        if dead:
            redrive_effects(CALLER, cast("Any", self.world), Selection(dead), "it takes mail again")
        await self.settle()

    def rows(self) -> dict[str, dict[str, Any]]:
        page = views.read_ledger(CALLER, self.world.database, "notes", "g", limit=500)
        return {row["subject"]: row for row in page["items"]}

    def doubts(self) -> Counter[str]:
        query = "SELECT effect.subject FROM effect JOIN effect_event AS e ON e.effect_id = effect.id WHERE e.after = 'unknown'"
        with self.world.database.reading() as session:
            return Counter(row[0] for row in session.connection().exec_driver_sql(query))


async def nothing(life: Life, run_id: str) -> None:
    """Mail breaks as it does all the time."""


async def two_workers(life: Life, run_id: str) -> None:
    """Another one takes the run that is being worked."""
    other = await life.other()
    assert await other.execute(run_id) is None
    await other.stop()


async def death(life: Life, run_id: str) -> None:
    """The supervisor believes it dead and gives its work to the next; it goes on all the same, a zombie."""
    zombie = life.world.runtime
    await silence(zombie)
    await life.world.boot()
    for waiting in sweep(life.world.database):
        await life.world.runtime.execute(waiting)


async def sleep(life: Life, run_id: str) -> None:
    """It sleeps past its lease, another one takes over, it wakes and goes on."""
    other = await life.other()
    life.clock.sleep(LATER_MS)
    for waiting in sweep(life.world.database):
        await other.execute(waiting)
    await other.stop()


async def clock_back(life: Life, run_id: str) -> None:
    """Somebody sets the clock back by an hour."""
    life.clock.step(-HOUR_MS)


async def clock_forth(life: Life, run_id: str) -> None:
    """And puts it right, or wrong to the other side: every lease ends at once."""
    life.clock.step(HOUR_MS)


async def lock(life: Life, run_id: str) -> None:
    """Another process locks the database, for a minute by the clock."""
    folder = life.folder / f"lock{life.rng.random()}"
    folder.mkdir()
    locking = asyncio.create_task(asyncio.to_thread(lock_database, folder, life.world.database.url, LOCKED_S))
    await until(lambda: locking.done() or any("held" in each.read_text() for each in folder.iterdir()), what="it is locked")
    life.clock.sleep(LATER_MS)
    await locking


async def full_disk(life: Life, run_id: str) -> None:
    """There is no room for a moment."""
    with life.disk.full():
        before = len(life.smtp.accepted())
        with suppress(AssertionError):  # where it cannot go on at all
            await until(lambda: len(life.smtp.accepted()) > before + CONNECTIONS, 0.3)


DISASTERS: Mapping[str, Callable[[Life, str], Awaitable[None]]] = {
    each.__name__: each for each in (nothing, two_workers, death, sleep, clock_back, clock_forth, lock, full_disk)
}


@pytest.mark.parametrize("policy", ["hold", "retry"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_befalls_it_a_ledger_loses_nothing_and_doubles_nothing_without_a_doubt(
    tmp_path: Path, disk: Disk, clock: JumpingClock, smtp: SmtpProcess, seed: int, policy: str
) -> None:
    rng = random.Random(f"{seed} {policy}")
    email = SmtpEffect(parse_smtp_url(smtp.url), CONNECTIONS, clock)
    await email.start()
    connectors = scripted()
    connectors = replace(connectors, effects={**connectors.effects, "email.send": email})
    program = program_of(sender_spec(**RETRY, on_unknown=policy))
    life = Life(tmp_path, disk, clock, smtp, rng, World(disk.database, cast("Sandbox", Recital()), connectors, {1: program}, LEASE_S))
    await life.world.start()
    try:
        for disaster in rng.sample(list(DISASTERS), len(DISASTERS)):
            print(f"seed {seed}, {policy}: {disaster}")
            await life.befall(disaster)
        clock.sleep(2 * HOUR_MS)  # what the clock was set back by is what a retry may have to wait
        await life.settle()
        judge(life, policy)
        await life.resolve()
        await life.resolve()
        judge(life, policy)
        assert {row["state"] for row in life.rows().values()} <= {"done", "failed"}
    finally:
        await life.world.stop()
        await email.stop()


def judge(life: Life, policy: str) -> None:
    """The ledger against the server's log."""
    rows, lines, doubted = life.rows(), life.smtp.accepted(), life.doubts()
    accepted = Counter(line["to"] for line in lines)
    assert rows.keys() == set(life.to), "nobody is lost"
    for to, row in rows.items():
        assert row["state"] in ("done", "unknown", "dead") or (row["state"] == "failed" and to.startswith(REFUSED)), (to, row["state"])
        assert row["state"] != "done" or accepted[to], f"{to} is done and was never accepted"
        assert row["state"] != "failed" or not accepted[to], f"{to} failed and was accepted"
        assert accepted[to] <= (1 if policy == "hold" else 1 + doubted[to]), f"{to} was doubled without a doubt"
    assert len({(line["to"], line["message_id"]) for line in lines}) == len(accepted), "a copy has the Message-ID of the first"
