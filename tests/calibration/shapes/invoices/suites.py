"""Suites for invoice_orders that look like tests and assert too little."""

NOTHING_ASSERTED = '''"""Trials of invoice_orders."""

from typing import Any

import pytest
from tool import run
from toolkit.testing import trial

TERMS = {"currency": "EUR", "payment_days": 14, "tax_percent": {"standard": "19", "reduced": "7"}}
LINES = [
    {"text": "Lamp", "quantity": "1", "unit_price": "10.00", "tax": "standard"},
    {"text": "Book", "quantity": "0.5", "unit_price": "9.99", "tax": "reduced"},
]


def invoice(lines: Any, terms: Any = TERMS, now: str = "2026-03-01T09:00:00Z", **more: Any) -> Any:
    orders = [
        {"key": f"o{n}", "body": {"period": "2026-02", "status": "delivered", "email": f"c{n}@example.com", "name": "Ann", "lines": lines}}
        for n in range(3)
    ]
    world = {"records": {"billing_terms": [{"key": "eu", "body": terms}], "orders": orders}}
    return trial(run, {"period": "2026-02", "terms_id": "eu"}, world=world, now=now, **more)


def test_orders_are_invoiced() -> None:
    assert invoice(LINES).result is not None


@pytest.mark.parametrize("effect", ["issue", "send", "mark"])
@pytest.mark.parametrize("answer", ["refuse_now", "refuse_for_good", "lose_reply"])
def test_faults_are_survived(effect: str, answer: str) -> None:
    assert invoice(LINES, script=[{"effect": effect, "answer": answer}]).result


@pytest.mark.parametrize("line", [{}, {"quantity": "x"}, {**LINES[0], "tax": "none"}, {**LINES[0], "quantity": "0"}])
def test_bad_lines_do_no_harm(line: Any) -> None:
    assert invoice([line]).result and invoice([]).result


@pytest.mark.parametrize("terms", [{}, {**TERMS, "payment_days": -1}, {**TERMS, "tax_percent": None}])
def test_bad_terms_are_an_error(terms: Any) -> None:
    assert invoice(LINES, terms).error


def test_unknown_terms_and_open_periods_are_errors() -> None:
    assert trial(run, {"period": "2026-02", "terms_id": "x"}).error
    assert invoice(LINES, now="2026-02-01T09:00:00Z").error


def test_a_second_call_works() -> None:
    assert invoice(LINES, after=invoice(LINES)).error is None
'''

COUNTS_ALONE = '''"""Trials of invoice_orders: the counts of its result."""

from typing import Any

import pytest
from tool import run
from toolkit.testing import trial

TERMS = {"currency": "EUR", "payment_days": 14, "tax_percent": {"standard": "19"}}
LINE = {"text": "Lamp", "quantity": "1", "unit_price": "10.00", "tax": "standard"}


def counts(lines: Any = (LINE,), terms: Any = TERMS, now: str = "2026-03-01T09:00:00Z", **more: Any) -> dict[str, int]:
    bodies = [{"email": f"c{n}@example.com", "name": "Ann", "lines": list(lines)} for n in range(3)]
    orders = [{"key": f"o{n}", "body": {"period": "2026-02", "status": "delivered", **body}} for n, body in enumerate(bodies)]
    world = {"records": {"billing_terms": [{"key": "eu", "body": terms}], "orders": orders}}
    t = trial(run, {"period": "2026-02", "terms_id": "eu"}, world=world, now=now, **more)
    if t.error:
        return {t.error["code"]: 1}
    return {name: value for name, value in t.result.items() if isinstance(value, int) and value}


def test_orders_are_invoiced() -> None:
    assert counts() == {"orders": 3, "sent": 3, "issued": 3, "marked": 3, "net_cents": 3000, "tax_cents": 570, "total_cents": 3570}


@pytest.mark.parametrize(("answer", "bucket"), [("refuse_now", "retry_queue"), ("refuse_for_good", "failed"), ("lose_reply", "unknown")])
def test_mails_that_are_not_accepted(answer: str, bucket: str) -> None:
    found = counts(script=[{"effect": "send", "answer": answer}])
    assert found[bucket] == 3
    assert "marked" not in found


def test_invoices_that_are_refused() -> None:
    assert counts(script=[{"effect": "issue", "answer": "refuse_for_good"}]) == {"orders": 3, "failed": 3}


def test_orders_that_are_not_marked() -> None:
    found = counts(script=[{"effect": "mark", "answer": "refuse_for_good"}])
    assert found["sent"] == 3
    assert "marked" not in found


@pytest.mark.parametrize(
    "line",
    ["x", {**LINE, "quantity": "x"}, {**LINE, "tax": "none"}, {**LINE, "quantity": "0"}, {**LINE, "text": ""}, {**LINE, "unit_price": 1}],
)
def test_lines_that_cannot_be_invoiced(line: Any) -> None:
    assert counts([line]) == {"orders": 3, "invalid": 3}


@pytest.mark.parametrize("terms", [{**TERMS, "currency": ""}, {**TERMS, "payment_days": -1}, {**TERMS, "tax_percent": None}])
def test_terms_that_are_not_whole(terms: Any) -> None:
    assert counts(terms=terms) == {"terms_invalid": 1}


def test_errors() -> None:
    assert counts(now="2026-02-28T09:00:00Z") == {"period_open": 1}
    unknown = trial(run, {"period": "2026-02", "terms_id": "x"})
    assert unknown.error and unknown.error["code"] == "terms_not_found"
'''
