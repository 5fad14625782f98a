"""A few of many at once: runs of a candidate share the machine with those of other gates, and each run is given time by the clock.

It refuses to be: unending. Where one fails, or nobody waits any more, the others end with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

AT_ONCE = 4
Item = TypeVar("Item")
Result = TypeVar("Result")


async def together(do: Callable[[Item], Awaitable[Result]], items: Iterable[Item]) -> list[Result]:
    """What it comes to for each item, in their order; at most four are under way. Raises what the first raises that fails."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(item: Item) -> Result:
        async with turn:
            return await do(item)

    tasks = [asyncio.create_task(one(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
