"""Trials of invoice_orders: what an invoice says to the cent, what goes out in which order, and that no order is invoiced twice."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from tool import BATCH, SAMPLES, cents, last_day, run
from toolkit.testing import Trial, trial

ARGS = {"period": "2026-02", "terms_id": "eu"}
TERMS = {"currency": "EUR", "payment_days": 14, "tax_percent": {"standard": "19", "reduced": "7"}}
LINE = {"text": "Lamp", "quantity": "1", "unit_price": "10.00", "tax": "standard"}


def order(number: int = 1, **fields: Any) -> dict[str, Any]:
    body = {"period": "2026-02", "status": "delivered", "email": f"c{number}@example.com", "name": "Ann", "lines": [LINE], **fields}
    return {"key": f"o{number:04}", "body": {name: value for name, value in body.items() if value is not None}}


def invoice(*orders: dict[str, Any], terms: dict[str, Any] | None = None, args: dict[str, str] | None = None, **more: Any) -> Trial:
    world = {"records": {"billing_terms": [{"key": "eu", "body": TERMS if terms is None else terms}], "orders": list(orders)}}
    t = trial(run, args or ARGS, world=world, **more)
    if t.result:
        buckets = ("sent", "skipped", "failed", "retry_queue", "unknown", "invalid")
        assert sum(t.result[bucket] for bucket in buckets) == t.result["orders"]
        assert t.result["issued"] == t.counts["issue"]["done"]
        assert t.result["marked"] == t.counts["mark"]["done"]
    return t


def counted(t: Trial) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: value for name, value in t.result.items() if isinstance(value, int) and value}


def invoices(t: Trial) -> list[dict[str, Any]]:
    return [row["body"] for row in t.world["records"].get("invoices", [])]


def statuses(t: Trial) -> list[str]:
    return [row["body"]["status"] for row in t.world["records"]["orders"]]


def test_an_order_is_invoiced_mailed_and_marked_in_this_order() -> None:
    t = invoice(order())
    assert [(entry["effect"], entry["key"]) for entry in t.effects] == [
        ("issue", ["2026-02-o0001"]),
        ("send", ["c1@example.com", "Invoice 2026-02-o0001"]),
        ("mark", ["2026-02", "o0001", 1]),
    ]
    assert counted(t) == {"orders": 1, "sent": 1, "issued": 1, "marked": 1, "net_cents": 1000, "tax_cents": 190, "total_cents": 1190}
    assert t.result["ledger"] == "/ledgers/invoices/2026-02"


def test_an_invoice_says_all_that_is_due() -> None:
    lines = [LINE, {"text": "Book", "quantity": "3", "unit_price": "1.99", "tax": "reduced"}]
    t = invoice(order(lines=lines, discount_percent="2.5"))
    assert t.items("issue") == [
        {
            "key": "2026-02-o0001",
            "expected_version": 0,
            "body": {
                "number": "2026-02-o0001",
                "order": "o0001",
                "issued_on": "2026-02-28",
                "due_on": "2026-03-14",
                "currency": "EUR",
                "lines": [{**lines[0], "net": "10.00"}, {**lines[1], "net": "5.97"}],
                "discount_percent": "2.5",
                "taxes": [
                    {"tax": "reduced", "percent": "7", "net": "5.82", "amount": "0.41"},
                    {"tax": "standard", "percent": "19", "net": "9.75", "amount": "1.85"},
                ],
                "net": "15.57",
                "tax": "2.26",
                "total": "17.83",
            },
        }
    ]
    assert (t.result["net_cents"], t.result["tax_cents"], t.result["total_cents"]) == (1557, 226, 1783)


def test_the_mail_tells_the_number_the_total_and_the_day() -> None:
    (item,) = invoice(order(email=" C1@Example.com ")).items("send")
    assert item == {
        "to": "c1@example.com",
        "subject": "Invoice 2026-02-o0001",
        "text": "Dear Ann,\n\nyour invoice 2026-02-o0001 over 11.90 EUR is due on 2026-03-14.\n",
    }


def test_a_marked_order_keeps_its_fields_and_names_its_invoice() -> None:
    t = invoice(order())
    (item,) = t.items("mark")
    assert item == {"key": "o0001", "expected_version": 1, "body": {**order()["body"], "status": "invoiced", "invoice": "2026-02-o0001"}}


def test_a_second_call_finds_nothing_to_do() -> None:
    t = trial(run, ARGS, after=invoice(order(1), order(2)))
    assert counted(t) == {}
    assert t.effects == []


def test_other_periods_and_other_statuses_are_left_alone() -> None:
    t = invoice(order(1, period="2026-01"), order(2, status="open"), order(3, status="invoiced"))
    assert counted(t) == {}
    assert invoices(t) == []


def test_two_orders_of_one_customer_get_two_mails() -> None:
    t = invoice(order(1, email="c@example.com"), order(2, email="c@example.com"))
    assert counted(t)["sent"] == 2
    assert [item["subject"] for item in t.items("send")] == ["Invoice 2026-02-o0001", "Invoice 2026-02-o0002"]


@pytest.mark.parametrize(("answer", "bucket"), [("refuse_now", "retry_queue"), ("lose_reply", "unknown"), ("refuse_for_good", "failed")])
def test_an_order_whose_mail_is_not_accepted_stays_delivered(answer: str, bucket: str) -> None:
    t = invoice(order(1), order(2), script=[{"effect": "send", "when": {"to": "c1@example.com"}, "answer": answer}])
    assert (t.result["sent"], t.result[bucket], t.result["issued"], t.result["marked"]) == (1, 1, 2, 1)
    assert [sample["order"] for sample in t.result["samples"][bucket]] == ["o0001"]
    assert statuses(t) == ["delivered", "invoiced"]


def test_an_invoice_that_cannot_be_written_is_not_mailed() -> None:
    t = invoice(order(1), order(2), script=[{"effect": "issue", "when": {"key": "2026-02-o0001"}, "answer": "refuse_for_good"}])
    assert counted(t) == {
        "orders": 2,
        "sent": 1,
        "failed": 1,
        "issued": 1,
        "marked": 1,
        "net_cents": 1000,
        "tax_cents": 190,
        "total_cents": 1190,
    }
    assert t.result["samples"]["failed"] == [{"order": "o0001", "reason": "version_conflict"}]
    assert [item["to"] for item in t.items("send")] == ["c2@example.com"]


def test_a_number_that_is_taken_is_not_overwritten() -> None:
    world = {
        "records": {
            "billing_terms": [{"key": "eu", "body": TERMS}],
            "orders": [order()],
            "invoices": [{"key": "2026-02-o0001", "body": {}}],
        }
    }
    t = trial(run, ARGS, world=world)
    assert t.result["samples"]["failed"] == [{"order": "o0001", "reason": "version_conflict"}]
    assert invoices(t) == [{}]


def test_what_a_run_left_open_is_finished_by_the_next_without_a_second_invoice() -> None:
    first = invoice(order(), script=[{"effect": "mark", "answer": "refuse_for_good"}])
    assert first.result["samples"]["unmarked"] == [{"order": "o0001", "reason": "version_conflict"}]
    assert counted(first)["sent"] == 1
    t = trial(run, ARGS, after=first)
    assert counted(t) == {"orders": 1, "skipped": 1, "marked": 1}
    assert [entry["status"] for entry in t.effects] == ["skipped", "skipped", "done"]
    assert statuses(t) == ["invoiced"]


def test_an_order_that_changed_after_it_was_invoiced_is_reported() -> None:
    first = invoice(order(), script=[{"effect": "send", "answer": "refuse_for_good"}])
    t = invoice(order(lines=[{**LINE, "quantity": "2"}]), after=first)
    assert counted(t) == {"orders": 1, "failed": 1}
    assert t.result["samples"]["failed"] == [{"order": "o0001", "reason": "order_changed"}]
    assert [found["total"] for found in invoices(t)] == ["11.90"]


@pytest.mark.parametrize("answer", ["crash", "crash_before"])
@pytest.mark.parametrize("effect", ["issue", "mark"])
def test_a_run_that_dies_and_goes_on_writes_nothing_twice(effect: str, answer: str) -> None:
    t = invoice(order(1), order(2), script=[{"effect": effect, "answer": answer}])
    assert t.crashes == 1
    assert (t.result["sent"], t.result["issued"], t.result["marked"]) == (2, 2, 2)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"email": None}, "email_missing"),
        ({"email": " "}, "email_missing"),
        ({"name": 7}, "name_missing"),
        ({"lines": None}, "lines_invalid"),
        ({"lines": []}, "lines_invalid"),
        ({"lines": ["Lamp"]}, "lines_invalid"),
        ({"lines": [{**LINE, "quantity": "-1"}]}, "amount_invalid"),
        ({"lines": [{**LINE, "quantity": 1}]}, "amount_invalid"),
        ({"lines": [{**LINE, "unit_price": "10"}]}, "amount_invalid"),
        ({"lines": [{**LINE, "unit_price": "1e3.00"}]}, "amount_invalid"),
        ({"lines": [{**LINE, "text": ""}]}, "text_missing"),
        ({"lines": [{**LINE, "tax": "luxury"}]}, "tax_unknown"),
        ({"lines": [{**LINE, "quantity": "0"}]}, "nothing_due"),
        ({"discount_percent": "100"}, "amount_invalid"),
        ({"discount_percent": 10}, "amount_invalid"),
    ],
)
def test_an_order_that_cannot_be_invoiced_is_named_with_its_reason(fields: dict[str, Any], reason: str) -> None:
    t = invoice(order(1, **fields), order(2))
    assert (t.result["invalid"], t.result["sent"]) == (1, 1)
    assert t.result["samples"]["invalid"] == [{"order": "o0001", "reason": reason}]


def test_an_address_that_the_mail_server_cannot_take_is_a_failure() -> None:
    t = invoice(order(email="nobody"))
    assert t.result["samples"]["failed"] == [{"order": "o0001", "reason": "item_invalid"}]


@pytest.mark.parametrize(
    ("amount", "rounded"), [("0.005", "0.01"), ("0.015", "0.02"), ("0.025", "0.03"), ("1.004", "1.00"), ("1.005", "1.01"), ("2", "2.00")]
)
def test_half_a_cent_is_rounded_up(amount: str, rounded: str) -> None:
    assert str(cents(Decimal(amount))) == rounded


@pytest.mark.parametrize(
    ("period", "last"),
    [("2026-02", date(2026, 2, 28)), ("2024-02", date(2024, 2, 29)), ("2025-12", date(2025, 12, 31)), ("2026-01", date(2026, 1, 31))],
)
def test_the_last_day_of_a_period(period: str, last: date) -> None:
    assert last_day(period) == last


@pytest.mark.parametrize(("now", "code"), [("2026-02-28T23:59:59Z", "period_open"), ("2026-01-15T00:00:00Z", "period_open")])
def test_a_period_that_is_not_over_is_refused(now: str, code: str) -> None:
    t = invoice(order(), now=now)
    assert t.error is not None
    assert t.error["code"] == code
    assert t.effects == []


def test_a_period_can_be_invoiced_from_the_first_day_after_it() -> None:
    assert invoice(order(), now="2026-03-01T00:00:00Z").result["sent"] == 1


@pytest.mark.parametrize(
    "terms",
    [
        {**TERMS, "currency": "euro"},
        {**TERMS, "currency": None},
        {**TERMS, "payment_days": -1},
        {**TERMS, "payment_days": 366},
        {**TERMS, "payment_days": True},
        {**TERMS, "payment_days": "14"},
        {**TERMS, "tax_percent": ["19"]},
        {**TERMS, "tax_percent": {"standard": 19}},
        {**TERMS, "tax_percent": {"standard": "19 %"}},
    ],
)
def test_terms_that_are_not_whole_stop_the_run_before_any_invoice(terms: dict[str, Any]) -> None:
    t = invoice(order(), terms=terms)
    assert t.error is not None
    assert t.error["code"] == "terms_invalid"
    assert t.effects == []


@pytest.mark.parametrize(("days", "due_on"), [(0, "2026-02-28"), (365, "2027-02-28")])
def test_payment_days_count_from_the_day_of_the_invoice(days: int, due_on: str) -> None:
    (found,) = invoices(invoice(order(), terms={**TERMS, "payment_days": days}))
    assert found["due_on"] == due_on


def test_terms_that_do_not_exist_are_named_in_the_error() -> None:
    t = invoice(order(), args={"period": "2026-02", "terms_id": "ue"})
    assert t.error == {"code": "terms_not_found", "message": "There are no terms 'ue' in billing_terms."}


def test_many_orders_are_invoiced_in_batches_with_progress_after_each() -> None:
    t = invoice(*(order(number) for number in range(1, BATCH + 2)))
    assert (t.result["sent"], t.result["marked"]) == (501, 501)
    assert [report["done"] for report in t.progress] == [BATCH, BATCH + 1]


def test_samples_stay_small() -> None:
    rows = [{"key": "x" * 100 + str(number), "body": order(lines=[])["body"]} for number in range(9)]
    t = invoice(*rows)
    assert [len(sample["order"]) for sample in t.result["samples"]["invalid"]] == [64] * SAMPLES
    assert t.result["invalid"] == 9


def test_the_log_tells_the_counts_and_no_customer() -> None:
    t = invoice(order())
    assert [entry["event"] for entry in t.logs] == ["invoicing_started", "invoicing_finished"]
    assert t.logs[0]["fields"] == {"period": "2026-02", "tax_classes": 2}
    assert t.logs[1]["fields"] == {name: value for name, value in t.result.items() if isinstance(value, int)}
    assert "example.com" not in str(t.logs)
