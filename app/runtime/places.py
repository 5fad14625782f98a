"""Places: room for what is in flight at one port, for all runs and queues of this process together.

Each effect in flight may end unknown if the process dies, so none is begun before there is a place for it: what is committed as
performing and only waits for a connection would be one more doubt that nobody needs.

It refuses to be: a limit of the spec or an operator (`flow`). A port says how many it takes at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from app.connectors.port import RemoteEffect


@dataclass(eq=False, slots=True)
class Places:
    """One per process and event loop. A port is known by its identity and kept, so that no other takes its number."""

    _of: dict[int, tuple[RemoteEffect, asyncio.Semaphore]] = field(default_factory=dict)

    def of(self, port: RemoteEffect) -> asyncio.Semaphore:
        """To be held from before an effect is begun until the world has answered."""
        if id(port) not in self._of:
            self._of[id(port)] = (port, asyncio.Semaphore(port.concurrency))
        return self._of[id(port)][1]
