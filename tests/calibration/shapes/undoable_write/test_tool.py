"""Trials of run_promotion: what gets cheaper and by how much, what is left alone, and that ending gives back what was there."""

from typing import Any

import pytest
from tool import PROGRESS_EVERY, SAMPLES, run
from toolkit.testing import Trial, trial

BUCKETS = ("changed", "skipped", "failed", "pending", "already", "taken", "left_out")
LAMP = {"category": "lamps", "name": "Desk lamp", "price": "20.00"}
ON_SALE = LAMP | {"price": "15.00", "promotion": "spring", "regular": LAMP}


def promote(*products: dict[str, Any], action: str = "start", percent: Any = "25", after: Trial | None = None, script: Any = ()) -> Trial:
    rows = [{"key": f"p{n:04}", "body": body} for n, body in enumerate(products, start=1)]
    promotion = {"key": "spring", "body": {"category": "lamps", "percent_off": percent}}
    world = {"records": {"promotions": [promotion], "products": rows}}
    t = trial(run, {"promotion_id": "spring", "action": action}, world=world, script=script, after=after)
    if t.result:
        assert sum(t.result[bucket] for bucket in BUCKETS) == t.result["products"]
        assert t.result["changed"] == t.counts["reprice"]["done"] + t.counts["restore"]["done"]
        assert t.result["action"] == action
    return t


def counted(t: Trial) -> dict[str, int]:
    """The buckets that are not empty."""
    return {bucket: t.result[bucket] for bucket in BUCKETS if t.result[bucket]}


def products(t: Trial) -> list[dict[str, Any]]:
    return [row["body"] for row in t.world["records"]["products"]]


def test_a_product_gets_cheaper_and_keeps_what_it_was() -> None:
    t = promote(LAMP)
    assert t.items("reprice") == [{"key": "p0001", "body": ON_SALE, "expected_version": 1}]
    assert t.effects[0]["key"] == ["spring", "p0001", 1]
    assert products(t) == [ON_SALE]
    assert counted(t) == {"changed": 1}
    assert (t.result["regular_value"], t.result["reduced_value"]) == ("20.00", "15.00")
    assert t.result["ledger"] == "/ledgers/promotions/spring"


def test_ending_a_promotion_gives_back_what_was_there() -> None:
    started = promote(LAMP, LAMP | {"price": "9.99", "stock": 3})
    t = promote(action="end", after=started)
    assert products(t) == [LAMP, LAMP | {"price": "9.99", "stock": 3}]
    assert t.items("restore")[0] == {"key": "p0001", "body": LAMP, "expected_version": 2}
    assert t.effects[0]["key"] == ["spring", "p0001", 2]
    assert (t.result["regular_value"], t.result["reduced_value"]) == ("29.99", "22.49")


def test_what_was_written_during_the_promotion_stays_when_it_ends() -> None:
    t = promote(ON_SALE | {"stock": 7}, action="end")
    assert products(t) == [LAMP | {"stock": 7}]


def test_a_second_call_changes_nothing() -> None:
    t = promote(after=promote(LAMP))
    assert counted(t) == {"already": 1}
    assert t.effects == []
    ended = promote(action="end", after=promote(action="end", after=promote(LAMP)))
    assert counted(ended) == {}
    assert ended.effects == []


def test_a_promotion_may_be_started_again_after_it_has_ended() -> None:
    t = promote(after=promote(action="end", after=promote(LAMP)))
    assert counted(t) == {"changed": 1}
    assert products(t) == [ON_SALE]


def test_a_product_under_another_promotion_is_left_alone() -> None:
    other = ON_SALE | {"promotion": "winter"}
    t = promote(other, LAMP)
    assert counted(t) == {"changed": 1, "taken": 1}
    assert t.result["samples"]["taken"] == [{"product": "p0001", "reason": "other_promotion"}]
    assert products(t)[0] == other
    assert counted(promote(other, action="end")) == {}


def test_products_of_other_categories_are_not_looked_at() -> None:
    t = promote(LAMP | {"category": "desks"})
    assert counted(t) == {}
    assert t.result["products"] == 0


@pytest.mark.parametrize(
    ("price", "percent", "reduced"),
    [
        ("20.00", "25", "15.00"),
        ("0.05", "50", "0.03"),
        ("1.01", "50", "0.51"),
        ("2.01", "50", "1.01"),
        ("19.99", "33.3", "13.33"),
        ("999999999.99", "99.9", "1000000.00"),
    ],
)
def test_a_price_is_rounded_to_cents_half_up(price: str, percent: str, reduced: str) -> None:
    assert products(promote(LAMP | {"price": price}, percent=percent))[0]["price"] == reduced


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        (None, "price"),
        (20.0, "price"),
        ("20", "price"),
        ("-1.00", "price"),
        ("1e3", "price"),
        ("0.00", "price_too_low"),
        ("0.01", "price_too_low"),
        ("0.02", "price_too_low"),
    ],
)
def test_a_product_without_a_usable_price_is_left_out(price: Any, reason: str) -> None:
    t = promote(LAMP | {"price": price}, LAMP, percent="90")
    assert counted(t) == {"changed": 1, "left_out": 1}
    assert t.result["samples"]["left_out"] == [{"product": "p0001", "reason": reason}]
    assert t.result["regular_value"] == "20.00"


