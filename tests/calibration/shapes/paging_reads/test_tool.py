"""Trials of sales_report: which orders count, what they come to, who is best, and what cannot be read."""

from typing import Any

import pytest
from tool import PROGRESS_EVERY, SAMPLES, run
from toolkit.testing import Trial, trial

MARCH = {"first_day": "2026-03-01", "last_day": "2026-03-31", "currency": "EUR", "top": 3}


def line(sku: str = "lamp", quantity: Any = 1, unit_price: Any = "10.00") -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, "unit_price": unit_price}


def order(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"placed_at": "2026-03-10T12:00:00Z", "currency": "EUR", "status": "paid", "customer": "c1", "lines": list(lines) or [line()]}
    return body | more


def report(*orders: dict[str, Any], **args: Any) -> Trial:
    rows = [{"key": f"o{n:05}", "body": body} for n, body in enumerate(orders, start=1)]
    t = trial(run, MARCH | args, world={"records": {"orders": rows}})
    if t.result:
        assert t.result["counted"] + t.result["outside"] + t.result["unreadable"] == t.result["read"]
    return t


def amounts(t: Trial) -> dict[str, str]:
    return {name: t.result[name] for name in ("gross", "refunds", "net", "average")}


def counted(t: Trial) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: value for name, value in t.result.items() if isinstance(value, int) and value}


def test_orders_of_the_period_are_summed() -> None:
    t = report(order(line(quantity=2, unit_price="19.99"), line("bulb", 3, "0.10")), order(line("desk", 1, "250")))
    assert amounts(t) == {"gross": "290.28", "refunds": "0.00", "net": "290.28", "average": "145.14"}
    assert counted(t) == {"read": 2, "counted": 2, "products": 3, "customers": 1}


def test_a_refunded_order_counts_into_gross_and_refunds_and_for_nobody() -> None:
    t = report(order(line("desk", 2, "100.00"), status="refunded", customer="c2"), order())
    assert amounts(t) == {"gross": "210.00", "refunds": "200.00", "net": "10.00", "average": "105.00"}
    assert counted(t) == {"read": 2, "counted": 2, "refunded": 1, "products": 1, "customers": 1}
    assert t.result["top_products"] == [{"sku": "lamp", "quantity": 1, "revenue": "10.00"}]
    assert t.result["top_customers"] == [{"customer": "c1", "orders": 1, "revenue": "10.00"}]


def test_orders_of_another_currency_or_state_are_not_read() -> None:
    assert counted(report(order(currency="USD"), order(status="open"), order(status="cancelled"))) == {}


@pytest.mark.parametrize(
    ("placed_at", "inside"),
    [
        ("2026-03-01T00:00:00Z", True),
        ("2026-02-28T23:59:59Z", False),
        ("2026-03-31T23:59:59.999Z", True),
        ("2026-04-01T00:00:00Z", False),
        ("2026-04-01T01:00:00+02:00", True),
        ("2026-03-01T01:00:00+02:00", False),
    ],
)
def test_both_days_belong_to_the_period_and_days_are_those_of_utc(placed_at: str, inside: bool) -> None:
    t = report(order(placed_at=placed_at))
    assert counted(t) == ({"read": 1, "counted": 1, "products": 1, "customers": 1} if inside else {"read": 1, "outside": 1})


def test_a_period_of_one_day_is_a_period() -> None:
    assert counted(report(order(), first_day="2026-03-10", last_day="2026-03-10"))["counted"] == 1


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    t = report(order(), first_day="2026-03-02", last_day="2026-03-01")
    assert t.error is not None
    assert t.error["code"] == "period_invalid"


@pytest.mark.parametrize(
    ("unit_price", "quantity", "discount", "amount"),
    [
        ("1.005", 1, "0", "1.01"),
        ("1.004", 1, "0", "1.00"),
        ("0.10", 3, "0", "0.30"),
        ("19.99", 1, "10", "17.99"),
        ("10", 1, "100", "0.00"),
        ("999999999.9999", 1000000, "0", "999999999999900.00"),
    ],
)
def test_a_line_is_rounded_to_cents_half_up_after_its_discount(unit_price: str, quantity: int, discount: str, amount: str) -> None:
    t = report(order(line("lamp", quantity, unit_price), discount_percent=discount))
    assert t.result["gross"] == amount


def test_lines_are_rounded_one_by_one() -> None:
    t = report(order(line("a", 1, "0.333"), line("b", 1, "0.333"), line("c", 1, "0.333")))
    assert t.result["gross"] == "0.99"


