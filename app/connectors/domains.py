"""What each recipient domain has said that it takes: a rest after it said that it is too much, then one mail first.

A 421, or an enhanced code 4.7.x, means that the server wants less of this sender: the domain rests for a quarter of a second, twice
as long after each further one, five minutes at most; then one mail goes first, and a success ends the caution, or five minutes in which
nothing is tried. Other domains go on.

A rest is of the process that was told. What an operator allows is a limit of the lane, which the runtime keeps over all processes.

It refuses to be: a queue. It says whether one more may begin; who waits is the runtime's business.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

FIRST_REST_S = 0.25
LONGEST_REST_S = 300.0
_MANY = 10_000
_SOON_MS = 20  # a place that is taken may be free any moment; nobody knows when


@dataclass(slots=True)
class _Domain:
    flying: int = 0
    rests_until: float = 0.0
    strikes: int = 0

    def idle(self, now: float) -> bool:
        remembered_s = LONGEST_REST_S if self.strikes else 0.0
        return not self.flying and self.rests_until + remembered_s <= now


class Domains:
    """Rests by domain. Used from one event loop."""

    def __init__(self) -> None:
        self._domains: dict[str, _Domain] = {}
        self._look_at = _MANY
        """At how many domains to look for those that can be forgotten; at twice as many as were left the last time, so that looking at all
        of them costs each a constant time."""

    def take(self, domain: str) -> bool:
        """Whether one more may begin; if so it counts until it is given back."""
        now = time.monotonic()
        found = self._domains.get(domain)
        if found is None:
            if len(self._domains) >= self._look_at:
                self._domains = {name: known for name, known in self._domains.items() if not known.idle(now)}
                self._look_at = max(_MANY, 2 * len(self._domains))
            found = self._domains[domain] = _Domain()
        if found.rests_until > now or _cautious(found):
            return False
        found.flying += 1
        return True

    def give_back(self, domain: str) -> None:
        """One that was taken is over."""
        found = self._domains.get(domain)
        if found is not None:
            found.flying = max(0, found.flying - 1)
            if found.idle(time.monotonic()):
                del self._domains[domain]

    def ready_in(self, domain: str) -> int:
        """In about how many ms one more may begin; 0: now."""
        found = self._domains.get(domain)
        if found is None:
            return 0
        wait_ms = round((found.rests_until - time.monotonic()) * 1000) + 1
        if wait_ms > 0:
            return wait_ms
        return _SOON_MS if _cautious(found) else 0

    def went_well(self, domain: str) -> None:
        """The domain took one, or refused it for a reason of its own. While it rests that is news from before."""
        found = self._domains.get(domain)
        if found is not None and time.monotonic() >= found.rests_until:
            found.strikes = 0

    def said_too_much(self, domain: str) -> None:
        """The domain wants less: it rests. Several that were on their way together count once."""
        now = time.monotonic()
        found = self._domains.setdefault(domain, _Domain())
        if now >= found.rests_until:
            found.strikes += 1
            found.rests_until = now + min(LONGEST_REST_S, FIRST_REST_S * 2 ** (found.strikes - 1))


def _cautious(domain: _Domain) -> bool:
    """Whether one is on its way to find out if the domain takes mail again."""
    return domain.strikes > 0 and domain.flying > 0
