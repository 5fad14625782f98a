"""A limit a second, kept by all processes together: each takes a few places in time by one short write, and keeps to them.

Places lie evenly apart and belong to one process, so that no second holds more than the limit, whoever begins. A place that is
missed by more than `LATE_MS` is given up; so what begins within any second is at most the limit, a tenth of it, and one.

It refuses to be: a bucket that fills up while nobody asks. What was not used is not made up for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from app.core.clock import Clock
from app.core.writer import GroupWriter
from app.runtime.repository.flow import Places, PlacesWanted, take_places

AHEAD_US = 100_000
LATE_MS = 100
LOOK_AGAIN_S = 0.2


@dataclass(eq=False, slots=True)
class Pace:
    """One limit of `rate` a second in this process; `name` is the same in all of them."""

    name: str
    rate: float
    writer: GroupWriter
    clock: Clock
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _places: Places = field(default_factory=lambda: Places(0, 1, 0))

    async def wait(self, go_on: Callable[[], bool]) -> None:
        """Until one more may begin, or until `go_on` says no. One waits for a place at a time, so few are lost if all give up."""
        async with self._turn:
            while go_on():
                await self._ahead()
                left_ms = self._places.first_ms - self.clock.monotonic()
                if left_ms < 1:
                    self._drop(1)
                    return
                await asyncio.sleep(min(left_ms / 1000, LOOK_AGAIN_S))

    @property
    def due_in(self) -> float | None:
        """In how many ms the next place is that this process has; None: it has none."""
        return max(0.0, self._places.first_ms - self.clock.monotonic()) if self._places.count else None

    async def _ahead(self) -> None:
        """Have a place that is not over yet."""
        late_ms = self.clock.monotonic() - LATE_MS - self._places.first_ms
        if late_ms > 0 and self._places.count:
            self._drop(min(self._places.count, -int(-late_ms // self._places.step_ms)))
        if not self._places.count:
            step_us = max(1, round(1_000_000 / self.rate))
            self._places = await self.writer.submit(take_places, PlacesWanted(self.name, step_us, max(1, AHEAD_US // step_us)))

    def _drop(self, number: int) -> None:
        places = self._places
        self._places = Places(places.first_ms + number * places.step_ms, places.step_ms, places.count - number)
