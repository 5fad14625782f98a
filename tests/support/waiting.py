"""Waiting for a condition with a deadline: the only place in the tests that sleeps.

It refuses to be: a pause. What is waited for is always named.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
EVERY_S = 0.02


def until(condition: Callable[[], T | None], within_s: float = 10.0, what: str = "the condition", every_s: float = EVERY_S) -> T:
    """The first true value of `condition`. Fails, naming `what`, if there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what} (last: {value!r})")
        time.sleep(every_s)


@overload
async def until_async(condition: Callable[[], Awaitable[T | None]], within_s: float = 10.0, what: str = "the condition") -> T: ...


@overload
async def until_async(condition: Callable[[], T | None], within_s: float = 10.0, what: str = "the condition") -> T: ...


async def until_async(condition: Callable[[], Any], within_s: float = 10.0, what: str = "the condition") -> Any:
    """The same in async code; `condition` may be a coroutine function."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        value = await found if isinstance(found, Awaitable) else found
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what} (last: {value!r})")
        await asyncio.sleep(EVERY_S)
