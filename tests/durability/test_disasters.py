"""What happens around the service: a full disk, a locked database, a clock that goes back, mail servers that break at each phase.

In process, with the real runtime, the real SMTP connector against a real server, and a clock of our own where time matters.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy.exc import OperationalError

from app.connectors.scripted import scripted
from app.connectors.smtp import SmtpEffect
from app.connectors.smtp_server_url import parse_smtp_url
from app.core.clock import ScriptedClock, SystemClock
from app.core.db import Database
from app.runtime import queue, views
from app.runtime.process import Call
from app.runtime.recovery import sweep
from app.runtime.redrives import Selection, resolve_effects
from app.sandbox.sandbox import Sandbox
from tests.chaos.surroundings import lock_database
from tests.durability.disks import Disk, small_disk
from tests.durability.recital import Recital
from tests.support.smtp import SmtpProcess, start_smtp
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, program_of, sender_spec, silence

pytestmark = pytest.mark.anyio
SEED = 20261122
FAST = {"retry": {"max_attempts": 5, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[SmtpProcess]:
    server = start_smtp(tmp_path)
    yield server
    server.stop()


@contextlib.asynccontextmanager
async def world(database: Database, email: SmtpEffect | None = None, **changes: object) -> AsyncIterator[World]:
    """The runtime with guests that need no sandbox; `email` is the real connector."""
    connectors = scripted()
    if email is not None:
        await email.start()
        connectors = replace(connectors, effects={**connectors.effects, "email.send": email})
    lease_s = float(str(changes.pop("lease_s", 15.0)))
    spec = sender_spec(**{**FAST, **changes})
    made = World(database, cast("Sandbox", Recital()), connectors, {1: program_of(spec)}, lease_s)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        if email is not None:
            await email.stop()


async def settled(made: World) -> None:
    """Do a worker's part until nothing waits: with a short lease a process that stood still has lost its run, and takes it up again."""

    async def worked() -> bool:
        for run_id in sweep(made.database):
            await made.runtime.execute(run_id)
        await queue.work_queue(made.runtime)
        runs = views.list_runs(CALLER, made.database)["items"]
        return all(run["state"] == "completed" for run in runs) and queue.next_due(made.database) is None

    await until(worked, 60, what="no run and no retry waits")


FAULTS = (
    *("reject450", "close421", "hangearly", "dropbefore", "dropmiddle", "data451", "data421"),
    *("dropafter", "losereply", "cutreply", "garble", "hang"),
)
GOOD = {"reject550": "failed", "data554": "failed"}


