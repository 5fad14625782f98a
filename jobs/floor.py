"""The worker's floor: a bounded number of tasks per stage, each for one subject, at most one at a time.

Tasks are ours and not arq's: a Redis that blinks does not disturb them, and no time limit of the queue cuts a long run. Being
woken again for a subject that is under way repeats it once afterwards, so that no wake-up is lost in between.

It refuses to be: a queue. What finds no place within its patience is asked for again later; the tables keep it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from app.composition import Services
from app.core.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stage:
    """`work` is called with the id of the subject; `places` says how many may be at work in one process; `next` is for readers."""

    work: Callable[[Services, str], Awaitable[None]]
    places: Callable[[Settings], int]
    next: tuple[str, ...] = ()


@dataclass(eq=False)
class Floor:
    """Tasks under way, by job and subject."""

    services: Services
    stages: Mapping[str, Stage]
    _free: dict[str, int] = field(init=False)
    _room: dict[str, asyncio.Event] = field(init=False)
    _busy: dict[tuple[str, str], asyncio.Task[None]] = field(default_factory=dict)
    _again: set[tuple[str, str]] = field(default_factory=set)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._free = {name: stage.places(self.services.settings) for name, stage in self.stages.items()}
        self._room = {name: asyncio.Event() for name in self.stages}

    async def admit(self, job: str, subject: str, patience_s: float) -> bool:
        """Start, or repeat, this work once there is a place. False if there was none within `patience_s`."""
        try:
            async with asyncio.timeout(patience_s):
                while not self.offer(job, subject):
                    self._room[job].clear()
                    await self._room[job].wait()
        except TimeoutError:
            return False
        return True

    def offer(self, job: str, subject: str) -> bool:
        """The same without waiting; work of an unknown name is refused for good, and so counts as taken."""
        if job not in self.stages:
            logger.warning("there is no job %r; it is dropped", job)
            return True
        if (job, subject) in self._busy:
            self._again.add((job, subject))
            return True
        if self._closed or not self._free[job]:
            return False
        self._free[job] -= 1
        self._busy[job, subject] = asyncio.create_task(self._work(job, subject), name=f"{job} {subject}")
        return True

    @property
    def busy(self) -> int:
        """How many tasks are under way."""
        return len(self._busy)

    async def close(self, patience_s: float) -> None:
        """Cancel what is under way; each task gives its subject back. Returns after `patience_s` at the latest."""
        self._closed = True
        tasks = list(self._busy.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=patience_s)

    async def _work(self, job: str, subject: str) -> None:
        key = (job, subject)
        try:
            while True:
                self._again.discard(key)
                await self.stages[job].work(self.services, subject)
                if key not in self._again:
                    break
        except Exception:  # one subject's failure is logged and must not end the worker; the sweeper asks again
            logger.exception("%s %s failed", job, subject)
        finally:
            self._again.discard(key)
            del self._busy[key]
            self._free[job] += 1
            self._room[job].set()


async def cancelled(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait for their ends; one that failed is told, and holds up nobody."""
    for task in tasks:
        task.cancel()
    for task, end in zip(tasks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
        if isinstance(end, Exception):
            logger.error("%s failed", task.get_name(), exc_info=end)
