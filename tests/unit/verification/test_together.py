"""A few of many at once, in order, and none left over."""

from __future__ import annotations

import asyncio

import pytest

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
