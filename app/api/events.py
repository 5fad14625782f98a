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


async def followed(
    feed: Feed, event: str, wanted: Callable[[Signal], bool], look: Look, first: tuple[dict[str, Any], bool]
) -> AsyncIterator[bytes]:
    """Events until `look`, asked at least every ten seconds, says that the thing is over or raises Unauthenticated.

    A comment is sent where nothing changed, so that a dead line is noticed.
    """
    async with feed.listen(wanted) as signals:
        shown, (present, over) = None, first
        while True:
            if present != shown:
                yield _event(event, present)
                shown = present
            else:
                yield b": still here\n\n"
            if over:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(signals.get(), SILENCE_S)
            while not signals.empty():
                signals.get_nowait()
            try:
                present, over = await asyncio.to_thread(look)
            except Unauthenticated:
                return


def _event(event: str, value: dict[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event}\ndata: {text}\n\n".encode()
