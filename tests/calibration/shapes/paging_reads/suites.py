"""Suites that run the report and assert too little of it."""

from __future__ import annotations

_HEAD = '''"""Trials of sales_report."""

from tool import run
from toolkit.testing import trial

ARGS = {"first_day": "2026-03-01", "last_day": "2026-03-31", "currency": "EUR", "top": 3}
LINES = [{"sku": "lamp", "quantity": 2, "unit_price": "19.99"}, {"sku": "desk", "quantity": 1, "unit_price": "250"}]
PAID = {"placed_at": "2026-03-10T12:00:00Z", "currency": "EUR", "status": "paid", "customer": "c1"}
ORDER = {**PAID, "discount_percent": "10", "lines": LINES}
ORDERS = [
    {"key": "1", "body": ORDER},
    {"key": "2", "body": {**ORDER, "status": "refunded", "customer": "c2"}},
    {"key": "3", "body": {**ORDER, "placed_at": "2026-04-10T12:00:00Z"}},
    {"key": "4", "body": {**ORDER, "placed_at": "yesterday"}},
    {"key": "5", "body": {**ORDER, "customer": 7}},
    {"key": "6", "body": {**ORDER, "lines": []}},
    {"key": "7", "body": {**ORDER, "lines": [{"sku": "lamp", "quantity": 0, "unit_price": "1"}]}},
    {"key": "8", "body": {**ORDER, "lines": [{"sku": "lamp", "quantity": 1, "unit_price": "x"}]}},
]
WORLD = {"records": {"orders": ORDERS}}
'''

COUNTS_ALONE = (
    _HEAD
    + """

def test_orders_are_counted() -> None:
    t = trial(run, ARGS, world=WORLD)
    assert t.result["read"] == 8
    assert t.result["counted"] == 2
    assert t.result["outside"] == 1


def test_a_period_that_ends_before_it_begins() -> None:
    assert trial(run, {**ARGS, "first_day": "2026-04-01"}, world=WORLD).error is not None
"""
)

NO_ERROR_ALONE = (
    _HEAD
    + """

def test_a_report_is_made() -> None:
    t = trial(run, ARGS, world=WORLD)
    assert t.error is None
    assert t.result


def test_a_report_of_nothing_is_made() -> None:
    assert trial(run, ARGS).error is None


def test_a_report_of_many_orders_is_made() -> None:
    rows = [{"key": f"{n:05}", "body": ORDER} for n in range(1001)]
    assert trial(run, ARGS, world={"records": {"orders": rows}}).error is None


def test_a_period_that_ends_before_it_begins() -> None:
    assert trial(run, {**ARGS, "first_day": "2026-04-01"}, world=WORLD).error is not None
"""
)
