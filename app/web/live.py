"""Live parts of pages: one event stream a page, each message the whole part as it stands, so that a lost one does no harm.

A stream ends with the event `done` when nothing will change any more (a stream that merely ends is opened again), or when its
session is over, which is looked at before each message and every ten seconds; and after some minutes anyway.

It refuses to be: a feed of changes. The change feed only says when to look again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from fastapi.responses import Response, StreamingResponse

from app.core.errors import Unauthenticated
from app.core.feed import Feed, Signal
from app.web.desk import Desk

LONGEST_S = 300.0
LOOK_ANYWAY_S = 10.0
BREATH_S = 0.3
_OVER = "event: done\ndata: over\n\n"

Snapshot = Callable[[], tuple[str, bool]]


def stream(desk: Desk, wanted: Callable[[Signal], bool], snapshot: Snapshot) -> Response:
    """Send `snapshot()` (markup, and whether it is final) now, at each wanted signal, and every ten seconds anyway."""

    def look() -> tuple[str, bool]:
        desk.check_session()
        return snapshot()

    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_messages(desk.services.feed, wanted, look), media_type="text/event-stream", headers=headers)


async def _messages(feed: Feed, wanted: Callable[[Signal], bool], look: Snapshot) -> AsyncIterator[str]:
    end = time.monotonic() + LONGEST_S
    last = ""
    async with feed.listen(wanted) as signals:
        while time.monotonic() < end:
            while not signals.empty():
                signals.get_nowait()
            try:
                markup, final = await asyncio.to_thread(look)
            except Unauthenticated:
                yield _OVER
                return
            if markup != last:
                yield message(markup)
                last = markup
            else:
                yield ": still here\n\n"
            if final:
                yield _OVER
                return
            try:
                await asyncio.wait_for(signals.get(), LOOK_ANYWAY_S)
            except TimeoutError:
                continue
            await asyncio.sleep(BREATH_S)  # a busy run signals often; people read slowly


def message(markup: str) -> str:
    """One unnamed event; each line of the markup is a line of data."""
    return "".join(f"data: {line}\n" for line in markup.splitlines()) + "\n"
