"""What connectors hold open: connections looked up by name, and one pool for each of them, replaced when its settings change.

A change of a connection is seen within a second. The pool of its old settings ends what it has begun, then it is closed.

It refuses to be: a cache of secrets for anybody else. What it opens stays inside the connectors' room.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.connectors.connections import Connections, Opened, opened

FRESH_S = 1.0
P = TypeVar("P")


class Directory:
    """Connections as they are now, or were a second ago. Used from one event loop."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._known: dict[tuple[str, str, str], tuple[float, Opened]] = {}

    async def get(self, tenant: str, name: str, kind: str) -> Opened:
        """Raises as `opened` does."""
        key = (tenant, name, kind)
        at = asyncio.get_running_loop().time()
        known = self._known.get(key)
        if known is not None and at - known[0] < FRESH_S:
            return known[1]
        self._known.pop(key, None)
        found = await asyncio.to_thread(opened, self._connections, tenant, name, kind)
        self._known[key] = (at, found)
        return found


@dataclass(slots=True)
class _Place(Generic[P]):
    pool: P
    version: int
    users: int = 0
    retired: bool = False


class Pools(Generic[P]):
    """One pool a name; a new version takes the place of the old one, which is closed once nobody uses it."""

    def __init__(self, close: Callable[[P], Awaitable[None]]) -> None:
        self._close = close
        self._places: dict[tuple[str, str], _Place[P]] = {}

    @asynccontextmanager
    async def lend(self, name: tuple[str, str], version: int, make: Callable[[], P]) -> AsyncIterator[P]:
        """The pool of this name and version, made where there is none."""
        place = self._places.get(name)
        if place is None or place.version != version:
            old, place = place, _Place(make(), version)
            self._places[name] = place
            if old is not None:
                await self._retire(old)
        place.users += 1
        try:
            yield place.pool
        finally:
            place.users -= 1
            if place.retired and not place.users:
                await self._close(place.pool)

    async def close(self) -> None:
        """Close all of them; whatever is under way in them breaks."""
        places, self._places = list(self._places.values()), {}
        for place in places:
            await self._close(place.pool)

    async def _retire(self, place: _Place[P]) -> None:
        place.retired = True
        if not place.users:
            await self._close(place.pool)
