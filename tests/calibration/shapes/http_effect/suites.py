"""Suites that book shipments and assert too little of what the carrier was asked for."""

from __future__ import annotations

_HEAD = '''"""Trials of book_shipments."""

from typing import Any

import pytest
from tool import run
from toolkit.testing import trial

ADDRESS = {"name": "Ann Lee", "street": "Main Street 1", "postcode": "10115", "country": "DE"}
ORDER = {"warehouse": "north", "status": "packed", "weight_g": 500, "lines": [{"price": "9.99", "quantity": 1}], "address": ADDRESS}
BAD = [
    {"address": None},
    {"address": {**ADDRESS, "country": "US"}},
    {"address": {**ADDRESS, "postcode": "1"}},
    {"address": {**ADDRESS, "name": " "}},
    {"weight_g": 0},
    {"lines": []},
    {"lines": [{"price": "9.9", "quantity": 1}]},
]


def book(*orders: dict[str, Any], **more: Any) -> Any:
    rows = [{"key": f"o{n:04}", "body": {**ORDER, **order}} for n, order in enumerate(orders, start=1)]
    world = {"records": {"warehouses": [{"key": "north", "body": {"service": "parcel_24"}}], "orders": rows}}
    return trial(run, {"warehouse": "north"}, world=world, **more)
'''

NOTHING_ASSERTED = (
    _HEAD
    + """

@pytest.mark.parametrize("answer", ["refuse_now", "refuse_for_good", "lose_reply", "crash"])
@pytest.mark.parametrize("effect", ["book", "note"])
def test_faults_are_survived(effect: str, answer: str) -> None:
    book({}, {}, script=[{"effect": effect, "answer": answer}])


def test_it_runs_again() -> None:
    book(*BAD, {}, after=book({}))


def test_a_missing_warehouse_is_survived() -> None:
    trial(run, {"warehouse": "north"})
    trial(run, {"warehouse": "north"}, world={"records": {"warehouses": [{"key": "north", "body": {}}]}})
"""
)

ANSWERS_ALONE = (
    _HEAD
    + """

def test_orders_are_booked() -> None:
    assert book({}, {}).result["booked"] == 2


def test_orders_that_cannot_be_shipped_are_counted() -> None:
    assert book(*BAD).result["unshippable"] == len(BAD)


def test_a_second_call_books_nothing() -> None:
    assert book(after=book({})).result["booked_before"] == 1


@pytest.mark.parametrize(("answer", "bucket"), [("refuse_now", "waiting"), ("refuse_for_good", "refused"), ("lose_reply", "unknown")])
def test_answers_are_counted(answer: str, bucket: str) -> None:
    assert book({}, script=[{"effect": "book", "answer": answer}]).result[bucket] == 1


def test_a_missing_warehouse_is_an_error() -> None:
    assert trial(run, {"warehouse": "north"}).error["code"] == "warehouse_not_found"


def test_a_warehouse_without_a_service_is_an_error() -> None:
    world = {"records": {"warehouses": [{"key": "north", "body": {}}]}}
    assert trial(run, {"warehouse": "north"}, world=world).error["code"] == "warehouse_invalid"
"""
)
