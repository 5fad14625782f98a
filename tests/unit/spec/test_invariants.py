"""Invariants: what holds, what does not, and what must not take the service down."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from app.spec.invariants import check_expressions, check_invariants
from app.spec.model import ExecutionSpec, Invariant
from tests.unit.spec.sample import spec_body

ROOTS: dict[str, Any] = {
    "args": {"people": ["a", "b"], "n": 2, "ratio": 0.5},
    "result": {"sent": 2, "left": 0, "rows": [{"ok": True}, {"ok": False}]},
    "effects": {"send": {"done": 2}},
}


def broken(*expressions: str, **more: Any) -> dict[str, str | None]:
    """The texts that do not hold, with their errors."""
    found = check_expressions([Invariant(id="i", text="t", expr=text) for text in expressions], ROOTS, **more)
    return {one.expr: one.error for one in found}


def test_true_ones_are_silent_and_false_ones_are_named_with_their_numbers() -> None:
    spec = ExecutionSpec.parse(_text())
    assert check_invariants(spec, {"people": ["a"]}, {"sent": 1, "left": 0}, {}) == []
    (one,) = check_invariants(spec, {"people": ["a"]}, {"sent": 1, "left": 1}, {})
    assert one.id == "all_counted"
    assert one.values == {"result.sent": 1, "result.left": 1}
    assert "everyone is counted" in one.message


def _text() -> str:
    return json.dumps(spec_body())


@pytest.mark.parametrize(
    "text",
    [
        "result.sent == effects.send.done",
        "size(args.people) == args.n",
        "result.rows.exists(r, r.ok)",
        "!has(args.note)",
        "args.ratio * 2.0 == 1.0",
        "!has(result.zip) || result.zip == 1",
    ],
)
def test_the_language_is_cel(text: str) -> None:
    assert broken(text) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("result.nope == 1", "nothing is named 'nope'"),
        ("result.sent == 'x' + 1", "mixes types"),
        ("result.sent", "not true or false"),
        ("result.sent +", "no CEL expression"),
        ("result.sent / 0 == 1", "ZeroDivisionError"),
        ("9223372036854775807 + result.sent > 0", "OverflowError"),
    ],
)
def test_what_cannot_be_evaluated_is_broken_and_says_why(text: str, said: str) -> None:
    assert said in (broken(text)[text] or "")


def test_an_absent_count_is_zero() -> None:
    spec = ExecutionSpec.parse(_text())
    changed = spec.model_copy(update={"invariants": (Invariant(id="i", text="t", expr="effects.send.unknown == 0"),)})
    assert check_invariants(changed, {}, {}, {"send": {"done": 1}}) == []


def test_an_endless_expression_is_stopped_and_the_next_check_works() -> None:
    many = {"args": {"l": list(range(3000))}, "result": {}, "effects": {}}
    endless = "args.l.all(a, args.l.all(b, args.l.all(c, a + b + c >= 0)))"
    start = time.monotonic()
    found = check_expressions([Invariant(id="i", text="t", expr=text) for text in ("1 == 1", endless, "2 == 2")], many, time_limit_s=0.3)
    assert [one.expr for one in found] == [endless, "2 == 2"]
    assert "took longer" in (found[0].error or "")
    assert "not reached" in (found[1].error or "")
    assert time.monotonic() - start < 10
    assert broken("1 == 1") == {}


def test_a_check_does_not_start_a_process_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    started, popen = [], subprocess.Popen

    def noted(*args: Any, **how: Any) -> subprocess.Popen[bytes]:
        started.append(args)
        return popen(*args, **how)

    monkeypatch.setattr(subprocess, "Popen", noted)  # the same; what is started is noted
    broken("1 == 1")
    for _ in range(50):
        broken("result.sent + result.left == size(args.people)")
    assert len(started) <= 1, "the one that serves this process may have been started just now"


def test_texts_never_stand_in_the_message() -> None:
    roots = {"args": {"name": "Ann Secret"}, "result": {}, "effects": {}}
    (one,) = check_expressions([Invariant(id="i", text="t", expr="args.name == 'x'")], roots)
    assert "Ann" not in one.message
