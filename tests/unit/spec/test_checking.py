"""The check in a child process: it agrees with the lint, and a hostile spec harms nobody."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import Invalid, Limited, TooLarge
from app.spec.checking import MAX_BYTES, check
from tests.unit.spec.sample import CATALOG, spec_body


def refusal(body: Any, **more: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        asyncio.run(check(body, CATALOG, **more))
    assert caught.value.code == "spec_invalid"
    return caught.value


def test_a_right_spec_comes_back_as_a_value() -> None:
    assert asyncio.run(check(spec_body(), CATALOG)).name == "greet"


def test_problems_come_back_with_path_message_and_fix() -> None:
    error = refusal(spec_body({"effects.0.key": "[args.greeting_id]"}))
    (problem,) = error.problems
    assert problem.path == "$.effects[0].key"
    assert "item.to" in problem.fix
    assert "$.effects[0].key" in error.detail


@pytest.mark.parametrize("body", [None, [], "spec", {"x": float("nan")}, {"x": "\ud800"}, {"x": {1, 2}}])
def test_what_is_no_json_object_is_refused_before_any_child(body: Any) -> None:
    assert refusal(body).problems[0].path == "$"


def test_a_spec_over_the_size_limit_is_refused_before_any_child() -> None:
    with pytest.raises(TooLarge) as caught:
        asyncio.run(check(spec_body({"description": "x" * MAX_BYTES}), CATALOG))
    assert caught.value.code == "spec_too_large"


def test_deep_nesting_is_refused_before_any_child() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"x": deep}
    assert "nested" in refusal(spec_body({"inputs": deep})).problems[0].message


def test_a_child_that_cannot_be_told_to_stand_back_is_ended() -> None:
    told: list[int] = []

    def place(pid: int) -> None:
        told.append(pid)
        raise PermissionError

    async def refused() -> bool:
        with pytest.raises(PermissionError):
            await check(spec_body(), CATALOG, place=place)
        return is_there()

    def is_there() -> bool:
        return Path("/proc", str(told[0])).exists()

    assert not asyncio.run(refused())


def slow_spec() -> dict[str, Any]:
    """A spec whose invariant takes seconds to evaluate."""
    slow = "args.people.all(x, args.people.all(y, !x.matches('^(([a-z0-9@.])+)+$' + y)))"
    people = [f"p{number}@example.com" for number in range(100)]
    return spec_body({"invariants.0.expr": " && ".join([slow] * 11), "examples.0.args.people": people})


def test_an_expression_that_never_ends_is_stopped() -> None:
    start = time.monotonic()
    assert "took longer" in refusal(slow_spec(), wall_limit_s=1.0).problems[0].message
    assert time.monotonic() - start < 10


def test_a_pattern_that_wants_all_the_memory_is_refused() -> None:
    body = spec_body({"inputs.properties.note.pattern": "((a{1,1000}){1,1000}){1,1000}"})
    assert refusal(body).problems


def test_many_checks_at_once_all_answer() -> None:
    async def several() -> list[str]:
        return [spec.name for spec in await asyncio.gather(*(check(spec_body(), CATALOG) for _ in range(6)))]

    assert asyncio.run(several()) == ["greet"] * 6


def test_a_fifth_check_waits_for_its_turn_and_is_refused_if_none_comes() -> None:
    async def crowd() -> list[Any]:
        slow = [asyncio.create_task(check(slow_spec(), CATALOG, wall_limit_s=1.5)) for _ in range(4)]
        late = [check(spec_body(), CATALOG, wait_s=0.1), check(spec_body(), CATALOG)]
        return list(await asyncio.gather(*slow, *late, return_exceptions=True))

    *slow, refused, served = asyncio.run(crowd())
    assert all(isinstance(answer, Invalid) for answer in slow)
    assert isinstance(refused, Limited) and (refused.code, refused.status) == ("too_many_checks", 429) and refused.retryable
    assert served.name == "greet"
