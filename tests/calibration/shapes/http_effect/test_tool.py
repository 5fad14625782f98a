"""Trials of book_shipments: what the carrier is asked for, what its answers mean, and that no order is booked twice."""

from typing import Any

import pytest
from tool import BATCH, CARRIER, MOST_WEIGHT_G, SAMPLES, run
from toolkit.testing import Trial, trial

BUCKETS = ("booked", "booked_before", "waiting", "refused", "unknown", "unshippable")
ADDRESS = {"name": "Ann Lee", "street": "Main Street 1", "postcode": "10115", "country": "DE"}
ORDER = {"warehouse": "north", "status": "packed", "weight_g": 500, "lines": [{"price": "9.99", "quantity": 1}], "address": ADDRESS}


def book(*orders: dict[str, Any], warehouse: Any = None, after: Trial | None = None, script: Any = ()) -> Trial:
    rows = [{"key": f"o{n:04}", "body": ORDER | order} for n, order in enumerate(orders, start=1)]
    body = {"service": "parcel_24"} if warehouse is None else warehouse
    world = {"records": {"warehouses": [{"key": "north", "body": body}], "orders": rows}}
    t = trial(run, {"warehouse": "north"}, world=world, script=script, after=after)
    if t.result:
        assert sum(t.result[bucket] for bucket in BUCKETS) == t.result["orders"]
        assert t.result["booked"] == t.counts["book"]["done"]
        assert t.result["noted"] == t.counts["note"]["done"]
    return t


def counted(t: Trial) -> dict[str, int]:
    """The counts that are not zero, but for that of all orders."""
    return {name: value for name, value in t.result.items() if isinstance(value, int) and value and name != "orders"}


def first(answer: str, effect: str = "book") -> list[dict[str, Any]]:
    return [{"effect": effect, "answer": answer, "times": 1}]


def shipments(t: Trial) -> list[str]:
    return [row["key"] for row in t.world["records"].get("shipments", [])]


def test_each_order_is_booked_with_what_it_says_and_noted() -> None:
    lines = [{"price": "19.99", "quantity": 2}, {"price": "0.10", "quantity": 3}]
    t = book({"lines": lines, "address": ADDRESS | {"name": " Ann Lee ", "phone": "030 123456"}}, {})
    assert t.items("book")[0] == {
        "method": "POST",
        "url": CARRIER,
        "json": {"reference": "o0001", "service": "parcel_24", "to": ADDRESS, "weight_g": 500, "declared_value": "40.28"},
    }
    label = "https://api.carrier.example.com/v1/shipments/aed271a8061404c4c773"
    assert t.items("note")[0] == {"key": "o0001", "body": {"order": "o0001", "shipment": "840c39572c65e0d196e3", "label": label}}
    assert [entry["key"] for entry in t.effects] == [["o0001"], ["o0002"], ["o0001"], ["o0002"]]
    assert [entry["effect"] for entry in t.effects] == ["book", "book", "note", "note"]
    assert counted(t) == {"booked": 2, "noted": 2}
    assert t.result["declared_value"] == "50.27"
    assert t.result["ledger"] == "/ledgers/shipments/north"


def test_a_second_call_books_and_notes_nothing_again() -> None:
    t = book(after=book({}, {}))
    assert counted(t) == {"booked_before": 2}
    assert t.result["declared_value"] == "0.00"
    assert t.items("book") == t.items("note") == []


def test_what_was_packed_since_is_booked_alone() -> None:
    t = book({}, {}, after=book({}))
    assert counted(t) == {"booked": 1, "booked_before": 1, "noted": 1}
    assert [item["json"]["reference"] for item in t.items("book")] == ["o0002"]


def test_orders_of_another_warehouse_or_state_are_left_alone() -> None:
    t = book({"warehouse": "south"}, {"status": "open"})
    assert (counted(t), t.effects, t.result["orders"]) == ({}, [], 0)


@pytest.mark.parametrize(
    ("answer", "bucket", "reason"),
    [
        ("refuse_now", "waiting", "http_429"),
        ("refuse_for_good", "refused", "http_422"),
        ("lose_reply", "unknown", "http_disconnected"),
        ("crash", "unknown", "holder_died"),
    ],
)
def test_what_the_carrier_did_not_accept_is_in_its_own_bucket_and_not_noted(answer: str, bucket: str, reason: str) -> None:
    t = book({}, {}, script=first(answer))
    assert counted(t) == {"booked": 1, "noted": 1, bucket: 1}
    assert t.result["samples"][bucket] == [{"order": "o0001", "reason": reason}]
    assert t.result["declared_value"] == "9.99"
    assert shipments(t) == ["o0002"]


@pytest.mark.parametrize("answer", ["refuse_now", "lose_reply"])
def test_what_is_under_way_or_in_doubt_is_not_asked_for_again(answer: str) -> None:
    t = book(after=book({}, script=first(answer)))
    assert t.items("book") == []
    assert counted(t)["waiting" if answer == "refuse_now" else "unknown"] == 1


def test_what_was_refused_for_good_is_asked_for_again_by_the_next_call() -> None:
    t = book(after=book({}, script=first("refuse_for_good")))
    assert counted(t) == {"booked": 1, "noted": 1}


