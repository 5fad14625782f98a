"""Waiting for a condition with a deadline: the only place in the tests that sleeps.

It refuses to be: a pause. What is waited for is always named.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
EVERY_S, SELDOM_S = 0.02, 0.2
PATIENCE = 0.05
"""What is waited for long is looked at less often, for questions cost whoever answers; at most this share of the time is lost."""


def until(condition: Callable[[], T | None], within_s: float = 10.0, what: str = "the condition", every_s: float = EVERY_S) -> T:
    """The first true value of `condition`. Fails, naming `what`, if there is none in time: who was held up looks once more."""
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        value = condition()
        if value:
            return value
        if waited > within_s:
            raise AssertionError(f"not within {within_s:g} s: {what} (last: {value!r})")
        time.sleep(_pause(waited, every_s))


def _pause(waited: float, every_s: float) -> float:
    return max(every_s, min(waited * PATIENCE, SELDOM_S))


@overload
async def until_async(condition: Callable[[], Awaitable[T | None]], within_s: float = 10.0, what: str = "the condition") -> T: ...


@overload
async def until_async(condition: Callable[[], T | None], within_s: float = 10.0, what: str = "the condition") -> T: ...


async def until_async(condition: Callable[[], Any], within_s: float = 10.0, what: str = "the condition") -> Any:
    """The same in async code; `condition` may be a coroutine function."""
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        found = condition()
        value = await found if isinstance(found, Awaitable) else found
        if value:
            return value
        if waited > within_s:
            raise AssertionError(f"not within {within_s:g} s: {what} (last: {value!r})")
        await asyncio.sleep(_pause(waited, EVERY_S))
