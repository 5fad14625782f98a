"""The sections of the dashboard, in the order in which the sidebar shows them.

It refuses to be: routing. A section is a heading with links.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """One link: its path, name, icon, the key pressed after `g`, and the permission without which it is not shown."""

    path: str
    name: str
    icon: str
    key: str
    permission: str | None = None


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
            Place("/queues", "Queues", "queue", "q"),
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
