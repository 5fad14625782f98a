"""Lanes: what the world takes of one kind, such as the mails to one domain, kept by all processes together.

A lane's limit a second is a `Pace` and its limit at once a `Shares`, as those of connectors are; but here nobody stands in line. Who asks
is told at once: yes, or not yet, and then what is missing is fetched, so that tasks of other lanes go on meanwhile.

It refuses to be: known to what is not limited. A lane without limits costs nothing, not even an entry.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from app.connectors.port import LaneLimits
from app.core.clock import Clock
from app.core.writer import GroupWriter
from app.runtime.flow.pace import LATE_MS, Pace
from app.runtime.flow.share import Shares

PREFIX = "lane "
SEEK_MS = 200
WANTED_MS = 500
_SOON_MS = 20
_AGAIN_S = 0.1
_MANY = 10_000
log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Lane:
    """`asked_at`: when somebody last wanted to begin; `its_time`: when a place in time came that nobody has used yet (ms, monotonic)."""

    limits: LaneLimits
    pace: Pace | None
    shares: Shares | None
    asked_at: int = 0
    its_time: int | None = None
    fetching: asyncio.Task[None] | None = None

    def idle(self, now: int) -> bool:
        return self.fetching is None and now - self.asked_at > WANTED_MS and (self.shares is None or self.shares.resting)


@dataclass(eq=False, slots=True)
class Lanes:
    """The limited lanes of one process. Used from one event loop; `stop` it before its writer is closed."""

    writer: GroupWriter
    clock: Clock
    owner: Callable[[], str]
    _lanes: dict[str, _Lane] = field(default_factory=dict)

    def take(self, name: str, limits: LaneLimits, effect_id: str) -> bool:
        """Whether one more may begin in this lane now; if so it counts until it is given back."""
        lane, now = self._lane(name, limits), self.clock.monotonic()
        lane.asked_at = now
        room, on_time = _has_room(lane), _is_time(lane, now)
        if not (room and on_time):
            if lane.fetching is None:
                lane.fetching = asyncio.create_task(self._fetch(lane), name=f"{PREFIX}{name}")
            return False
        lane.its_time = None
        if lane.shares is not None:
            lane.shares.holders.add(effect_id)
        return True

    def give_back(self, name: str, effect_id: str) -> None:
        """One that was taken is over."""
        lane = self._lanes.get(name)
        if lane is not None and lane.shares is not None:
            lane.shares.leave(effect_id)

    def ready_in(self, name: str) -> int:
        """In about how many ms one more may begin; 0: now, as far as is known."""
        lane = self._lanes.get(name)
        if lane is None:
            return 0
        now = self.clock.monotonic()
        room_ms = 0 if _has_room(lane) else _SOON_MS
        if _is_time(lane, now):
            return room_ms
        due_ms = lane.pace.due_in if lane.pace is not None else None
        return max(room_ms, _SOON_MS if due_ms is None else max(1, math.ceil(due_ms)))

    async def stop(self) -> None:
        """Fetch nothing more. What this process has of the limits ends with its lease."""
        for lane in self._lanes.values():
            if lane.fetching is not None:
                lane.fetching.cancel()
                await asyncio.wait({lane.fetching})
            if lane.shares is not None:
                await lane.shares.stop()

    def _lane(self, name: str, limits: LaneLimits) -> _Lane:
        lane = self._lanes.get(name)
        if lane is None:
            if len(self._lanes) >= _MANY:
                now = self.clock.monotonic()
                self._lanes = {known: each for known, each in self._lanes.items() if not each.idle(now)}
            lane = self._lanes[name] = _Lane(LaneLimits(), None, None)
        if lane.limits != limits:  # it is new, or its operator has thought again
            lane.limits = limits
            lane.pace = Pace(PREFIX + name, limits.per_second, self.writer, self.clock) if limits.per_second else None
            if limits.at_once and lane.shares is None:
                lane.shares = Shares(PREFIX + name, limits.at_once, self.writer, self.clock, self.owner)
            elif lane.shares is not None and limits.at_once:
                lane.shares.limit = limits.at_once
        return lane

    async def _fetch(self, lane: _Lane) -> None:
        """Have room, and then wait for the next place in time, as long as somebody asks for it."""
        try:
            if not _has_room(lane) and lane.shares is not None:
                await lane.shares.seek(SEEK_MS)
            pace = lane.pace
            if pace is None or not _has_room(lane) or _is_time(lane, self.clock.monotonic()):
                return
            await pace.wait(lambda: self._wanted(lane))
            if self._wanted(lane):
                lane.its_time = self.clock.monotonic()
        except SQLAlchemyError as error:
            # Nothing begins in a limited lane while nobody can say how much has; it is asked for again.
            log.warning("a limit could not be looked at: %s", type(error).__name__)
            await asyncio.sleep(_AGAIN_S)
        finally:
            lane.fetching = None

    def _wanted(self, lane: _Lane) -> bool:
        return self.clock.monotonic() - lane.asked_at <= WANTED_MS


def _has_room(lane: _Lane) -> bool:
    return not lane.limits.at_once or lane.shares is None or lane.shares.has_room


def _is_time(lane: _Lane, now: int) -> bool:
    return lane.pace is None or (lane.its_time is not None and now - lane.its_time <= LATE_MS)
