"""Places: room for what is in flight at one port, for all runs and queues of this process together.

Each effect in flight may end unknown if the process dies, so none leaves before there is a place for it. Where departures are noted, more
are begun than have a place: who has waited for a commit meanwhile leaves at once when one is free, and what has not left is never unknown.

It refuses to be: a limit of the spec or an operator (`flow`). A port says how many it takes at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from app.connectors.port import RemoteEffect


@dataclass(frozen=True, slots=True)
class Place:
    """Of one port: `room`, to be held from before an effect is begun, and `place`, from before it leaves, until the world has answered."""

    port: RemoteEffect
    room: asyncio.Semaphore
    place: asyncio.Semaphore


@dataclass(eq=False, slots=True)
class Places:
    """One per process and event loop. A port is known by its identity and kept, so that no other takes its number.

    `ahead`: how many may be begun for each that the port takes at once.
    """

    ahead: int = 1
    _of: dict[int, Place] = field(default_factory=dict)

    def of(self, port: RemoteEffect) -> Place:
        """The port's, the same for everybody in this process."""
        if id(port) not in self._of:
            self._of[id(port)] = Place(port, asyncio.Semaphore(port.concurrency * self.ahead), asyncio.Semaphore(port.concurrency))
        return self._of[id(port)]
