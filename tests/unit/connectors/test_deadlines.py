"""When a request must have left, for a process that is stopped at any point of asking."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
import uvloop

from app.connectors.deadlines import until
from app.connectors.port import Request
from app.core.clock import SystemClock

REQUEST = Request("effect_1", "default", "tool", "send", "email.send", {}, {}, None, 1, 0)


class Asleep(SystemClock):
    """A process that is stopped as it looks at the clock, for half a second, before or after."""

    def __init__(self, before: bool) -> None:
        self.before = before

    def monotonic(self) -> int:
        began = super().monotonic()
        while super().monotonic() < began + 500:
            pass
        return super().monotonic() if self.before else began


@pytest.mark.parametrize("before", [True, False])
def test_a_process_that_is_stopped_as_it_looks_at_the_clock_has_no_more_time_than_it_had(before: bool) -> None:
    async def left() -> float | None:
        ends_at = time.monotonic() + 2.0
        by = until(replace(REQUEST, deadline=round(ends_at * 1000)), Asleep(before))
        return None if by is None else by.leave - ends_at

    beyond = uvloop.run(left())
    assert beyond is not None
    assert beyond < 0.01


def test_what_is_over_by_then_leaves_nothing() -> None:
    async def found() -> object:
        return until(replace(REQUEST, deadline=SystemClock().monotonic() + 200), Asleep(before=True))

    assert uvloop.run(found()) is None


def test_an_answer_may_be_waited_for_longer_than_anything_may_leave() -> None:
    async def found() -> float:
        now = SystemClock().monotonic()
        by = until(replace(REQUEST, deadline=now + 1000, answer_by=now + 5000), SystemClock())
        assert by is not None
        return by.answer - by.leave

    assert asyncio.run(found()) == pytest.approx(4.0)
