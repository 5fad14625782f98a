"""From the outbox to the queue: rows that are due become arq jobs, and are deleted once the queue has them.

While Redis is away the rows stay, and this worker's own floor takes as many of them as it has places for: losing Redis costs
latency and the sharing of work, never progress.

It refuses to be: exactly once. A wake-up may come twice; claims in the tables make that harmless.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.exceptions import RedisError

from app.core import outbox
from app.core.db import Database
from app.core.faults import fault
from app.core.outbox import Job
from jobs.floor import Floor
from jobs.wire import dumps, loads

logger = logging.getLogger(__name__)
EVERY_S = 0.1
REDIS_AGAIN_S = 1.0


@dataclass(eq=False)
class Relay:
    """One per worker process."""

    database: Database
    redis: RedisSettings
    floor: Floor
    _pool: ArqRedis | None = None
    _not_before: float = 0.0
    _said: bool = field(default=False)

    async def once(self) -> int:
        """Relay what is due; returns how many rows found their way."""
        if outbox.nothing_due(self.database):
            return 0
        jobs = await asyncio.to_thread(outbox.pending, self.database)
        if not jobs:
            return 0
        taken = await self._to_redis(jobs)
        if taken is None:
            taken = [job.id for job in jobs if self.floor.offer(job.job, job.subject)]
        fault("outbox.relayed")
        await asyncio.to_thread(outbox.delivered, self.database, taken)
        return len(taken)

    async def run(self) -> None:
        """Relay for ever."""
        while True:
            try:
                await self.once()
            except Exception:  # the database may be away for a while; the rows are there when it is back
                logger.exception("the outbox could not be relayed")
                await asyncio.sleep(REDIS_AGAIN_S)
            await asyncio.sleep(EVERY_S)

    async def close(self) -> None:
        """Give the connections back."""
        if self._pool is not None:
            await self._pool.aclose(close_connection_pool=True)

    async def _to_redis(self, jobs: list[Job]) -> list[int] | None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            return None
        try:
            if self._pool is None:
                self._pool = await create_pool(self.redis, job_serializer=dumps, job_deserializer=loads)
            for job in jobs:
                await self._pool.enqueue_job(job.job, job.subject, _job_id=f"{job.job}:{job.id}")
        except (RedisError, OSError, TimeoutError) as error:
            if not self._said:
                logger.warning("Redis is away (%s); this worker takes work from the database", error.__class__.__name__)
            self._said = True
            self._not_before = loop.time() + REDIS_AGAIN_S
            return None
        if self._said:
            logger.warning("Redis is back")
        self._said = False
        return [job.id for job in jobs]
