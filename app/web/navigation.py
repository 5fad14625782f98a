"""The sections of the dashboard, in the order in which the sidebar shows them.

It refuses to be: routing. A section is a heading with links.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.web.addresses import address


@dataclass(frozen=True, slots=True)
class Place:
    """One link: its path, name, icon, the key pressed after `g`, the permission without which it is not shown,
    and which other paths belong to it."""

    path: str
    name: str
    icon: str
    key: str
    permission: str | None = None
    also: tuple[str, ...] = ()


NAVIGATION: tuple[tuple[str, tuple[Place, ...]], ...] = (
    ("", (Place("/", "Overview", "overview", "o"),)),
    (
        "Build",
        (
            Place("/tools", "Tools", "tool", "t"),
            Place("/candidates", "Candidates", "candidate", "c"),
        ),
    ),
    (
        "Operate",
        (
            Place("/runs", "Runs", "run", "r"),
            Place("/approvals", "Approvals", "check", "p"),
            Place("/ledgers", "Ledgers", "ledger", "l"),
            Place("/queues", "Queues", "queue", "q", also=("/redrives",)),
            Place("/pauses", "Pauses", "pause", "z"),
            Place("/outbox", "Outbox", "mail", "m", "records:read"),
        ),
    ),
    (
        "Govern",
        (
            Place("/connections", "Connections", "plug", "n", "connections:manage"),
            Place("/audit", "Audit", "audit", "a", "audit:read"),
            Place("/keys", "Keys", "key", "k", "keys:manage"),
        ),
    ),
)

_DETAILS = {"effects": Place("/queues", "Queues", "queue", "q"), "redrives": Place("/redrives", "Redrives and verdicts", "queue", "q")}
_PLACES = {place.path[1:]: place for _heading, places in NAVIGATION for place in places if place.path != "/"}


def ways_on(path: str, query: Mapping[str, str], code: str, may: Callable[[str], bool]) -> list[tuple[str, str]]:
    """Links `(text, href)` from an error at an address: the list from its start, without its filter, the list that it belongs to."""
    found = []
    if code == "cursor_invalid":
        found.append(("From the first page", address(path, **{name: query[name] for name in query if name not in ("cursor", "loaded")})))
    elif query and code in ("filter_invalid", "state_unknown", "kind_unknown"):
        found.append(("Without the filter", path))
    place = (_PLACES | _DETAILS).get(path.split("/")[1])
    if place is not None and path != place.path and (place.permission is None or may(place.permission)):
        found.append((f"Go to {place.name}", place.path))
    return found
