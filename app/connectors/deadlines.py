"""When a request must have left and must be answered, as the event loop counts time.

It refuses to be: a timer. Whoever writes looks at the time at the very moment at which it writes.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from app.connectors.port import Request
from app.core.clock import Clock


class Until(NamedTuple):
    """Seconds of the event loop's clock: nothing that may commit leaves after `leave`; an answer is waited for until `answer`."""

    leave: float
    answer: float


def until(request: Request, clock: Clock) -> Until | None:
    """What a request says of it by `clock`; None where its time to leave is over.

    The loop is asked first. A process that is stopped between the two readings finds that its time is over; the other way round it would
    find as much of it left as when it was stopped.
    """
    here = asyncio.get_running_loop().time()
    now = clock.monotonic()
    if request.deadline <= now:
        return None
    return Until(here + (request.deadline - now) / 1000, here + (request.waits_until - now) / 1000)
