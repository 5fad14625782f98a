"""Suites for load_price_list that look like tests and assert too little."""

_HEAD = '''"""Trials of load_price_list."""

from typing import Any

import pytest
from tool import is_ean, price_cents, run
from toolkit.testing import trial

PEN, LAMP = "4006381333931", "4012345678901"


def row(ean: str = PEN, name: str = "Pen", price: str = "1.50", stock: int = 10) -> dict[str, Any]:
    return {"ean": ean, "name": name, "price": price, "stock": stock}


def load(*rows: dict[str, Any], on_invalid: str = "skip", **more: Any) -> Any:
    args = {"import_id": "i", "part": 1, "supplier": "acme", "on_invalid": on_invalid, "rows": list(rows)}
    return trial(run, args, **more)

'''

NOTHING_ASSERTED = (
    _HEAD
    + """
def test_rows_are_loaded() -> None:
    t = load(row(), row(LAMP), row(LAMP), row("1"), row(price="x"))
    assert t.error is None
    assert "written" in t.result


def test_rows_are_loaded_again() -> None:
    assert load(row(), after=load(row())).result


@pytest.mark.parametrize("answer", ["refuse_for_good", "crash", "crash_before"])
@pytest.mark.parametrize("effect", ["store", "receipt"])
def test_faults_are_survived(effect: str, answer: str) -> None:
    assert load(row(), script=[{"effect": effect, "answer": answer}]).result is not None


def test_a_bad_row_is_an_error() -> None:
    assert load(row(price="x"), on_invalid="refuse").error


@pytest.mark.parametrize("ean", ["", "1", PEN, LAMP])
def test_numbers_are_checked(ean: str) -> None:
    assert isinstance(is_ean(ean), bool)
    assert price_cents("1.50")
"""
)

WITHOUT_THE_RECEIPT = (
    _HEAD
    + """
def test_new_rows_are_written() -> None:
    t = load(row(), row(LAMP, "Lamp", "19.99"), row(LAMP), row(price="x", ean="5901234123457"))
    assert t.result["written"] == 2
    assert t.result["duplicates"] == 1
    assert t.result["invalid"] == 1
    assert t.result["samples"] == [{"row": 4, "reason": "price_unreadable"}]
    assert [each["body"]["price_cents"] for each in t.world["records"]["products"]] == [150, 1999]


def test_rows_that_are_there_are_not_written_again() -> None:
    assert load(row(), after=load(row())).result["unchanged"] == 1


def test_a_part_that_cannot_be_written_fails() -> None:
    assert load(row(), script=[{"effect": "store", "answer": "refuse_for_good"}]).result["failed"] == 1


@pytest.mark.parametrize("price", ["0", "-1", "1.5", ""])
def test_a_bad_price_refuses_the_part(price: str) -> None:
    t = load(row(price=price), on_invalid="refuse")
    assert t.error is not None and t.error["code"] == "rows_invalid"


@pytest.mark.parametrize(("ean", "fits"), [(PEN, True), (LAMP, True), ("4006381333930", False), ("1", False)])
def test_numbers_are_checked(ean: str, fits: bool) -> None:
    assert is_ean(ean) is fits
"""
)

PARTS_ALONE = (
    _HEAD
    + """
@pytest.mark.parametrize(("ean", "fits"), [(PEN, True), (LAMP, True), ("4006381333930", False), ("1", False), ("", False)])
def test_numbers_are_checked(ean: str, fits: bool) -> None:
    assert is_ean(ean) is fits


@pytest.mark.parametrize(("price", "cents"), [("1", 100), ("1.50", 150), ("19.99", 1999), ("1234567.89", 123456789)])
def test_prices_are_read(price: str, cents: int) -> None:
    assert price_cents(price) == cents


def test_a_part_can_be_loaded() -> None:
    assert load(row()).result
"""
)