def test_a_shipment_that_could_not_be_noted_is_noted_by_the_next_call() -> None:
    t = book({}, {}, script=first("refuse_for_good", "note"))
    assert counted(t) == {"booked": 2, "noted": 1, "unnoted": 1}
    assert t.result["samples"]["unnoted"] == [{"order": "o0001", "reason": "version_conflict"}]
    assert shipments(t) == ["o0002"]
    again = book(after=t)
    assert counted(again) == {"booked_before": 2, "noted": 1}
    assert shipments(again) == ["o0001", "o0002"]
    assert again.items("note")[0]["body"]["shipment"] == "ceed61a096b2d1769afb"


@pytest.mark.parametrize("answer", ["crash", "crash_before"])
def test_a_crash_while_noting_books_nothing_again(answer: str) -> None:
    t = book({}, {}, script=first(answer, "note"))
    assert t.crashes == 1
    assert counted(t) == {"booked": 2, "noted": 2}
    assert shipments(t) == ["o0001", "o0002"]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"address": None}, "address"),
        ({"address": "Main Street 1"}, "address"),
        ({"address": ADDRESS | {"country": "US"}}, "country"),
        ({"address": ADDRESS | {"country": None}}, "country"),
        ({"address": ADDRESS | {"postcode": "1"}}, "postcode"),
        ({"address": ADDRESS | {"postcode": 10115}}, "postcode"),
        ({"address": ADDRESS | {"name": " "}}, "name"),
        ({"address": ADDRESS | {"street": None}}, "street"),
        ({"weight_g": 0}, "weight_g"),
        ({"weight_g": True}, "weight_g"),
        ({"weight_g": "500"}, "weight_g"),
        ({"weight_g": MOST_WEIGHT_G + 1}, "weight_g"),
        ({"lines": []}, "lines"),
        ({"lines": None}, "lines"),
        ({"lines": ["9.99"]}, "lines"),
        ({"lines": [{"price": 9.99, "quantity": 1}]}, "lines"),
        ({"lines": [{"price": "9.9", "quantity": 1}]}, "lines"),
        ({"lines": [{"price": "9.99", "quantity": 0}]}, "lines"),
        ({"lines": [{"price": "9.99", "quantity": 10_001}]}, "lines"),
        ({"lines": [{"price": "9.99", "quantity": "1"}]}, "lines"),
    ],
)
def test_an_order_that_cannot_be_shipped_is_named_and_the_carrier_is_not_asked(order: dict[str, Any], reason: str) -> None:
    t = book(order, {})
    assert counted(t) == {"booked": 1, "noted": 1, "unshippable": 1}
    assert t.result["samples"]["unshippable"] == [{"order": "o0001", "reason": reason}]


def test_the_heaviest_parcel_and_the_longest_line_are_shipped() -> None:
    t = book({"weight_g": MOST_WEIGHT_G}, {"lines": [{"price": "0.01", "quantity": 10_000}]}, {"weight_g": 1})
    assert counted(t)["booked"] == 3
    assert t.items("book")[1]["json"]["declared_value"] == "100.00"


def test_orders_of_many_pages_are_booked_in_batches() -> None:
    t = book(*({} for _ in range(BATCH + 1)))
    assert counted(t) == {"booked": BATCH + 1, "noted": BATCH + 1}
    assert t.progress == [{"done": BATCH, "total": None}, {"done": BATCH + 1, "total": None}]
    assert t.effects[BATCH]["effect"] == "note"


def test_a_warehouse_that_does_not_exist_is_named_in_the_error() -> None:
    t = trial(run, {"warehouse": "nroth"})
    assert t.error == {"code": "warehouse_not_found", "message": "There is no warehouse 'nroth' in warehouses."}


@pytest.mark.parametrize("warehouse", [{}, {"service": ""}, {"service": 7}])
def test_a_warehouse_without_a_service_stops_the_run_before_anything_is_booked(warehouse: dict[str, Any]) -> None:
    t = book({}, warehouse=warehouse)
    assert t.error is not None
    assert t.error["code"] == "warehouse_invalid"
    assert t.effects == []


def test_samples_stay_small_and_the_result_within_its_limit() -> None:
    wide = "\U0001f4a1" * 100
    rows = [{"key": f"{wide}{n}", "body": ORDER | {"warehouse": "a/b", "lines": []}} for n in range(9)]
    t = trial(run, {"warehouse": "a/b"}, world={"records": {"warehouses": [{"key": "a/b", "body": {"service": "s"}}], "orders": rows}})
    assert [len(sample["order"]) for sample in t.result["samples"]["unshippable"]] == [64] * SAMPLES
    assert t.result["ledger"] == "/ledgers/shipments/a%2Fb"


def test_the_log_tells_the_counts_and_nobody_s_address() -> None:
    t = book({})
    assert [entry["event"] for entry in t.logs] == ["booking_started", "booking_finished"]
    assert t.logs[0]["fields"] == {"warehouse": "north", "service": "parcel_24"}
    assert t.logs[1]["fields"] == {name: value for name, value in t.result.items() if isinstance(value, int)}
    assert "Ann" not in str(t.logs)
