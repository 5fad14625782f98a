"""Whose turn it is: tasks in order, but for those whose lane (the mails to one domain) takes no more for now.

Lanes of the world that are slow do not hold up the others: their tasks stand aside and go on as soon as there is room. When nothing
else is left to do they are waited for, for a few seconds in all; what is left then is put off, and the queue goes on with it.

It refuses to be: a limit. What a lane takes is the port's to say; this keeps to it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from app.connectors.port import EffectPort, PacedEffect, Request, is_paced
from app.runtime.flow.lanes import Lanes

PATIENCE_MS = 5_000
_LOOK_AGAIN_MS = 50


class Asked(Protocol):
    """A task: what is asked of the port."""

    @property
    def request(self) -> Request: ...


T = TypeVar("T", bound=Asked)


class Turns(Generic[T]):
    """The tasks of one call, for several takers in one event loop. What is taken must be `ended`."""

    def __init__(
        self,
        port: EffectPort,
        tasks: Iterable[T],
        put_off: Callable[[T, int], Awaitable[None]],
        lanes: Lanes,
        handed_out: Callable[[], None] = lambda: None,
    ) -> None:
        """`handed_out` is called once each task has had its turn, though some may stand aside."""
        self._fresh: Iterator[T] = iter(tasks)
        self._handed_out = handed_out
        self._port = port if is_paced(port) else None
        self._lanes = lanes
        self._put_off = put_off
        self._aside: dict[str, deque[T]] = {}
        self._give_up_at: float | None = None
        self._prepared: asyncio.Task[None] | None = None

    async def next(self, go_on: Callable[[], bool]) -> T | None:
        """The next task that may begin; None when there is none left, or once `go_on` says no."""
        if self._port is None:
            task = next(self._fresh, None)
            if task is None:
                self._handed_out()
            return task
        if self._prepared is None:
            self._prepared = asyncio.create_task(self._prepare(self._port))
        await asyncio.shield(self._prepared)
        while go_on():
            task = self._ready()
            if task is not None:
                return task
            if not self._aside:
                return None
            wait_ms = min(self._ready_in(self._port, lane) for lane in self._aside)
            if wait_ms > self._patience_ms():
                await self._give_up()
                return None
            await asyncio.sleep(max(1, min(wait_ms, _LOOK_AGAIN_MS)) / 1000)
        return None

    def ended(self, task: T) -> None:
        """Tell that a task that was taken is over, whatever became of it: its lane has room again."""
        if self._port is not None:
            lane = self._port.lane_of(task.request)
            self._port.give_back(lane)
            self._lanes.give_back(_name(lane), task.request.effect_id)

    async def _prepare(self, port: PacedEffect) -> None:
        first = next(self._fresh, None)
        if first is not None:
            self._fresh = itertools.chain((first,), self._fresh)
            await port.prepare(first.request)

    def _ready(self) -> T | None:
        if self._port is None:
            return None
        for lane, tasks in self._aside.items():
            if self._take(self._port, lane, tasks[0]):
                task = tasks.popleft()
                if not tasks:
                    del self._aside[lane]
                return task
        for task in self._fresh:
            lane = self._port.lane_of(task.request)
            if lane not in self._aside and self._take(self._port, lane, task):
                return task
            self._aside.setdefault(lane, deque()).append(task)
        self._handed_out()
        return None

    def _take(self, port: PacedEffect, lane: str, task: T) -> bool:
        if not port.take(lane):
            return False
        limits = port.limits_of(lane)
        if limits is None or self._lanes.take(_name(lane), limits, task.request.effect_id):
            return True
        port.give_back(lane)
        return False

    def _ready_in(self, port: PacedEffect, lane: str) -> int:
        return max(port.ready_in(lane), self._lanes.ready_in(_name(lane)))

    def _patience_ms(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._give_up_at is None:
            self._give_up_at = now + PATIENCE_MS / 1000
        return (self._give_up_at - now) * 1000

    async def _give_up(self) -> None:
        if self._port is None:
            return
        port, left, self._aside = self._port, self._aside, {}
        waits = [(task, max(self._ready_in(port, lane), 1000)) for lane, tasks in left.items() for task in tasks]
        await asyncio.gather(*(self._put_off(task, wait_ms) for task, wait_ms in waits))


def _name(lane: str) -> str:
    """What the lane's limits are counted under in every process."""
    return lane.replace("\n", " ")
