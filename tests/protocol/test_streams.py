"""Event streams of REST: they last as long as the key that opened them, and miss nothing that happens as they are opened."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from app.access.keys import create_key, revoke_key
from app.api.events import followed
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.feed import Feed, Signal, announce
from tests.protocol.site import Site
from tests.support.published import pass_candidate
from tests.support.worlds import sender_spec

FILES = [{"path": "tool.py", "content": "x = 1\n"}, {"path": "test_tool.py", "content": "y = 1\n"}]


def test_a_stream_ends_soon_after_its_key_is_revoked(own_site: Site) -> None:
    pass_candidate(own_site.database, sender_spec(), approve=False)
    candidate = own_site.post("/tools/send_notes/candidates", {"files": FILES}).json()
    key = create_key(SYSTEM, own_site.database, "watcher", ("candidates:submit", "candidates:approve"))
    url = f"{own_site.url}/api/v1/candidates/{candidate['id']}/events"
    with httpx2.stream("GET", url, headers={"Authorization": f"Bearer {key['key']}"}, timeout=15) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: candidate"
        revoke_key(SYSTEM, own_site.database, key["id"])
        assert ": still here" not in list(lines)  # a line that stays silent for 15 s fails


@pytest.mark.anyio
async def test_what_ends_while_a_stream_is_opened_is_told_at_once(sqlite_database: Database) -> None:
    feed, state = Feed(sqlite_database, interval_s=0.01), ["executing"]
    told = asyncio.Event()

    def wanted(_signal: Signal) -> bool:
        told.set()
        return True

    def look() -> tuple[dict[str, Any], bool]:
        return {"state": state[0]}, state[0] != "executing"

    await feed.start()
    async with feed.listen(wanted):
        events = followed(feed, "run", lambda _signal: True, look)
        state[0] = "completed"
        with sqlite_database.writing() as session:
            announce(session, "run.finished", "run_1", "default")
        await told.wait()  # before anybody listens for the stream
        async with asyncio.timeout(5):
            assert [event async for event in events] == [b'event: run\ndata: {"state":"completed"}\n\n']
    await feed.stop()
