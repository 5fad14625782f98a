"""A few of many at once, in order, and none left over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.sandbox.sandbox import Sandbox
from app.verification.subject import Bench
from app.verification.together import AT_ONCE, together


def test_a_few_are_under_way_at_once_and_all_are_told_in_order() -> None:
    under_way: set[int] = set()
    most = 0

    async def do(number: int) -> int:
        nonlocal most
        under_way.add(number)
        most = max(most, len(under_way))
        await asyncio.to_thread(int)
        under_way.remove(number)
        return -number

    assert asyncio.run(together(do, range(10))) == [-number for number in range(10)]
    assert most == AT_ONCE


def test_where_one_fails_the_others_end_with_it() -> None:
    ended: list[int] = []

    async def do(number: int) -> None:
        if number == 2:
            raise KeyError(number)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    async def tried() -> None:
        with pytest.raises(KeyError):
            await together(do, range(10))
        assert {0, 1, 3} <= set(ended) and len(asyncio.all_tasks()) == 1, "only this test goes on"

    asyncio.run(tried())


def test_what_takes_too_long_comes_to_nothing_and_a_limit_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    idle = Sandbox(tmp_path)
    bench = Bench(idle, idle, tmp_path, tmp_path, patience=0.01)

    async def limited() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    async def tried() -> None:
        assert await bench.in_time(1, asyncio.Event().wait()) is None
        assert await bench.in_time(1000, asyncio.sleep(0, "done")) == "done"
        with pytest.raises(TimeoutError):
            await bench.in_time(1000, limited())

    asyncio.run(tried())
