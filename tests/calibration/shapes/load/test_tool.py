"""Trials of load_price_list: what is written, what is left out, and that a part is loaded once."""

from typing import Any

import pytest
from tool import SAMPLES, is_ean, run
from toolkit.testing import Trial, trial

PEN, LAMP, DESK = "4006381333931", "4012345678901", "5901234123457"


def row(ean: str = PEN, name: str = "Pen", price: str = "1.50", stock: int = 10) -> dict[str, Any]:
    return {"ean": ean, "name": name, "price": price, "stock": stock}


def body(name: str = "Pen", price_cents: int = 150, stock: int = 10, supplier: str = "acme") -> dict[str, Any]:
    return {"supplier": supplier, "name": name, "price_cents": price_cents, "stock": stock}


def load(*rows: dict[str, Any], after: Trial | None = None, script: Any = (), products: Any = (), **more: Any) -> Trial:
    args = {"import_id": "i", "part": 1, "supplier": "acme", "on_invalid": "skip", "rows": list(rows), **more}
    t = trial(run, args, world={"records": {"products": list(products)}}, script=script, after=after)
    if t.result:
        buckets = ("written", "skipped", "failed", "unchanged", "duplicates", "invalid")
        assert sum(t.result[bucket] for bucket in buckets) == t.result["rows"] == len(rows)
    return t


def counted(t: Trial) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: value for name, value in t.result.items() if isinstance(value, int) and value}


def stored(t: Trial, collection: str = "products") -> dict[str, Any]:
    return {each["key"]: each["body"] for each in t.world["records"].get(collection, [])}


def test_new_products_are_written_as_one_with_their_receipt() -> None:
    t = load(row(), row(LAMP, " The  lamp ", "19.99", 0))
    assert counted(t) == {"rows": 2, "written": 2}
    assert t.effects == [
        {
            "effect": "store",
            "item": {
                "atomic": True,
                "records": [
                    {"key": PEN, "body": body(), "expected_version": 0},
                    {"key": LAMP, "body": body("The lamp", 1999, 0), "expected_version": 0},
                ],
            },
            "key": ["i", 1],
            "status": "done",
        },
        {"effect": "receipt", "item": {"key": "i/1", "body": {"supplier": "acme", "rows": 2}}, "key": ["i", 1], "status": "done"},
    ]
    assert t.result["ledger"] == "/ledgers/loads/i"
    assert (t.result["reason"], t.result["receipt"]) == ("", "done")


def test_only_what_differs_is_written_and_on_the_version_that_was_read() -> None:
    t = load(row(), row(LAMP, "Lamp", "5"), products=[{"key": PEN, "body": body()}, {"key": LAMP, "body": body("Lamp", 400)}])
    assert counted(t) == {"rows": 2, "written": 1, "unchanged": 1}
    assert t.items("store")[0]["records"] == [{"key": LAMP, "body": body("Lamp", 500), "expected_version": 1}]


def test_a_product_of_another_supplier_is_not_taken_over() -> None:
    t = load(row(), row(LAMP), products=[{"key": PEN, "body": body(supplier="other")}])
    assert counted(t) == {"rows": 2, "failed": 2}
    assert (t.result["reason"], t.result["receipt"]) == ("version_conflict", "none")
    assert stored(t) == {PEN: body(supplier="other")}
    assert stored(t, "import_parts") == {}


def test_of_rows_with_one_ean_the_first_fit_one_counts() -> None:
    t = load(row(price="x"), row(price="2"), row(price="3"))
    assert counted(t) == {"rows": 3, "written": 1, "duplicates": 1, "invalid": 1}
    assert stored(t)[PEN]["price_cents"] == 200


def test_a_part_that_is_loaded_again_changes_nothing() -> None:
    first = load(row(), row(LAMP))
    t = load(row(), row(LAMP), after=first)
    assert counted(t) == {"rows": 2, "unchanged": 2}
    assert t.result["receipt"] == "skipped"
    assert stored(t) == stored(first)


def test_a_part_whose_products_were_changed_since_stays_as_it_is() -> None:
    first = load(row())
    t = load(row(), after=first, products=[{"key": PEN, "body": body(price_cents=999)}])
    assert t.error is not None
    assert t.error["code"] == "part_differs"
    assert stored(t)[PEN]["price_cents"] == 999


