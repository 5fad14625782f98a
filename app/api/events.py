"""Server-sent events about one thing: what it is now, and again whenever the change feed says that it changed.

It refuses to be: a log of changes. An event holds the present state; what was missed in between is not needed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from app.core.errors import Unauthenticated
from app.core.feed import Feed, Signal

SILENCE_S = 10.0
Look = Callable[[], tuple[dict[str, Any], bool]]


async def followed(feed: Feed, event: str, wanted: Callable[[Signal], bool], look: Look) -> AsyncIterator[bytes]:
    """Events until `look`, asked at least every ten seconds, says that the thing is over or raises Unauthenticated.

    It is asked once somebody listens, so that no change falls in between. A comment is sent where nothing changed, so that a dead line is
    noticed.
    """
    shown: dict[str, Any] | None = None
    async with feed.listen(wanted) as signals:
        while True:
            while not signals.empty():
                signals.get_nowait()
            try:
                present, over = await asyncio.to_thread(look)
            except Unauthenticated:
                return
            if present != shown:
                yield _event(event, present)
                shown = present
            else:
                yield b": still here\n\n"
            if over:
                return
            with suppress(TimeoutError):  # a signal may be lost on its way, so it is looked at all the same
                await asyncio.wait_for(signals.get(), SILENCE_S)


def _event(event: str, value: dict[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event}\ndata: {text}\n\n".encode()
