"""How the SMTP server breaks for some recipients of each campaign, once for each of them, and what may become of their mails.

Whom it hits is drawn from the seed; an address says what will happen to it, in its domain, so that both books can be held against it.

It refuses to be: kind to a phase. A mail breaks before, amid and after its text, by silence, by a refusal and by half a reply.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

DOMAIN = "example.org"
MAY_BE: Mapping[str, frozenset[str]] = {
    "reject450": frozenset({"retry_wait"}),
    "close421": frozenset({"retry_wait"}),
    "hangearly": frozenset({"retry_wait"}),
    "dropbefore": frozenset({"retry_wait"}),
    "data451": frozenset({"retry_wait"}),
    "data421": frozenset({"retry_wait"}),
    "dropmiddle": frozenset({"retry_wait", "unknown"}),
    "dropafter": frozenset({"unknown"}),
    "losereply": frozenset({"unknown"}),
    "cutreply": frozenset({"unknown"}),
    "garble": frozenset({"unknown"}),
    "hang": frozenset({"unknown"}),
    "reject550": frozenset({"failed"}),
    "data554": frozenset({"failed"}),
}
"""What the server does, and the state that the ledger goes to when it does so."""
LEAVE_A_TRACE = frozenset(way for way, states in MAY_BE.items() if "retry_wait" not in states)
"""A connection that was idle before may be broken: what is refused on it for now is sent again at once by another."""


def rules() -> list[dict[str, Any]]:
    """For the SMTP server: each way once for each recipient of its domain."""
    return [{"to": f"*@{way}.{DOMAIN}", "do": way, "each": 1} for way in MAY_BE]


def addresses(campaign: str, size: int, seed: str) -> list[str]:
    """The recipients of a campaign, one of them for each way of breaking, at places that are drawn from the seed."""
    chosen = dict(zip(random.Random(f"{seed} {campaign}").sample(range(size), len(MAY_BE)), MAY_BE, strict=True))
    return [f"{campaign}.{n:05}@{chosen[n]}.{DOMAIN}" if n in chosen else f"{campaign}.{n:05}@{DOMAIN}" for n in range(size)]


def way_of(address: str) -> str:
    """How the mail to this address breaks; empty if it does not."""
    way = address.partition("@")[2].partition(".")[0]
    return way if way in MAY_BE else ""


def expected(address: str) -> frozenset[str]:
    """The states that the server itself brings the mail to this address to."""
    return MAY_BE.get(way_of(address), frozenset())