def test_a_part_that_failed_is_loaded_by_the_next_call() -> None:
    first = load(row(), script=[{"effect": "store", "answer": "refuse_for_good"}])
    assert counted(first) == {"rows": 1, "failed": 1}
    assert first.result["reason"] == "version_conflict"
    assert stored(first, "import_parts") == {}
    t = load(row(), after=first)
    assert counted(t) == {"rows": 1, "written": 1}
    assert stored(t, "import_parts") == {"i/1": {"supplier": "acme", "rows": 1}}


def test_a_receipt_that_failed_is_told_and_written_by_the_next_call() -> None:
    first = load(row(), script=[{"effect": "receipt", "answer": "refuse_for_good"}])
    assert (first.result["written"], first.result["receipt"]) == (1, "failed")
    t = load(row(), after=first)
    assert (t.result["unchanged"], t.result["receipt"]) == (1, "done")
    assert list(stored(t, "import_parts")) == ["i/1"]


@pytest.mark.parametrize("effect", ["store", "receipt"])
def test_a_crash_repeats_nothing(effect: str) -> None:
    t = load(row(), script=[{"effect": effect, "answer": "crash"}])
    assert t.crashes == 1
    assert counted(t) == {"rows": 1, "written": 1}
    assert len(stored(t, "import_parts")) == 1


def test_another_part_of_the_import_is_loaded_too() -> None:
    t = load(row(LAMP), part=2, after=load(row()))
    assert counted(t) == {"rows": 1, "written": 1}
    assert sorted(stored(t, "import_parts")) == ["i/1", "i/2"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ean": "4006381333932"}, "ean_invalid"),
        ({"ean": "400638133393"}, "ean_invalid"),
        ({"name": " \t"}, "name_empty"),
        ({"price": "0"}, "price_zero"),
        ({"price": "0.00"}, "price_zero"),
        ({"price": "1.5"}, "price_unreadable"),
        ({"price": "-1.50"}, "price_unreadable"),
        ({"price": "1.505"}, "price_unreadable"),
        ({"price": "12345678"}, "price_unreadable"),
        ({"price": "Infinity"}, "price_unreadable"),
        ({"price": ""}, "price_unreadable"),
    ],
)
def test_a_row_that_is_not_fit_is_left_out_and_told(change: dict[str, Any], reason: str) -> None:
    t = load(row(LAMP), row(**change))
    assert counted(t) == {"rows": 2, "written": 1, "invalid": 1}
    assert t.result["samples"] == [{"row": 2, "reason": reason}]


def test_one_invalid_row_refuses_the_part_where_that_is_asked_for() -> None:
    t = load(row(LAMP), row(price="x"), on_invalid="refuse")
    assert t.error == {"code": "rows_invalid", "message": "1 rows cannot be loaded, the first is row 2."}
    assert t.effects == []
    assert counted(load(row(), on_invalid="refuse"))["written"] == 1


def test_many_products_are_compared_page_by_page() -> None:
    products = [{"key": str(number), "body": body(stock=number)} for number in range(600)] + [{"key": PEN, "body": body()}]
    assert counted(load(row(), products=products)) == {"rows": 1, "unchanged": 1}


def test_samples_stay_small() -> None:
    t = load(*[row(price="x")] * 9)
    assert [sample["row"] for sample in t.result["samples"]] == list(range(1, SAMPLES + 1))


@pytest.mark.parametrize(
    ("ean", "fits"), [(PEN, True), (LAMP, True), (DESK, True), ("4006381333930", False), ("\u0664006381333931", False)]
)
def test_the_last_digit_of_an_ean_checks_the_others(ean: str, fits: bool) -> None:
    assert is_ean(ean) is fits


def test_the_log_tells_the_counts_and_nobody_s_address() -> None:
    t = load(row(), uploaded_by="c1@example.com")
    assert [entry["event"] for entry in t.logs] == ["load_started", "load_finished"]
    assert t.logs[0]["fields"] == {"part": 1, "rows": 1}
    assert t.logs[1]["fields"] == {name: value for name, value in t.result.items() if isinstance(value, int)}
    assert t.progress == [{"done": 1, "total": 1}]
    assert "example.com" not in str(t.logs)
