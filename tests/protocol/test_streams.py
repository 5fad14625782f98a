"""Event streams of REST: they last as long as the key that opened them."""

from __future__ import annotations

import httpx2

from app.access.keys import create_key, revoke_key
from app.core.actor import SYSTEM
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
