"""Places: room for what is in flight at one port, for all runs and queues of this process together.

Each effect in flight may end unknown if the process dies, so none leaves before there is a place for it. Where departures are noted, more
are begun than have a place: who has waited for a commit meanwhile leaves at once when one is free, and what has not left is never unknown.

It refuses to be: a limit of the spec or an operator (`flow`). A port says how many it takes at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from app.connectors.port import RemoteEffect

Sending = Callable[[], Coroutine[Any, Any, None]]


@dataclass(eq=False, slots=True)
class Place:
    """Of one port: room, to be held from before an effect is begun until the world has answered, and places, from which effects leave.

    What has begun leaves in its order. Whoever has heard an answer goes on with the next at once, in the same turn of the event loop:
    what the world is asked is asked as early as can be, and the answers do not all come at the same time.
    """

    port: RemoteEffect
    _room: asyncio.Semaphore
    _inside: set[str] = field(default_factory=set)
    _waiting: deque[tuple[Sending, Context]] = field(default_factory=deque)
    _busy: int = 0
    _senders: set[asyncio.Task[None]] = field(default_factory=set)

    async def enter(self, effect_id: str) -> None:
        """Wait for room for one more effect to be begun."""
        await self._room.acquire()
        self._inside.add(effect_id)

    def leave(self, effect_id: str) -> None:
        """Give its room back, if it has any."""
        if effect_id in self._inside:
            self._inside.discard(effect_id)
            self._room.release()

    def send(self, sending: Sending, context: Context) -> None:
        """Have this done as soon as there is a place, in a copy of the context of its call. It raises nothing but its cancellation."""
        self._waiting.append((sending, context))
        if self._busy < self.port.concurrency:
            self._busy += 1
            self._start(context)

    def _start(self, context: Context) -> None:
        sender = asyncio.create_task(self._send(context), name=f"sender of {self.port.kind.name}", context=context.copy())
        self._senders.add(sender)  # the event loop itself keeps no task alive
        sender.add_done_callback(self._senders.discard)

    async def _send(self, context: Context) -> None:
        """Do what waits for one call; then leave the place to a sender for the next call."""
        following = None
        try:
            while self._waiting and self._waiting[0][1] is context:
                await self._waiting.popleft()[0]()
            following = self._waiting[0][1] if self._waiting else None
        finally:
            if following is None:
                self._busy -= 1
            else:
                self._start(following)


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
            self._of[id(port)] = Place(port, asyncio.Semaphore(port.concurrency * self.ahead))
        return self._of[id(port)]
