"""Suites that start and end promotions and assert too little of what they wrote."""

from __future__ import annotations

_HEAD = '''"""Trials of run_promotion."""

from typing import Any

import pytest
from tool import run
from toolkit.testing import trial

LAMP = {"category": "lamps", "name": "Desk lamp", "price": "20.00"}
LAMPS = [
    {"key": "1", "body": LAMP},
    {"key": "2", "body": {**LAMP, "price": "ask Ann"}},
    {"key": "3", "body": {**LAMP, "price": "0.01"}},
    {"key": "4", "body": {**LAMP, "promotion": "spring", "regular": LAMP}},
    {"key": "5", "body": {**LAMP, "promotion": "spring"}},
    {"key": "6", "body": {**LAMP, "promotion": "winter"}},
]


def promote(action: str = "start", percent: Any = "75", category: Any = "lamps", **more: Any) -> Any:
    promotion = {"key": "spring", "body": {"category": category, "percent_off": percent}}
    world = {"records": {"promotions": [promotion], "products": LAMPS}}
    return trial(run, {"promotion_id": "spring", "action": action}, world=world, **more)
'''

NOTHING_ASSERTED = (
    _HEAD
    + """

@pytest.mark.parametrize("action", ["start", "end"])
@pytest.mark.parametrize("answer", ["refuse_now", "refuse_for_good", "lose_reply", "crash"])
def test_faults_are_survived(action: str, answer: str) -> None:
    promote(action, script=[{"effect": "reprice", "answer": answer}, {"effect": "restore", "answer": answer}])


@pytest.mark.parametrize(("percent", "category"), [(None, "lamps"), ("0", "lamps"), ("5", ""), ("5", 7)])
def test_a_bad_promotion_is_survived(percent: Any, category: Any) -> None:
    promote("start", percent, category)


def test_it_runs_again() -> None:
    promote("end", after=promote("start", after=promote()))
    trial(run, {"promotion_id": "spring", "action": "start"})
"""
)

NOBODY_LOOKS_AT_PRICES = (
    _HEAD
    + """

def test_a_promotion_is_started() -> None:
    t = promote()
    assert t.result["products"] == 6
    assert t.result["changed"] == 1
    assert t.result["taken"] == 1
    assert t.result["left_out"] == 2


def test_a_promotion_is_ended() -> None:
    t = promote("end")
    assert t.result["products"] == 2
    assert t.result["changed"] == 1


def test_what_fails_is_counted() -> None:
    assert promote(script=[{"effect": "reprice", "answer": "refuse_for_good"}]).result["failed"] == 1


@pytest.mark.parametrize(("percent", "category"), [(None, "lamps"), ("0", "lamps"), ("5", ""), ("5", 7)])
def test_a_bad_promotion_is_an_error(percent: Any, category: Any) -> None:
    assert promote("start", percent, category).error["code"] == "promotion_invalid"


def test_a_missing_promotion_is_an_error() -> None:
    assert trial(run, {"promotion_id": "spring", "action": "start"}).error["code"] == "promotion_not_found"
"""
)