@pytest.mark.parametrize("policy", ["hold", "retry"])
async def test_a_mail_server_that_breaks_at_each_phase_costs_no_mail_and_doubles_none_without_a_doubt(
    database: Database, smtp: SmtpProcess, policy: str
) -> None:
    chance = random.Random(SEED)
    words = [*FAULTS, *GOOD, *([""] * 12)] * 2
    chance.shuffle(words)
    to = [f"{word or 'fine'}.{number}@example.org" for number, word in enumerate(words)]
    smtp.rules.write_text(
        "["
        + ",".join(
            f'{{"to": "{address}", "do": "{word}", "times": 1}}, {{"to": "{address}", "do": "delay0"}}'
            for address, word in zip(to, words, strict=True)
            if word in FAULTS
        )
        + "]"
    )
    email = SmtpEffect(parse_smtp_url(smtp.url), 4, SystemClock())
    async with world(database, email, on_unknown=policy, lease_s=3.0) as made:
        await made.call(group="g", to=to)
        await settled(made)
        states = made.states()
        accepted = Counter(line["to"] for line in smtp.accepted())
        doubtful = {address for address, state in states.items() if state == "unknown"}
        for address, word in zip(to, words, strict=True):
            expected = {GOOD.get(word, "done")} | ({"unknown"} if policy == "hold" and word in FAULTS else set())
            assert states[address] in expected, (address, states[address])
            assert accepted[address] <= (2 if policy == "retry" and word in FAULTS else 1), address
            assert states[address] != "done" or accepted[address], f"{address} is done and was never accepted"
        assert (not doubtful) is (policy == "retry")
        for address in doubtful:
            identity = next(
                row["effect_id"]
                for row in views.list_effects(CALLER, database, state="unknown", limit=500)["items"]
                if row["subject"] == address
            )
            resolve_effects(CALLER, database, Selection((identity,)), "confirm_done" if accepted[address] else "retry", "looked up")
        await settled(made)
        accepted = Counter(line["to"] for line in smtp.accepted())
        assert set(made.states().values()) == {"done", "failed"}
        if policy == "hold":
            assert max(accepted.values()) == 1, "nothing was doubled"
        assert len({(line["to"], line["message_id"]) for line in smtp.accepted()}) == len(accepted), (
            "a copy has the Message-ID of the first"
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with small_disk(request, tmp_path, request.param) as made:
        yield made


async def test_a_full_disk_stops_the_run_and_loses_and_doubles_nothing_once_there_is_room(disk: Disk) -> None:
    database = disk.database
    disk.limit()
    to = [f"{'x' * 60}{number}@example.org" for number in range(3000)]
    async with world(database) as made:
        begun, execution = await made.runtime.begin(CALLER, made.programs[1], Call({"group": "g", "to": to[:3]}))
        assert execution is not None
        assert (await made.runtime.drive(execution)).state == "completed"
        with pytest.raises(OperationalError, match=r"disk is full|No space left"):
            await made.runtime.begin(CALLER, made.programs[1], Call({"group": "g", "to": to}))
            for number in range(0, 3000, 100):
                await made.call(group="g", to=to[number : number + 100])
        sent = made.sent()
        assert len(set(sent)) == len(sent), "nothing was doubled"
        await silence(made.runtime)
        await asyncio.to_thread(disk.grow)
        await made.boot()
        for run_id in sweep(database):
            await made.runtime.execute(run_id)
        await made.call(group="g", to=to[:600])
        assert made.run(begun.run_id)["state"] == "completed"
        counts = Counter(made.sent())
        assert max(counts.values()) == 1 and counts.keys() >= set(to[:600])
    if database.path is not None:
        with sqlite3.connect(database.path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_database_that_another_process_locks_for_long_costs_time_and_nothing_else(
    database: Database, smtp: SmtpProcess, tmp_path: Path
) -> None:
    seconds = float(os.environ.get("TOOLMINT_LOCK_S", "4"))
    email = SmtpEffect(parse_smtp_url(smtp.url), 4, SystemClock())
    to = [f"u{number}@example.org" for number in range(400)]
    async with world(database, email, lease_s=2.0, on_unknown="retry") as made:
        calling = asyncio.create_task(made.call(group="g", to=to))
        await until(lambda: calling.done() or len(smtp.accepted()) >= 3, 30, "sends are under way")
        began, ended = await asyncio.to_thread(lock_database, tmp_path, database.url, seconds)
        assert ended - began >= seconds * 1000 - 100
        await calling
        await settled(made)
        await made.call(group="g", to=to)
        await settled(made)
        assert set(made.states().values()) == {"done"} and len(made.states()) == len(to)
        copies = Counter((line["to"], line["message_id"]) for line in smtp.accepted())
        assert {address for address, _ in copies} == set(to)
        doubted = _doubts(database)
        assert all(number <= 1 + doubted[address] for (address, _), number in copies.items())


def _doubts(database: Database) -> Counter[str]:
    with database.reading() as session:
        query = "SELECT effect.subject FROM effect JOIN effect_event AS e ON e.effect_id = effect.id WHERE e.after = 'unknown'"
        return Counter(row[0] for row in session.connection().exec_driver_sql(query))


async def test_a_clock_that_goes_back_an_hour_repeats_nothing_and_holds_up_retries_no_longer_than_that(database_url: str) -> None:
    clock = ScriptedClock()
    with closing(Database(database_url, clock=clock, durable=False)) as database:
        async with world(database) as made:
            await made.call(group="g", to=["ann@example.org", "bob@example.org"])
            clock.advance(-3_600_000)
            begun, ending = await made.call(group="g", to=["ann@example.org", "cat@example.org"])
            assert ending is not None and ending.state == "completed"
            assert made.sent() == ["ann@example.org", "bob@example.org", "cat@example.org"]
            assert sweep(database) == [], "no lease is taken for ended"
            assert made.run(begun.run_id)["state"] == "completed"
            clock.advance(3_600_000)
            await made.call(group="g", to=["ann@example.org", "bob@example.org", "cat@example.org"])
            assert len(made.sent()) == 3


async def test_two_workers_on_one_run_perform_each_effect_once(database: Database) -> None:
    async with world(database) as made:
        other = made.another()
        await other.start()
        to = [f"u{number}@example.org" for number in range(60)]
        for round_ in range(5):
            call = Call({"group": f"g{round_}", "to": to}, here=False)
            begun, _ = await made.runtime.begin(CALLER, made.programs[1], call)
            endings = await asyncio.gather(*(runtime.execute(begun.run_id) for runtime in (made.runtime, other)))
            assert sorted(ending is None for ending in endings) == [False, True], "one of them has it"
        counts = Counter(made.sent())
        assert set(counts.values()) == {5} and len(counts) == 60
        await other.stop()
