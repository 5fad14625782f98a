"""Places of a port: what has begun leaves in its order, from as many places as the port takes at once, each in its own call's context."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from dataclasses import replace
from typing import cast

import pytest

from app.connectors.scripted import ScriptedEmail, scripted
from app.runtime.places import Place, Places, Sending
from tests.support.waiting import until_async as until

pytestmark = pytest.mark.anyio
CALL: ContextVar[str] = ContextVar("call", default="")


def place(concurrency: int, ahead: int = 1) -> Place:
    email = cast("ScriptedEmail", scripted().effects["email.send"])
    return Places(ahead).of(replace(email, concurrency=concurrency))


def noted(seen: list[object], what: object, go_on: asyncio.Event | None = None) -> Sending:
    """Says that it was begun, and in whose name; takes until `go_on`."""

    async def sending() -> None:
        seen.append((what, CALL.get()))
        CALL.set("somebody's")
        if go_on is not None:
            await go_on.wait()

    return sending


async def test_as_many_leave_at_once_as_the_port_takes_and_the_others_in_their_order() -> None:
    at, seen, go_on, context = place(3), list[object](), asyncio.Event(), copy_context()
    for number in range(10):
        at.send(noted(seen, number, go_on), context)
    await asyncio.gather(*(asyncio.create_task(asyncio.sleep(0)) for _ in range(3)))
    assert [what for what, _ in cast("list[tuple[int, str]]", seen)] == [0, 1, 2]
    go_on.set()
    await until(lambda: len(seen) == 10)
    assert [what for what, _ in cast("list[tuple[int, str]]", seen)] == list(range(10))


async def test_who_has_heard_an_answer_goes_on_with_the_next_in_the_same_turn() -> None:
    at, seen, context = place(1), list[object](), copy_context()
    for number in range(4):
        at.send(noted(seen, number), context)
    await asyncio.sleep(0)
    assert len(seen) == 4


async def test_what_leaves_bears_the_names_of_its_own_call_whoever_had_the_place_before() -> None:
    at, seen, calls = place(1), list[object](), [copy_context(), copy_context()]
    for call, name in zip(calls, ("a", "b"), strict=True):
        call.run(CALL.set, name)
    for number, whose in enumerate([0, 1, 0, 1]):
        at.send(noted(seen, number), calls[whose])
    await until(lambda: len(seen) == 4)
    assert seen == [(0, "a"), (1, "b"), (2, "a"), (3, "b")]


async def test_what_one_sets_in_its_context_another_place_of_the_same_call_does_not_see() -> None:
    at, seen, go_on, context = place(2), list[object](), asyncio.Event(), copy_context()
    at.send(noted(seen, "first", go_on), context)
    at.send(noted(seen, "second", go_on), context)
    await until(lambda: len(seen) == 2)
    assert seen == [("first", ""), ("second", "")]
    go_on.set()


async def test_a_place_whose_sender_is_cancelled_is_free_again() -> None:
    at, seen, context = place(1), list[object](), copy_context()
    at.send(noted(seen, "held", asyncio.Event()), context)
    await until(lambda: len(seen) == 1)
    (sender,) = (task for task in asyncio.all_tasks() if task.get_name().startswith("sender of"))
    sender.cancel()
    await asyncio.wait([sender])
    at.send(noted(seen, "next"), context)
    await until(lambda: len(seen) == 2)


async def test_room_is_given_back_once_however_often_it_is_said() -> None:
    at = place(1)
    await at.enter("one")
    second, third = (asyncio.create_task(at.enter(name)) for name in ("two", "three"))
    at.leave("one")
    at.leave("one")
    await asyncio.wait([second])
    assert not third.done()
    at.leave("two")
    await asyncio.wait([third])
