"""What a tool says through its context, against a host in the same process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from generated_tools.toolkit import Cancelled, Context, ToolError

Message = dict[str, Any]


class Host:
    """Answers each request when it is asked to, in order, and notes how many were open at once."""

    def __init__(self, answer: Callable[[Message], Message]) -> None:
        self.said: list[Message] = []
        self.most_open = 0
        self._answer = answer
        self._open: deque[Message] = deque()

    def send(self, message: Message) -> None:
        self.said.append(message)
        if message["t"] in ("read", "perform"):
            self._open.append(message)
            self.most_open = max(self.most_open, len(self._open))

    def receive(self) -> Message:
        return self._answer(self._open.popleft())


def echo(message: Message) -> Message:
    """Every item done, its receipt the item; a read answers its query."""
    if message["t"] == "read":
        return {"t": "answer", "now": 1000 * message["step"], "value": message["query"]}
    return {"t": "answer", "now": 5, "value": [{"status": "done", "receipt": {"item": item}} for item in message["items"]]}


def context(answer: Callable[[Message], Message] = echo) -> tuple[Context, Host]:
    host = Host(answer)
    return Context(host, now=1_700_000_000_000, seed="5eed"), host


def test_answers_find_their_requests_whatever_their_order() -> None:
    class Hasty(Host):
        """Answers the newest request first, and says which it is."""

        def receive(self) -> Message:
            message = self._open.pop()
            return self._answer(message) | {"step": message["step"], "chunk": message.get("chunk", 0)}

    host = Hasty(echo)
    ctx = Context(host, now=1_700_000_000_000, seed="5eed")

    def items() -> Iterator[Message]:
        for number in range(700):
            yield {"n": number} | (ctx.read("note", at=number) if number in (60, 555) else {})

    outcomes = list(ctx.perform_each("send", items()))
    assert [(outcome.receipt or {})["item"]["n"] for outcome in outcomes] == list(range(700))
    assert outcomes[60].receipt == {"item": {"n": 60, "at": 60}}
    assert [each["t"] for each in host.said] == ["perform", "read", "perform", "read", "perform"]


def test_many_items_come_back_in_order_in_bounded_chunks() -> None:
    ctx, host = context()
    outcomes = list(ctx.perform_each("send", ({"n": n} for n in range(1300))))
    assert [outcome.receipt for outcome in outcomes] == [{"item": {"n": n}} for n in range(1300)]
    assert [(each["chunk"], each["first"], len(each["items"]), each["last"]) for each in host.said] == [
        (0, 0, 50, False),
        (1, 50, 500, False),
        (2, 550, 500, False),
        (3, 1050, 250, True),
    ]
    assert {each["step"] for each in host.said} == {1}
    assert host.most_open == 2


def test_large_items_make_small_chunks() -> None:
    ctx, host = context()
    assert len(ctx.perform_many("send", [{"text": "x" * 300_000} for _ in range(8)])) == 8
    assert max(len(each["items"]) for each in host.said) == 3


def test_no_items_are_no_message_but_a_step() -> None:
    ctx, host = context()
    assert ctx.perform_many("send", []) == []
    ctx.read("x")
    assert [(each["t"], each["step"]) for each in host.said] == [("read", 2)]


def test_an_iterable_is_not_read_far_ahead_of_its_outcomes() -> None:
    pulled = 0

    def items() -> Iterator[int]:
        nonlocal pulled
        for n in range(10_000):
            pulled = n
            yield n

    ctx, _ = context()
    outcomes = ctx.perform_each("send", items())
    next(outcomes)
    assert pulled <= 550


def test_a_read_between_outcomes_gets_its_own_answer() -> None:
    ctx, host = context()
    seen: list[tuple[Any, Any]] = []
    for outcome in ctx.perform_each("send", range(700)):
        seen.append((outcome.receipt, ctx.read("customer", n=len(seen))))
    assert seen == [({"item": n}, {"n": n}) for n in range(700)]
    assert sum(each["t"] == "read" for each in host.said) == 700


def test_pages_are_steps_and_are_fetched_as_they_are_read() -> None:
    def pages(message: Message) -> Message:
        at = int(message["cursor"] or 0)
        return {"t": "answer", "now": 1, "value": {"items": [at, at + 1], "next_cursor": str(at + 2) if at < 4 else None}}

    ctx, host = context(pages)
    items = ctx.read_pages("audience", filter={"city": "Bonn"})
    assert next(items) == 0
    assert len(host.said) == 1
    assert list(items) == [1, 2, 3, 4, 5]
    assert [(each["step"], each["cursor"]) for each in host.said] == [(1, None), (2, "2"), (3, "4")]


def test_time_stands_still_between_answers() -> None:
    ctx, _ = context()
    assert ctx.now() == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    ctx.read("x")
    assert ctx.now() == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # an answer from before the start does not turn it back


def test_randomness_and_ids_follow_from_the_seed_alone() -> None:
    (one, _), (two, _) = context(), context()
    one.random.random()
    assert [one.new_id() for _ in range(3)] == [two.new_id() for _ in range(3)]
    assert one.new_id() != one.new_id()


def test_a_refusal_is_an_error_that_a_tool_can_catch() -> None:
    ctx, _ = context(lambda message: {"t": "refuse", "now": 1, "code": "effect_undeclared", "message": "no"})
    with pytest.raises(ToolError) as caught:
        ctx.perform("wipe", {})
    assert (caught.value.code, caught.value.message) == ("effect_undeclared", "no")


def test_cancellation_passes_a_broad_except_and_lasts() -> None:
    ctx, _ = context(lambda message: {"t": "cancel"})
    with pytest.raises(Cancelled):
        try:
            ctx.read("x")
        except Exception:  # noqa: BLE001 - what a careless tool would write
            pytest.fail("swallowed")
    with pytest.raises(Cancelled):
        ctx.read("x")
