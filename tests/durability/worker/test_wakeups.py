"""Redis is a wake-up channel: losing it, or all that it holds, costs latency and never work."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from app.cli import redis_server
from app.composition import Services, running
from app.core import faults, migration, outbox
from app.core.db import Database
from app.core.settings import Settings
from app.invocation.calling import Waiting, call_tool
from app.runtime.views import list_ledgers, read_run
from jobs.execute_run import execute_run
from jobs.floor import Floor, Stage, cancelled
from jobs.maintenance import CHORES, Chore, keep
from jobs.relay import Relay
from jobs.wire import redis_settings
from jobs.worker import attend
from tests.support.published import CALLER, COUNTER_ARGS, release, release_sender
from tests.support.waiting import until, until_async

pytestmark = pytest.mark.anyio
MANY = 3000  # so that a worker is stopped in the middle of them


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", tools_dir=tmp_path / "tools")


@dataclass(eq=False)
class Server:
    """The bundled Redis, to be killed and started at will."""

    settings: Settings
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = redis_server.command(self.settings)
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, 60, "Redis answers")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)

    def pause(self) -> None:
        """It listens and says nothing more, as behind a network that swallows."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def queued(self) -> int:
        with Redis.from_url(self.settings.redis) as client:
            return int(client.zcard("arq:queue"))

    def handed_over(self) -> int:
        """How often something was put into the queue since this Redis began."""
        with Redis.from_url(self.settings.redis) as client:
            return int(client.info("commandstats").get("cmdstat_zadd", {}).get("calls", 0))

    def forget_everything(self) -> None:
        with Redis.from_url(self.settings.redis) as client:
            client.flushall()

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.settings.redis) as client:
                return bool(client.ping())
        except RedisError:
            return False


@pytest.fixture
def redis(settings: Settings) -> Iterator[Server]:
    server = Server(settings)
    yield server
    server.kill()


@dataclass(eq=False)
class Diary:
    """A stage's work that only notes what it was woken for, and waits at the gate."""

    seen: list[str] = field(default_factory=list)
    at_once: int = 0
    most: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def work(self, _services: Services, subject: str) -> None:
        self.seen.append(subject)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        if subject == "bad":
            raise ValueError("this one fails")

    def stage(self, places: int = 4) -> Stage:
        return Stage(self.work, lambda _settings: places)


@dataclass(eq=False)
class Watched(Floor):
    """A floor that notes for whom a wake-up of Redis asks a place."""

    asked: list[str] = field(default_factory=list)

    async def admit(self, job: str, subject: str, patience_s: float) -> bool:
        self.asked.append(subject)
        return await super().admit(job, subject, patience_s)


@asynccontextmanager
async def services_of(settings: Settings) -> AsyncIterator[Services]:
    database = Database(settings.database)
    migration.migrate(database, settings.home / "backups")
    database.close()
    async with running(settings, "worker") as services:
        yield services


@asynccontextmanager
async def worker(
    services: Services, stages: Mapping[str, Stage], chores: Sequence[Chore] = (), *, listens: bool = True
) -> AsyncIterator[Watched]:
    """What a worker process runs; `listens` False: it relays to Redis but takes nothing from there."""
    floor = Watched(services, stages)
    connection = redis_settings(services.settings.redis)
    relay = Relay(services.database, connection, floor)
    loops = [relay.run(), *(keep(services, floor, chore) for chore in chores)]
    if listens:
        loops.append(attend(floor, connection))
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield floor
    finally:
        await cancelled(*tasks)
        await floor.close(5)
        await relay.close()


def wake(services: Services, job: str, *subjects: str) -> None:
    with services.database.writing() as session:
        for subject in subjects:
            outbox.enqueue(session, job, subject)


async def test_what_a_transaction_asks_for_goes_through_redis_and_is_done_once(settings: Settings, redis: Server) -> None:
    redis.start()
    diary = Diary()
    diary.gate.set()
    names = [f"s{number}" for number in range(60)]
    async with services_of(settings) as services, worker(services, {"note": diary.stage()}):
        wake(services, "note", *names)
        await until_async(lambda: len(diary.seen) >= 60, 30, "every wake-up arrives")
        await until_async(lambda: outbox.pending(services.database) == [], what="what was handed over is crossed out")
        await until_async(lambda: redis.queued() == 0, what="the queue is empty")
        assert sorted(diary.seen) == sorted(names)


