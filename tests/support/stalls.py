"""When this machine stood still: a thread that asks to be woken often, and notes each time that it was woken much too late.

What is promised within a second is held against the time that there was. It refuses to be: an excuse for whoever is slow. A wait for a
turn on a busy machine is shorter than what is noted here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

EVERY_S, STALL_S = 0.02, 0.25


@dataclass(eq=False)
class Stalls:
    """`noted`: from when to when nobody was woken, in seconds UTC."""

    noted: list[tuple[float, float]] = field(default_factory=list)

    def within(self, began: float, ended: float) -> float:
        """How many of the seconds between these instants were no time at all."""
        return sum(max(0.0, min(until, ended) - max(since, began)) for since, until in self.noted)


@contextmanager
def watched() -> Iterator[Stalls]:
    """Watch until the end of the block."""
    stalls, over = Stalls(), threading.Event()

    def watch() -> None:
        before = time.time()
        while not over.wait(EVERY_S):
            now = time.time()
            if now - before > STALL_S:
                stalls.noted.append((before, now))
            before = now

    thread = threading.Thread(target=watch, name="stalls", daemon=True)
    thread.start()
    try:
        yield stalls
    finally:
        over.set()
        thread.join()
