"""A circuit: it opens when attempts fail one after another, lets a trial through when it has rested, closes when one succeeds.

While it is open nothing is attempted, so that a server that is away costs a few attempts and not those of ten thousand recipients.
What counts as failed is what may pass: a refusal for now, or no answer that one can be sure of. A refusal for good is an answer, and so is
one for now that is about a single effect: it must neither stop the others nor be spared its own end as a dead letter.

It refuses to be: stored. An open circuit is a row that all processes know; what leads to it is counted in each.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.connectors.port import Reply
from app.runtime.flow.limits import Fuse
from app.runtime.repository.flow import CircuitName, Opened

WINDOW_MS = 10_000
SOON_MS = 1_000
_RATIO = 0.8
_ENOUGH = 5
_FAILED = frozenset({"refused_now", "unknown"})
_OURS = frozenset({"lease_over", "deadline_passed", "connector_failed", "connection_unknown"})  # said here; the world was not asked


def answered(reply: Reply) -> bool | None:
    """Whether what was asked did answer; None where the reply says nothing about that."""
    if reply.code in _OURS:
        return None
    return reply.verdict not in _FAILED or reply.alone


@dataclass(eq=False, slots=True)
class Circuit:
    """What this process knows of a circuit. `opened`: it is open; `trial`: the effect that this process tries it with.

    `moving`: changes by this process on their way to the table; `moved_at` (monotonic ms): when the last one was there. What was read of
    the table before is older than what is known here.
    """

    name: CircuitName
    opened: Opened | None = None
    trial: str | None = None
    moving: int = 0
    moved_at: int = 0
    in_a_row: int = 0
    since: int = 0
    replies: int = 0
    failures: int = 0

    def count(self, failed: bool, fuse: Fuse, now: int) -> bool:
        """Note a reply at `now` (ms); True if the circuit is to open."""
        if now - self.since > WINDOW_MS:
            self.since, self.replies, self.failures = now, 0, 0
        self.replies += 1
        if not failed:
            self.in_a_row = 0
            return False
        self.in_a_row += 1
        self.failures += 1
        mostly = self.replies >= _ENOUGH * fuse.failures and self.failures >= _RATIO * self.replies
        return fuse.failures > 0 and (self.in_a_row >= fuse.failures or mostly)

    def close(self) -> None:
        """Let everything through, and count anew."""
        self.opened = self.trial = None
        self.in_a_row = self.since = self.replies = self.failures = 0

    def resting_until(self, now: int) -> int | None:
        """None: an attempt may be asked for at `now`; else the time (ms) to come again.

        While a trial is under way, in whatever process, `trial_at` is the end of its time, which is later than any rest.
        """
        if self.opened is None:
            return None
        if self.trial is not None:
            return now + SOON_MS
        if now >= self.opened.trial_at:
            return None
        return min(self.opened.trial_at, now + max(self.opened.rest_ms, SOON_MS))
