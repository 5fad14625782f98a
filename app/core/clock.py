"""Time as a port: integer milliseconds since the epoch, UTC, so that tests and verification can own the clock.

It refuses to be: a formatter of dates for pages.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for deadlines; both in milliseconds."""

    def now(self) -> int: ...

    def monotonic(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> int:
        return time.monotonic_ns() // 1_000_000


@dataclass(slots=True)
class ScriptedClock:
    """A clock that stands still until it is told to move; the twin that tests and verification use."""

    at: int = 1_772_355_600_000  # 2026-03-01T09:00:00Z

    def now(self) -> int:
        return self.at

    def monotonic(self) -> int:
        return self.at

    def advance(self, ms: int) -> None:
        self.at += ms


def iso(ms: int | None) -> str | None:
    """RFC 3339 in UTC with milliseconds; None stays None."""
    if ms is None:
        return None
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def from_iso(text: str) -> int:
    """Milliseconds of an RFC 3339 instant. Raises ValueError without a zone, and outside the years 1 to 9999 in UTC."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    ms = round(moment.timestamp() * 1000)
    iso(ms)  # refuses what its zone moves out of these years
    return ms
