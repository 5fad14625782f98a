"""A limit of effects in flight, kept by all processes together: each holds a share of it and asks again every second.

A share is a row; that of a process that died is divided again. Asking costs one short write a second, not one an effect.

It refuses to be: exact about who is next. Whoever asks first gets first; nobody who waits is left out for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from app.core.clock import Clock
from app.core.writer import GroupWriter
from app.runtime.repository.flow import ShareWanted, take_shares

ASK_AGAIN_MS = 1000
ASK_SOON_MS = 50
LOOK_AGAIN_S = 0.1
KEEP_S = 0.5
log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Shares:
    """This process's share of one limit. The effects of `holders` are in flight here, `granted` may be."""

    name: str
    limit: int
    writer: GroupWriter
    clock: Clock
    owner: Callable[[], str]
    granted: int = 0
    holders: set[str] = field(default_factory=set)
    waiting: int = 0
    _asked_at: int | None = None
    _asked_as: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _returning: asyncio.Task[None] | None = None
    _stopped: bool = False

    @property
    def taken(self) -> int:
        return len(self.holders)

    async def take(self, effect_id: str, go_on: Callable[[], bool]) -> None:
        """Wait for one place among those in flight, or until `go_on` says no. `leave` gives it back."""
        self.waiting += 1
        try:
            while go_on():
                await self._ask(ASK_AGAIN_MS)
                if self.taken < self.granted:
                    self.holders.add(effect_id)
                    return
                self._changed.clear()
                with suppress(TimeoutError):  # nothing has changed here; others may have given something back
                    await asyncio.wait_for(self._changed.wait(), LOOK_AGAIN_S)
                    continue
                await self._ask(ASK_SOON_MS)
        finally:
            self.waiting -= 1
            self._idle()

    @property
    def resting(self) -> bool:
        """Whether nothing is in flight, waits or is being given back."""
        return not self.holders and not self.waiting and self._returning is None

    @property
    def has_room(self) -> bool:
        """Whether one more may be added to `holders` right now, without asking."""
        return self.taken < self.granted and self._asked_within(ASK_AGAIN_MS)

    async def seek(self, older_than_ms: int) -> None:
        """Ask for one more than are taken, unless that was done lately or this process has all there is."""
        if self.taken >= self.limit and self._asked_within(ASK_AGAIN_MS):
            return
        self.waiting += 1
        try:
            await self._ask(older_than_ms)
        finally:
            self.waiting -= 1
            self._idle()

    def leave(self, effect_id: str) -> None:
        """Give its place back, if it has one; with the last one, soon the whole share."""
        self.holders.discard(effect_id)
        self._changed.set()
        self._idle()

    async def stop(self) -> None:
        """Give nothing back any more; the share ends with this process's lease."""
        self._stopped = True
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.wait({self._returning})

    async def _ask(self, older_than_ms: int) -> None:
        """Ask anew unless that was done lately, by this owner."""
        if self._asked_within(older_than_ms):
            return
        await asyncio.sleep(0)  # whoever begins together is counted together
        async with self._asking:
            if self._asked_within(older_than_ms):
                return
            now, owner = self.clock.monotonic(), self.owner()
            self._asked_at, self._asked_as = now, owner
            self.granted = held = self.taken  # no more begin until it is known how many may: somebody else may be given the rest
            wanted = ShareWanted(self.name, owner, self.limit, max(1, held + self.waiting), held)
            self.granted = await self.writer.submit(take_shares, wanted)
            self._changed.set()

    def _asked_within(self, ms: int) -> bool:
        return self._asked_at is not None and self._asked_as == self.owner() and self.clock.monotonic() - self._asked_at < ms

    def _idle(self) -> None:
        if not self.taken and not self.waiting and self._returning is None and not self._stopped:
            self._returning = asyncio.create_task(self._give_back(), name=f"share of {self.name}")

    async def _give_back(self) -> None:
        try:
            over = False
            while not over:
                await asyncio.sleep(KEEP_S)
                async with self._asking:
                    over = self.taken > 0 or self.waiting > 0 or await self._given_back()
        finally:
            self._returning = None  # whoever came meanwhile stands before the lock, and is followed by a task of its own

    async def _given_back(self) -> bool:
        self.granted, self._asked_at = 0, None
        try:
            await self.writer.submit(take_shares, ShareWanted(self.name, self._asked_as, self.limit, 0))
        except SQLAlchemyError as error:
            # Until that is written nobody else has it, and who has nothing more to do would keep it as long as it lives.
            log.warning("a share of %s is not given back yet: %s", self.name, type(error).__name__)
            return False
        return True
