"""The worker process: arq's loop, the relay, the maintenance chores, and the floor where work is done.

`python -m jobs.worker` runs until SIGTERM or SIGINT. arq's own worker ends when Redis blinks, so it is
started again for as long as the process lives; what is at work on the floor does not notice.

It refuses to be: where a stage is described (`pipeline`).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import uvloop
from arq.connections import RedisSettings
from arq.worker import Function, Retry, Worker, func
from redis.exceptions import RedisError

from app.composition import keep_loaded, running, start_logging
from app.core.errors import ToolmintError
from app.core.settings import Settings
from jobs.floor import Floor, Stage, cancelled
from jobs.maintenance import CHORES, Chore, keep
from jobs.pipeline import STAGES
from jobs.relay import Relay
from jobs.wire import dumps, loads, redis_settings

logger = logging.getLogger(__name__)
PATIENCE_S = 1.0
"""How long a wake-up waits for a place here before it goes back to the queue, where another worker may take it."""

MOST_WAITING = 50
"""Wake-ups that wait for places at once; arq takes no more than these each time that it polls."""

POLL_S = 0.1
"""How often arq asks Redis: each time costs a millisecond of a processor that a call could have."""

AGAIN_S = 0.5
CLOSE_S = 2.5
TELL_S = 1.0
"""How long a Redis that says nothing is waited for when a worker ends: what it was not told, it forgets by itself."""
_MOST_TRIES = 1_000_000  # arq drops a job after so many; ours end in the tables only


def worker_settings(floor: Floor, redis: RedisSettings) -> dict[str, Any]:
    """What arq's Worker is made with. A job ends as soon as its subject has a place on the floor, so none is long."""
    return {
        "functions": [_waker(floor, job) for job in floor.stages],
        "redis_settings": redis,
        "handle_signals": False,
        "job_serializer": dumps,
        "job_deserializer": loads,
        "job_timeout": PATIENCE_S + 5,
        "keep_result": 0,
        "max_jobs": MOST_WAITING,
        "max_tries": _MOST_TRIES,
        "poll_delay": POLL_S,
        "queue_read_limit": 1000,
        "log_results": False,
    }


async def work(settings: Settings, stages: Mapping[str, Stage] = STAGES, chores: Sequence[Chore] = CHORES) -> None:
    """Work until told to stop."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with running(settings, "worker") as services:
        floor = Floor(services, stages)
        redis = redis_settings(settings.redis)
        relay = Relay(services.database, redis, floor)
        keep_loaded()
        tasks = [
            asyncio.create_task(attend(floor, redis), name="arq"),
            asyncio.create_task(relay.run(), name="relay"),
            *(asyncio.create_task(keep(services, floor, chore), name=chore.name) for chore in chores),
        ]
        try:
            await stopping.wait()
        finally:
            await cancelled(*tasks)
            await floor.close(CLOSE_S)
            await relay.close()


async def attend(floor: Floor, redis: RedisSettings) -> None:
    """Take wake-ups from Redis for ever; while it is away, or holds what arq cannot read, try again every half second."""
    while True:
        worker = _Worker(**worker_settings(floor, redis))
        try:
            try:
                await worker.async_run()
            finally:
                await _discard(worker)
        except (RedisError, OSError, TimeoutError) as error:
            logger.info("arq's worker ended: %s", error.__class__.__name__)
        except Exception:  # whatever it was, the relay goes on handing wake-ups to Redis, and somebody has to take them
            logger.exception("arq's worker ended")
        await asyncio.sleep(AGAIN_S)


class _Worker(Worker):
    """arq's worker, and what it is telling Redis about wake-ups that ended, which arq shields from their being cancelled."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.telling: set[asyncio.Task[Any]] = set()

    async def finish_job(self, *args: Any, **named: Any) -> None:
        await self._told(super().finish_job(*args, **named))

    async def finish_failed_job(self, *args: Any, **named: Any) -> None:
        await self._told(super().finish_failed_job(*args, **named))

    async def _told(self, telling: Coroutine[Any, Any, None]) -> None:
        task = cast(asyncio.Task[Any], asyncio.current_task())
        self.telling.add(task)
        try:
            await telling
        finally:
            self.telling.discard(task)


async def _discard(worker: _Worker) -> None:
    """End an arq worker's wake-ups and connections, whether or not Redis is there to be told."""
    tasks = list(worker.tasks.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    telling = list(worker.telling)
    with suppress(TimeoutError):
        async with asyncio.timeout(TELL_S):
            await asyncio.gather(*telling, return_exceptions=True)
    if worker.main_task is not None:
        await asyncio.gather(worker.main_task, return_exceptions=True)
    if worker._pool is not None:
        await worker._pool.aclose(close_connection_pool=True)


def _waker(floor: Floor, job: str) -> Function:
    async def wake(ctx: dict[Any, Any], *subjects: Any, **_rest: Any) -> None:
        if not await floor.admit(job, str(subjects[0]), PATIENCE_S):
            raise Retry(defer=AGAIN_S)

    return func(wake, name=job)


def main() -> int:
    """The process's entry."""
    try:
        settings = Settings.from_env()
        start_logging(settings)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work(settings))
    except ToolmintError as error:
        logger.error("%s (%s) %s", error.detail, error.code, error.fix)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
