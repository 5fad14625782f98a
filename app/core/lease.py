"""This process's lease as an owner: registered once, renewed by a heartbeat, and the deadline that effects hold to.

A process that lost its lease must stop performing: `lost` is set, and the process ends so that a fresh one starts clean.

It refuses to be: a guard. Every write is guarded by its fence; this only says how long a promise can be kept.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from app.core import owners
from app.core.db import Database

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Lease:
    """`owner` is the row's id; `ends` is monotonic ms of the database's clock, after which nothing may be performed."""

    database: Database
    owner: str
    lease_ms: int
    ends: int
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def take(cls, database: Database, role: str, lease_ms: int) -> Lease:
        """Register this process as an owner of `role` and hold its first lease."""
        asked = database.clock.monotonic()
        return cls(database, owners.register(database, role, lease_ms), lease_ms, asked + lease_ms)

    def remaining(self) -> int:
        """Milliseconds that are left of the lease; 0 once it is lost."""
        return 0 if self.lost.is_set() else max(0, self.ends - self.database.clock.monotonic())

    async def keep(self, every_s: float) -> None:
        """Renew every `every_s` until the lease is lost. A database that is away for a while costs only the remaining time."""
        while not self.lost.is_set():
            await asyncio.sleep(every_s)
            asked = self.database.clock.monotonic()
            try:
                renewed = await asyncio.to_thread(owners.renew, self.database, self.owner)
            except DBAPIError as error:
                logger.warning("lease of %s not renewed: %s", self.owner, error.__class__.__name__)
                renewed = asked < self.ends
            else:
                self.ends = asked + self.lease_ms if renewed else 0
            if not renewed:
                self.lost.set()

    def release(self) -> None:
        """Give the lease back at once, so that others need not wait for its end."""
        self.lost.set()
        owners.void(self.database, owner=self.owner)
