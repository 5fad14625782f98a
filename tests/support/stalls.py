"""When this machine stood still: a thread that asks to be woken often, and notes each time that it was woken much too late.

What is promised within a second is held against the time that there was. It refuses to be: an excuse for whoever is slow. A wait for a
turn on a busy machine is shorter than what is noted here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.waiting import until_async

EVERY_S, STALL_S = 0.02, 0.25
PATIENCE_S = 30.0


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
        before, ended = time.time(), False
        while not ended:
            ended = over.wait(EVERY_S)  # looked at once more: both may be woken from the last stall at once
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


async def until_within(promised_s: float, condition: Callable[[], bool], what: str) -> None:
    """Wait for `condition`, which is promised within so many seconds in which the machine did not stand still."""
    with watched() as stalls:
        began = time.time()
        await until_async(condition, PATIENCE_S, what)
        ended = time.time()
    assert ended - began - stalls.within(began, ended) <= promised_s, f"not within {promised_s:g} s: {what}"