def test_the_cheapest_price_is_a_cent() -> None:
    assert products(promote(LAMP | {"price": "0.05"}, percent="90"))[0]["price"] == "0.01"


@pytest.mark.parametrize(("regular", "reason"), [(None, "regular"), ("20.00", "regular"), ({"price": 20}, "price")])
def test_a_product_that_does_not_say_what_it_cost_stays_as_it_is(regular: Any, reason: str) -> None:
    t = promote(ON_SALE | {"regular": regular}, action="end")
    assert counted(t) == {"left_out": 1}
    assert t.result["samples"]["left_out"] == [{"product": "p0001", "reason": reason}]
    assert products(t) == [ON_SALE | {"regular": regular}]


@pytest.mark.parametrize("action", ["start", "end"])
def test_a_product_that_could_not_be_written_is_written_by_the_next_call(action: str) -> None:
    effect, body = ("reprice", LAMP) if action == "start" else ("restore", ON_SALE)
    t = promote(body, body, action=action, script=[{"effect": effect, "when": {"key": "p0001"}, "answer": "refuse_for_good"}])
    assert counted(t) == {"changed": 1, "failed": 1}
    assert t.result["samples"]["failed"] == [{"product": "p0001", "reason": "version_conflict"}]
    assert (t.result["regular_value"], t.result["reduced_value"]) == ("20.00", "15.00")
    assert products(t)[0] == body
    again = promote(action=action, after=t)
    assert again.result["changed"] == 1
    assert products(again) == ([ON_SALE, ON_SALE] if action == "start" else [LAMP, LAMP])


@pytest.mark.parametrize("action", ["start", "end"])
def test_a_crash_repeats_nothing_and_leaves_nothing_out(action: str) -> None:
    effect, body = ("reprice", LAMP) if action == "start" else ("restore", ON_SALE)
    t = promote(body, body, action=action, script=[{"effect": effect, "when": {"key": "p0002"}, "answer": "crash"}])
    assert t.crashes == 1
    assert counted(t) == {"changed": 2}
    assert products(t) == ([ON_SALE, ON_SALE] if action == "start" else [LAMP, LAMP])


def test_a_category_of_many_pages_is_reduced_to_its_end() -> None:
    t = promote(*(LAMP for _ in range(PROGRESS_EVERY + 1)))
    assert counted(t) == {"changed": 501}
    assert t.result["regular_value"] == "10020.00"
    assert t.progress == [{"done": 500, "total": None}, {"done": 501, "total": 501}]


def test_a_promotion_that_does_not_exist_is_named_in_the_error() -> None:
    t = trial(run, {"promotion_id": "sprnig", "action": "start"})
    assert t.error == {"code": "promotion_not_found", "message": "There is no promotion 'sprnig' in promotions."}


@pytest.mark.parametrize("percent", [None, 25, "0", "0.5", "100", "25%", "-5", "1e1", "12.55"])
def test_a_promotion_without_a_usable_percentage_stops_the_run_before_any_change(percent: Any) -> None:
    t = promote(LAMP, percent=percent)
    assert t.error is not None
    assert t.error["code"] == "promotion_invalid"
    assert t.effects == []


@pytest.mark.parametrize("category", [None, "", 7])
def test_a_promotion_without_a_category_stops_the_run_before_any_change(category: Any) -> None:
    world = {
        "records": {
            "promotions": [{"key": "x", "body": {"category": category, "percent_off": "5"}}],
            "products": [{"key": "p", "body": LAMP}],
        }
    }
    t = trial(run, {"promotion_id": "x", "action": "start"}, world=world)
    assert t.error is not None
    assert t.error["code"] == "promotion_invalid"


def test_samples_stay_small_and_the_result_within_its_limit() -> None:
    wide = "\U0001f4a1" * 100
    rows = [{"key": f"{wide}{n}", "body": {"category": "lamps"}} for n in range(9)]
    world = {"records": {"promotions": [{"key": "a/b", "body": {"category": "lamps", "percent_off": "5"}}], "products": rows}}
    t = trial(run, {"promotion_id": "a/b", "action": "start"}, world=world)
    assert [len(sample["product"]) for sample in t.result["samples"]["left_out"]] == [64] * SAMPLES
    assert t.result["ledger"] == "/ledgers/promotions/a%2Fb"


def test_the_log_tells_the_counts_and_no_product() -> None:
    t = promote(LAMP)
    assert [entry["event"] for entry in t.logs] == ["promotion_run_started", "promotion_run_finished"]
    assert t.logs[0]["fields"] == {"promotion": "spring", "action": "start"}
    assert t.logs[1]["fields"] == {"products": 1} | dict.fromkeys(BUCKETS, 0) | {"changed": 1}
    assert "lamp" not in str(t.logs)
