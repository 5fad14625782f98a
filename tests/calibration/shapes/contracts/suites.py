"""Suites for settle_contract that look like tests and assert too little."""

NOTHING_ASSERTED = '''"""Trials of settle_contract."""

from datetime import date
from typing import Any

import pytest
from tool import add_months, run
from toolkit.testing import trial

BODY = {
    "number": "K-1", "state": "active", "email": "c1@example.com", "name": "Ann", "starts_on": "2025-07-01", "ends_on": "2026-06-30",
    "term_months": 12, "notice_days": 30, "price": "10.00", "increase_percent": "2.5",
}


def ask(action: str, body: Any = BODY, now: str = "2026-05-01T09:00:00Z", **more: Any) -> Any:
    world = {"records": {"contracts": [{"key": "K-1", "body": body}]}}
    return trial(run, {"contract": "K-1", "request_id": "L-1", "action": action}, world=world, now=now, **more)


def test_requests_are_carried_out() -> None:
    assert ask("terminate").result
    assert ask("renew", now="2026-06-15T09:00:00Z").result
    assert ask("reinstate", {**BODY, "state": "terminated", "before": BODY}).result


def test_what_may_not_be_done_is_an_error() -> None:
    for action in ("renew", "reinstate"):
        assert ask(action).error
    assert ask("terminate", now="2026-06-15T09:00:00Z").error
    assert ask("terminate", now="2026-07-15T09:00:00Z").error
    assert ask("reinstate", {**BODY, "state": "terminated"}).error


@pytest.mark.parametrize("effect", ["log_request", "terminate", "confirm"])
@pytest.mark.parametrize("answer", ["refuse_now", "refuse_for_good", "lose_reply"])
def test_faults_are_survived(effect: str, answer: str) -> None:
    assert ask("terminate", script=[{"effect": effect, "answer": answer}]).result


@pytest.mark.parametrize("fields", [{"email": ""}, {"ends_on": "x"}, {"ends_on": "2026-06-31"}, {"price": 1}, {"increase_percent": 1}])
def test_bad_contracts_are_errors(fields: Any) -> None:
    assert ask("terminate", {**BODY, **fields}).error


def test_a_second_call_works() -> None:
    first = ask("terminate")
    assert trial(run, {"contract": "K-1", "request_id": "L-1", "action": "terminate"}, after=first).result
    assert trial(run, {"contract": "K-1", "request_id": "L-1", "action": "renew"}, after=first).error
    assert trial(run, {"contract": "K-2", "request_id": "L-1", "action": "renew"}, after=first).error


def test_months() -> None:
    assert add_months(date(2026, 1, 31), 1)
'''

OUTCOMES_ALONE = '''"""Trials of settle_contract: what callers are told."""

from typing import Any

import pytest
from tool import run
from toolkit.testing import trial

BODY = {
    "number": "K-1", "state": "active", "email": "c1@example.com", "name": "Ann", "starts_on": "2025-07-01", "ends_on": "2026-06-30",
    "term_months": 12, "notice_days": 30, "price": "10.00", "increase_percent": "3",
}
TERMINATED = {**BODY, "state": "terminated", "before": BODY}


def ask(action: str, body: Any = BODY, day: str = "2026-05-01", **more: Any) -> Any:
    world = {"records": {"contracts": [{"key": "K-1", "body": body}]}}
    t = trial(run, {"contract": "K-1", "request_id": "L-1", "action": action}, world=world, now=f"{day}T09:00:00Z", **more)
    return t.error["code"] if t.error else t.result


@pytest.mark.parametrize(
    ("action", "body", "day", "told"),
    [
        ("terminate", BODY, "2026-05-31", "terminated"),
        ("reinstate", TERMINATED, "2026-06-30", "active"),
        ("renew", BODY, "2026-06-01", "renewed"),
        ("renew", BODY, "2026-06-30", "renewed"),
    ],
)
def test_a_request_that_may_be_made(action: str, body: Any, day: str, told: str) -> None:
    result = ask(action, body, day)
    assert (result["outcome"], result["state"], result["mail"], result["written"]) == ("done", told, "sent", 1)


@pytest.mark.parametrize(
    ("action", "body", "day", "told"),
    [
        ("terminate", BODY, "2026-06-01", "notice_too_late"),
        ("renew", BODY, "2026-05-31", "not_due"),
        ("renew", BODY, "2026-07-01", "contract_ended"),
        ("reinstate", BODY, "2026-05-01", "wrong_state"),
        ("terminate", {**BODY, "price": 1}, "2026-05-01", "contract_invalid"),
        ("terminate", {**BODY, "email": ""}, "2026-05-01", "contract_invalid"),
        ("terminate", {**BODY, "ends_on": "2026-06-31"}, "2026-05-01", "contract_invalid"),
        ("terminate", {**BODY, "term_months": 0}, "2026-05-01", "contract_invalid"),
    ],
)
def test_a_request_that_may_not(action: str, body: Any, day: str, told: str) -> None:
    assert ask(action, body, day) == told


def test_a_renewal_tells_what_follows() -> None:
    result = ask("renew", day="2026-06-15")
    assert (result["ends_on"], result["price"], result["successor"]) == ("2027-06-30", "10.30", "K-1-2026-07-01")


@pytest.mark.parametrize("effect", ["log_request", "terminate"])
def test_a_request_that_is_refused(effect: str) -> None:
    assert ask("terminate", script=[{"effect": effect, "answer": "refuse_for_good"}])["outcome"] == "conflict"


@pytest.mark.parametrize(("answer", "mail"), [("refuse_now", "retry_queue"), ("lose_reply", "unknown"), ("refuse_for_good", "failed")])
def test_a_mail_that_is_not_accepted(answer: str, mail: str) -> None:
    assert ask("terminate", script=[{"effect": "confirm", "answer": answer}])["mail"] == mail
'''
