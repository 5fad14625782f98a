"""Suites for price_order that look like tests and assert too little."""

NOTHING_ASSERTED = '''"""Trials of price_order."""

import pytest
from tool import run
from toolkit.testing import trial

LINES = [
    {"sku": "a", "quantity": "2", "unit_price": "49.90", "rate": "standard"},
    {"sku": "b", "quantity": "1", "unit_price": "1.005", "rate": "reduced"},
    {"sku": "c", "quantity": "1", "unit_price": "3", "rate": "zero"},
]


@pytest.mark.parametrize("percent", ["0", "10", "33.33", "100"])
@pytest.mark.parametrize("days", [0, 1, 14])
def test_an_order_is_priced(percent: str, days: int) -> None:
    args = {"customer": {"email": "c1@example.com"}, "issued_on": "2026-03-06", "due_days": days, "lines": LINES}
    t = trial(run, {**args, "discount_percent": percent})
    assert t.result is not None
    assert "gross_cents" in t.result


def test_a_wrong_day_is_an_error() -> None:
    args = {"customer": {"email": "c1@example.com"}, "issued_on": "2026-02-30", "due_days": 1, "lines": LINES}
    assert trial(run, args).error is not None
'''

COMPUTED_BY_THE_TOOL = '''"""Trials of price_order: its results are what its own parts compute."""

import pytest
from tool import RATES, cents, due_on, line_cents, run, spread, taxed
from toolkit.testing import trial

LINES = [
    {"sku": "a", "quantity": "2", "unit_price": "49.90", "rate": "standard"},
    {"sku": "b", "quantity": "1", "unit_price": "1.005", "rate": "reduced"},
]


@pytest.mark.parametrize("days", [0, 1, 14])
def test_an_order_is_priced(days: int) -> None:
    t = trial(run, {"customer": {"email": "c1@example.com"}, "issued_on": "2026-03-06", "due_days": days, "lines": LINES})
    net = {rate: sum(line_cents(line) for line in LINES if line["rate"] == rate) for rate in RATES}
    assert t.result["subtotal_cents"] == sum(net.values())
    assert t.result["rates"] == {rate: taxed(rate, net[rate]) for rate in RATES}
    assert t.result["due_on"] == due_on("2026-03-06", days)
    assert t.result["gross_cents"] == t.result["net_cents"] + t.result["tax_cents"]


def test_a_discount_is_spread() -> None:
    shares = spread(100, {"zero": 100, "reduced": 200, "standard": 400})
    assert shares == spread(100, {"zero": 100, "reduced": 200, "standard": 400})


def test_a_line_that_orders_nothing_is_refused() -> None:
    args = {"customer": {"email": "c1@example.com"}, "issued_on": "2026-03-06", "due_days": 0}
    t = trial(run, {**args, "lines": [{"sku": "a", "quantity": "0", "unit_price": "1", "rate": "zero"}]})
    assert t.error is not None and t.error["code"] == "quantity_zero"
'''

TOTALS_ALONE = '''"""Trials of price_order: the totals."""

from tool import run
from toolkit.testing import trial


def price(**more: object) -> object:
    lines = [{"sku": "a", "quantity": "2", "unit_price": "50", "rate": "standard"}]
    args = {"customer": {"email": "c1@example.com"}, "issued_on": "2026-03-02", "due_days": 1, "lines": lines}
    return trial(run, {**args, **more})


def test_the_total_is_positive() -> None:
    assert price().result["gross_cents"] > 0


def test_a_discount_makes_it_cheaper() -> None:
    assert price(discount_percent="10").result["gross_cents"] < price().result["gross_cents"]


def test_the_tax_is_part_of_it() -> None:
    t = price()
    assert t.result["net_cents"] + t.result["tax_cents"] == t.result["gross_cents"]
'''