def test_the_best_stand_first_and_equal_ones_by_name() -> None:
    t = report(
        order(line("b", 1, "5.00"), line("a", 2, "2.50"), line("z", 1, "9.00"), line("y", 1, "1.00")),
        order(line("z", 4, "1.00"), customer="c2"),
    )
    assert t.result["top_products"] == [
        {"sku": "z", "quantity": 5, "revenue": "13.00"},
        {"sku": "a", "quantity": 2, "revenue": "5.00"},
        {"sku": "b", "quantity": 1, "revenue": "5.00"},
    ]
    assert t.result["top_customers"] == [
        {"customer": "c1", "orders": 1, "revenue": "20.00"},
        {"customer": "c2", "orders": 1, "revenue": "4.00"},
    ]
    assert counted(t)["products"] == 4


def test_amounts_are_compared_as_numbers() -> None:
    t = report(order(line("a", 1, "9.00"), line("b", 1, "10.00")), top=1)
    assert [row["sku"] for row in t.result["top_products"]] == ["b"]


def test_orders_of_one_customer_are_added_up() -> None:
    t = report(order(), order(), order(customer="c2"))
    assert t.result["top_customers"][0] == {"customer": "c1", "orders": 2, "revenue": "20.00"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"lines": []}, "lines"),
        ({"lines": None}, "lines"),
        ({"lines": ["lamp"]}, "lines"),
        ({"lines": [line() | {"sku": 7}]}, "lines"),
        ({"customer": None}, "customer"),
        ({"customer": ""}, "customer"),
        ({"lines": [line(quantity=0)]}, "quantity"),
        ({"lines": [line(quantity=-1)]}, "quantity"),
        ({"lines": [line(quantity=1_000_001)]}, "quantity"),
        ({"lines": [line(quantity=True)]}, "quantity"),
        ({"lines": [line(quantity="2")]}, "quantity"),
        ({"lines": [line(unit_price=10.0)]}, "unit_price"),
        ({"lines": [line(unit_price="NaN")]}, "unit_price"),
        ({"lines": [line(unit_price="-1.00")]}, "unit_price"),
        ({"discount_percent": "101"}, "discount_percent"),
        ({"discount_percent": None}, "discount_percent"),
        ({"placed_at": None}, "placed_at"),
        ({"placed_at": "yesterday"}, "placed_at"),
        ({"placed_at": "2026-03-10T12:00:00"}, "placed_at"),
        ({"placed_at": "0001-01-01T00:00:00+14:00"}, "placed_at"),
    ],
)
def test_what_cannot_be_read_is_left_out_and_named(body: dict[str, Any], reason: str) -> None:
    t = report(order(**body), order())
    assert counted(t) == {"read": 2, "unreadable": 1, "counted": 1, "products": 1, "customers": 1}
    assert t.result["unreadable_samples"] == [{"order": "o00001", "reason": reason}]
    assert t.result["gross"] == "10.00"


def test_a_collection_of_many_pages_is_read_to_its_end() -> None:
    t = report(*(order(line(f"p{n % 7}", 1, "0.01"), customer=f"c{n % 11}") for n in range(2 * PROGRESS_EVERY + 1)), top=10)
    assert counted(t) == {"read": 2001, "counted": 2001, "products": 7, "customers": 11}
    assert t.result["gross"] == "20.01"
    assert len(t.result["top_products"]) == 7
    assert len(t.result["top_customers"]) == 10
    assert t.progress == [
        {"done": PROGRESS_EVERY, "total": None},
        {"done": 2 * PROGRESS_EVERY, "total": None},
        {"done": 2001, "total": 2001},
    ]


def test_samples_and_names_stay_small_and_the_result_within_its_limit() -> None:
    wide = "\U0001f4a1" * 100
    rows = [{"key": f"{wide}{n}", "body": order(lines=[])} for n in range(9)]
    rows += [{"key": f"{n}", "body": order(line(f"{n}{wide}"), customer=f"{n}{wide}")} for n in range(12)]
    t = trial(run, MARCH | {"top": 10}, world={"records": {"orders": rows}})
    assert t.error is None
    assert [len(sample["order"]) for sample in t.result["unreadable_samples"]] == [64] * SAMPLES
    assert [len(row["sku"]) for row in t.result["top_products"]] == [64] * 10
    assert [len(row["customer"]) for row in t.result["top_customers"]] == [64] * 10


def test_the_log_tells_the_counts_and_no_customer() -> None:
    t = report(order(customer="c12345"))
    assert [entry["event"] for entry in t.logs] == ["report_started", "report_finished"]
    assert t.logs[0]["fields"] == {"currency": "EUR"}
    assert t.logs[1]["fields"] == {name: value for name, value in t.result.items() if isinstance(value, int)}
    assert "c12345" not in str(t.logs)