async def test_a_relay_that_dies_before_it_crosses_a_wakeup_out_hands_it_over_again(settings: Settings, redis: Server) -> None:
    redis.start()
    diary = Diary()
    diary.gate.set()
    async with services_of(settings) as services:
        wake(services, "note", "twice at most")
        floor = Floor(services, {"note": diary.stage()})
        relay = Relay(services.database, redis_settings(settings.redis), floor)
        faults.arm("outbox.relayed=raise")
        try:
            with pytest.raises(faults.FaultInjected):
                await relay.once()
        finally:
            faults.arm("")
        assert len(outbox.pending(services.database)) == 1 and redis.queued() == 1
        assert await relay.once() == 1
        assert outbox.pending(services.database) == [] and redis.queued() == 1, "one wake-up has one name in the queue"
        await relay.close()


async def test_without_redis_a_worker_takes_its_work_from_the_database(settings: Settings, redis: Server) -> None:
    diary = Diary()
    diary.gate.set()
    async with services_of(settings) as services, worker(services, {"note": diary.stage()}):
        wake(services, "note", "before")
        await until_async(lambda: diary.seen == ["before"], 30, "it is done without Redis")
        redis.start()

        def one_more() -> bool:
            wake(services, "note", "after")
            return redis.handed_over() > 0

        await until_async(one_more, 30, "wake-ups go through Redis again")
        wake(services, "note", "later")
        await until_async(lambda: "later" in diary.seen and "after" in diary.seen, 30, "what goes through it is done")


async def test_a_worker_that_stops_while_a_silent_redis_is_told_what_ended_leaves_no_task_behind(settings: Settings, redis: Server) -> None:
    def tasks(of: str) -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() if f"Worker.{of}" in getattr(task.get_coro(), "__qualname__", "")]

    redis.start()
    diary = Diary()
    async with services_of(settings) as services, worker(services, {"note": diary.stage(places=1)}) as floor:
        wake(services, "note", "first")
        await until_async(lambda: diary.seen == ["first"] and redis.queued() == 0, 30, "it is at work")
        wake(services, "note", "second")
        await until_async(lambda: "second" in floor.asked, 30, "it waits for the place")
        redis.pause()
        diary.gate.set()
        await until_async(lambda: tasks("finish"), 30, "arq tells Redis that it has ended")
    assert tasks("") == [], "each of arq's tasks was waited for"


