"""Trials of price_order: cents, discounts, taxes, days."""

from typing import Any

import pytest
from tool import MOST_CENTS, due_on, run, spread
from toolkit.testing import Trial, trial


def price(*lines: tuple[str, str, str], **more: Any) -> Trial:
    ordered = [{"sku": f"s{n}", "quantity": quantity, "unit_price": each, "rate": rate} for n, (quantity, each, rate) in enumerate(lines)]
    args = {"customer": {"email": "c1@example.com", "name": "Ann"}, "issued_on": "2026-03-02", "due_days": 0, "lines": ordered}
    return trial(run, args | more)


def test_an_order_with_two_rates_and_a_discount() -> None:
    t = price(("2", "49.90", "standard"), ("3", "10.00", "reduced"), discount_percent="10", due_days=14)
    assert t.result == {
        "subtotal_cents": 12980,
        "discount_cents": 1298,
        "net_cents": 11682,
        "tax_cents": 1896,
        "gross_cents": 13578,
        "rates": {
            "zero": {"net_cents": 0, "tax_cents": 0},
            "reduced": {"net_cents": 2700, "tax_cents": 189},
            "standard": {"net_cents": 8982, "tax_cents": 1707},
        },
        "due_on": "2026-03-16",
    }
    assert t.effects == []


@pytest.mark.parametrize(
    ("quantity", "each", "total"),
    [("1", "1.005", 101), ("1", "2.125", 213), ("3", "0.335", 101), ("0.001", "4.99", 0), ("0.001", "5", 1), ("1", "0", 0)],
)
def test_each_line_is_rounded_half_up_to_cents(quantity: str, each: str, total: int) -> None:
    assert price((quantity, each, "zero")).result["subtotal_cents"] == total


def test_tax_is_rounded_by_rate_and_not_by_line() -> None:
    t = price(*[("1", "0.03", "standard")] * 3)
    assert t.result["tax_cents"] == 2
    assert t.result["gross_cents"] == 11


@pytest.mark.parametrize(
    ("discount", "net", "shares"),
    [
        (100, {"zero": 100, "reduced": 100, "standard": 100}, {"zero": 34, "reduced": 33, "standard": 33}),
        (100, {"zero": 100, "reduced": 200, "standard": 400}, {"zero": 14, "reduced": 29, "standard": 57}),
        (1, {"zero": 0, "reduced": 0, "standard": 9}, {"zero": 0, "reduced": 0, "standard": 1}),
        (0, {"zero": 0, "reduced": 0, "standard": 0}, {"zero": 0, "reduced": 0, "standard": 0}),
    ],
)
def test_a_discount_is_spread_without_losing_a_cent(discount: int, net: dict[str, int], shares: dict[str, int]) -> None:
    assert spread(discount, net) == shares


def test_all_of_it_may_be_taken_off() -> None:
    t = price(("1", "10", "standard"), ("1", "3.33", "reduced"), discount_percent="100")
    assert (t.result["net_cents"], t.result["tax_cents"], t.result["gross_cents"]) == (0, 0, 0)


def test_a_discount_may_be_a_part_of_a_percent() -> None:
    assert price(("1", "99.99", "zero"), discount_percent="2.5").result["discount_cents"] == 250


@pytest.mark.parametrize(
    ("issued", "days", "due"),
    [
        ("2026-03-06", 0, "2026-03-06"),
        ("2026-03-06", 1, "2026-03-09"),
        ("2026-03-06", 2, "2026-03-09"),
        ("2026-03-06", 3, "2026-03-09"),
        ("2024-02-28", 1, "2024-02-29"),
        ("2025-12-31", 30, "2026-01-30"),
    ],
)
def test_the_day_of_payment_is_a_weekday(issued: str, days: int, due: str) -> None:
    assert due_on(issued, days) == due


@pytest.mark.parametrize(("issued", "days"), [("2026-02-30", 0), ("0000-01-01", 0), ("9999-12-31", 1), ("9999-12-25", 365)])
def test_a_day_that_is_not_in_the_calendar_is_refused(issued: str, days: int) -> None:
    t = price(("1", "1", "zero"), issued_on=issued, due_days=days)
    assert t.error is not None
    assert t.error["code"] == "date_invalid"


@pytest.mark.parametrize("quantity", ["0", "0.000"])
def test_a_line_that_orders_nothing_is_refused(quantity: str) -> None:
    t = price(("1", "1", "zero"), (quantity, "1", "zero"))
    assert t.error is not None
    assert t.error["code"] == "quantity_zero"


def test_an_order_has_a_limit() -> None:
    assert price(*[("1000", "5000000", "zero")] * 2).result["subtotal_cents"] == MOST_CENTS == 10**12
    t = price(*[("1000", "5000000", "zero")] * 2, ("1", "0.01", "zero"))
    assert t.error is not None
    assert t.error["code"] == "too_large"


def test_the_log_tells_counts_and_nobody_s_name() -> None:
    t = price(("1", "1.00", "standard"))
    assert t.logs == [{"event": "order_priced", "fields": {"lines": 1, "gross_cents": 119}}]