async def test_whatever_arq_stumbles_over_in_redis_wakeups_are_taken_again_once_it_can_go_on(
    settings: Settings, redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    redis.start()
    diary = Diary()
    diary.gate.set()
    async with services_of(settings) as services, worker(services, {"note": diary.stage()}):
        with Redis.from_url(settings.redis) as client:
            client.zadd("arq:queue", {b"\xff": 0})  # no text, as the names of arq's jobs are
            await until_async(lambda: "arq's worker ended" in caplog.text, 30, "arq stumbles")
            wake(services, "note", "after")
            client.zrem("arq:queue", b"\xff")
            await until_async(lambda: diary.seen == ["after"], 30, "the next wake-up is taken")


async def test_a_task_that_failed_keeps_no_other_from_being_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def fail() -> None:
        raise ValueError("its own affair")

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    failed, waiting = asyncio.create_task(fail(), name="the first"), asyncio.create_task(wait())
    await until_async(failed.done, what="it has failed")
    await cancelled(failed, waiting)
    assert ended.is_set() and "the first failed" in caplog.text


async def test_redis_killed_with_work_in_it_neither_ends_the_worker_nor_what_is_under_way(settings: Settings, redis: Server) -> None:
    redis.start()
    diary = Diary()
    async with services_of(settings) as services, worker(services, {"note": diary.stage()}) as floor:
        wake(services, "note", "long")
        await until_async(lambda: diary.seen == ["long"], 30, "the work begins")
        redis.kill()
        wake(services, "note", "meanwhile")
        await until_async(lambda: "meanwhile" in diary.seen, 30, "work goes on from the database")
        assert diary.at_once == 2, "what was under way is not disturbed"
        redis.start()
        diary.gate.set()
        await until_async(lambda: floor.busy == 0, 30, "both end")
        wake(services, "note", "later")
        await until_async(lambda: "later" in diary.seen, 30, "Redis is used again")


async def test_a_run_is_executed_though_redis_forgot_everything(settings: Settings, redis: Server) -> None:
    redis.start()
    sweeping = [chore for chore in CHORES if chore.name == "take up what gone owners held"]
    stage = Stage(execute_run, lambda _settings: 2)
    async with services_of(settings) as services:
        await asyncio.to_thread(release, services.catalog)
        async with worker(services, {"execute_run": stage}, listens=False):
            begun = await call_tool(CALLER, services.calls, "count_notes", COUNTER_ARGS, waiting=Waiting(wait_s=0))
            await until_async(lambda: redis.queued() == 1, 30, "the wake-up is in Redis")
            redis.forget_everything()
            assert read_run(CALLER, services.database, begun.body["id"])["state"] == "available"
        async with worker(services, {"execute_run": stage}, sweeping):
            await until_async(
                lambda: read_run(CALLER, services.database, begun.body["id"])["state"] == "completed", 30, "the run completes"
            )


async def test_a_worker_that_stops_hands_its_run_on_and_nothing_is_sent_twice(settings: Settings) -> None:
    stage = Stage(execute_run, lambda _settings: 1)
    args = {"group": "g", "to": [f"person{number}@example.com" for number in range(MANY)]}
    async with services_of(settings) as services:
        await asyncio.to_thread(release_sender, services.catalog)
        begun = await call_tool(CALLER, services.calls, "send_notes", args, waiting=Waiting(wait_s=0))
        async with worker(services, {"execute_run": stage}):
            await until_async(lambda: len(list_ledgers(CALLER, services.database)["items"]) == 1, 30, "the first are sent")
        run = read_run(CALLER, services.database, begun.body["id"])
        assert run["state"] == "available", "it was given back, and not left to its lease"
        async with worker(services, {"execute_run": stage}):
            await until_async(
                lambda: read_run(CALLER, services.database, begun.body["id"])["state"] == "completed", 60, "another worker ends it"
            )
        run = read_run(CALLER, services.database, begun.body["id"])
        assert run["result"]["done"] == MANY
        assert run["effects"]["send"]["done"] == MANY


async def test_woken_again_while_at_work_it_is_repeated_once_and_no_wakeup_is_lost(settings: Settings) -> None:
    diary = Diary()
    async with services_of(settings) as services:
        floor = Floor(services, {"note": diary.stage()})
        assert floor.offer("note", "same")
        await until_async(lambda: diary.seen == ["same"], 30, "the first one is at work")
        assert all(floor.offer("note", "same") for _ in range(5))
        diary.gate.set()
        await until_async(lambda: floor.busy == 0, 30, "it is over")
        assert diary.seen == ["same", "same"]


async def test_a_stage_has_its_number_of_places_and_the_rest_waits_in_the_queue(settings: Settings) -> None:
    diary = Diary()
    async with services_of(settings) as services:
        floor = Floor(services, {"note": diary.stage(places=2)})
        taken = [floor.offer("note", f"s{number}") for number in range(4)]
        assert taken == [True, True, False, False]
        assert not await floor.admit("note", "s4", patience_s=0.05)
        waiting = asyncio.create_task(floor.admit("note", "s5", patience_s=60))
        diary.gate.set()
        assert await waiting
        await until_async(lambda: floor.busy == 0, 30, "they end")
        assert diary.most == 2


async def test_work_that_fails_leaves_its_place_to_the_next(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    diary = Diary()
    diary.gate.set()
    async with services_of(settings) as services:
        floor = Floor(services, {"note": diary.stage(places=1)})
        assert floor.offer("note", "bad")
        await until_async(lambda: floor.busy == 0, 30, "it ends")
        assert "note bad failed" in caplog.text
        assert await floor.admit("note", "good", patience_s=60)
        await until_async(lambda: diary.seen == ["bad", "good"], 30, "the next one is done")
        assert floor.offer("unknown", "x"), "a job of another release is dropped, not kept for ever"


async def test_a_closed_floor_gives_back_what_it_had(settings: Settings) -> None:
    diary = Diary()
    async with services_of(settings) as services:
        floor = Floor(services, {"note": diary.stage()})
        assert floor.offer("note", "long")
        await until_async(lambda: diary.at_once == 1, 30, "it is at work")
        await floor.close(5)
        assert (floor.busy, diary.at_once) == (0, 0)
        assert not floor.offer("note", "more")
