"""Trials of settle_contract: on which day which request may be made, what is written together, and that one request is one request."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from tool import add_months, cents, run
from toolkit.testing import Trial, trial

CONTRACT = {
    "number": "K-1",
    "state": "active",
    "email": "c1@example.com",
    "name": "Ann",
    "starts_on": "2025-07-01",
    "ends_on": "2026-06-30",
    "term_months": 12,
    "notice_days": 30,
    "price": "10.00",
}
TERMINATED = {**CONTRACT, "state": "terminated", "before": CONTRACT}
RENEWING = "2026-06-15T08:00:00Z"
ACTIVE = "2026-05-01T08:00:00Z"


def ask(action: str, body: dict[str, Any] | None = None, now: str = ACTIVE, request_id: str = "L-1", **more: Any) -> Trial:
    rows = [] if "after" in more else [{"key": "K-1", "body": CONTRACT if body is None else body}]
    args = {"contract": "K-1", "request_id": request_id, "action": action}
    t = trial(run, args, world={"records": {"contracts": rows}}, now=now, **more)
    if t.result:
        assert t.result["written"] == sum(t.counts[effect]["done"] for effect in ("renew", "terminate", "reinstate"))
        assert t.result["logged"] == t.counts["log_request"]["done"]
        assert (t.result["outcome"] == "done") == (t.result["written"] == 1)
    return t


def contracts(t: Trial) -> dict[str, Any]:
    return {row["key"]: row["body"] for row in t.world["records"]["contracts"]}


def code(t: Trial) -> str | None:
    return t.error["code"] if t.error else None


def test_a_renewal_writes_the_contract_and_its_successor_together() -> None:
    t = ask("renew", {**CONTRACT, "increase_percent": "3"}, RENEWING)
    assert t.result == {
        "outcome": "done",
        "state": "renewed",
        "ends_on": "2027-06-30",
        "price": "10.30",
        "successor": "K-1-2026-07-01",
        "written": 1,
        "logged": 1,
        "mailed": 1,
        "mail": "sent",
        "reason": None,
    }
    old = {**CONTRACT, "increase_percent": "3", "state": "renewed", "successor": "K-1-2026-07-01"}
    new = {
        **CONTRACT,
        "increase_percent": "3",
        "number": "K-1-2026-07-01",
        "root": "K-1",
        "starts_on": "2026-07-01",
        "ends_on": "2027-06-30",
        "price": "10.30",
    }
    assert t.items("renew") == [
        {
            "atomic": True,
            "records": [
                {"key": "K-1", "expected_version": 1, "body": old},
                {"key": "K-1-2026-07-01", "expected_version": 0, "body": new},
            ],
        }
    ]
    assert contracts(t) == {"K-1": old, "K-1-2026-07-01": new}
    assert t.items("confirm") == [
        {
            "to": "c1@example.com",
            "subject": "Contract K-1",
            "text": "Dear Ann,\n\nyour contract K-1 is renewed as K-1-2026-07-01 until 2027-06-30, at 10.30 a month.\n",
        }
    ]


def test_a_successor_is_named_after_the_first_contract() -> None:
    t = ask("renew", {**CONTRACT, "root": "K-0"}, RENEWING)
    assert t.result["successor"] == "K-0-2026-07-01"
    assert contracts(t)["K-0-2026-07-01"]["root"] == "K-0"


def test_a_termination_keeps_what_the_contract_was() -> None:
    t = ask("terminate")
    assert [(entry["effect"], entry["key"]) for entry in t.effects] == [
        ("log_request", ["K-1", "L-1"]),
        ("terminate", ["K-1", "L-1"]),
        ("confirm", ["K-1", "L-1", "c1@example.com"]),
    ]
    assert t.items("terminate") == [{"key": "K-1", "expected_version": 1, "body": TERMINATED}]
    assert t.items("confirm")[0]["text"] == "Dear Ann,\n\nyour contract K-1 is terminated and ends on 2026-06-30.\n"
    assert (t.result["state"], t.result["ends_on"], t.result["successor"]) == ("terminated", "2026-06-30", None)


def test_a_reinstated_contract_is_as_it_was_before() -> None:
    t = ask("reinstate", after=ask("terminate"), request_id="L-2")
    assert contracts(t) == {"K-1": CONTRACT}
    assert t.items("reinstate") == [{"key": "K-1", "expected_version": 2, "body": CONTRACT}]
    assert t.items("confirm")[0]["text"] == "Dear Ann,\n\nyour contract K-1 is reinstated and runs until 2026-06-30.\n"
    assert (t.result["outcome"], t.result["state"]) == ("done", "active")


def test_a_request_is_written_down_first_with_the_contract_as_it_was() -> None:
    t = ask("terminate")
    assert t.items("log_request") == [
        {
            "key": "K-1/L-1",
            "expected_version": 0,
            "body": {
                "contract": "K-1",
                "request_id": "L-1",
                "action": "terminate",
                "on": "2026-05-01",
                "version": 1,
                "before": CONTRACT,
            },
        }
    ]


@pytest.mark.parametrize("action", ["renew", "terminate"])
def test_the_same_request_again_changes_nothing(action: str) -> None:
    first = ask(action, now=RENEWING if action == "renew" else ACTIVE)
    t = ask(action, now="2026-06-20T08:00:00Z", after=first)
    assert t.result == {**first.result, "outcome": "already_done", "written": 0, "logged": 0, "mailed": 0, "mail": "sent_before"}
    assert [entry["status"] for entry in t.effects] == ["skipped"] * 3
    assert contracts(t) == contracts(first)


def test_the_same_reinstatement_again_changes_nothing() -> None:
    first = ask("reinstate", TERMINATED)
    t = ask("reinstate", after=first)
    assert (t.result["outcome"], t.result["mail"]) == ("already_done", "sent_before")
    assert contracts(t) == {"K-1": CONTRACT}


def test_another_request_is_judged_by_what_the_contract_is_now() -> None:
    assert code(ask("terminate", after=ask("terminate"), request_id="L-2")) == "wrong_state"


def test_a_request_id_stands_for_one_action() -> None:
    t = ask("reinstate", after=ask("terminate"))
    assert code(t) == "request_reused"
    assert t.effects == []


@pytest.mark.parametrize(
    ("action", "body", "day", "expected"),
    [
        ("terminate", CONTRACT, "2026-05-31", None),
        ("terminate", CONTRACT, "2026-06-01", "notice_too_late"),
        ("terminate", CONTRACT, "2026-07-01", "contract_ended"),
        ("renew", CONTRACT, "2026-05-31", "not_due"),
        ("renew", CONTRACT, "2026-06-01", None),
        ("renew", CONTRACT, "2026-06-30", None),
        ("renew", CONTRACT, "2026-07-01", "contract_ended"),
        ("reinstate", TERMINATED, "2026-06-30", None),
        ("reinstate", TERMINATED, "2026-07-01", "contract_ended"),
        ("reinstate", CONTRACT, "2026-05-01", "wrong_state"),
        ("terminate", TERMINATED, "2026-05-01", "wrong_state"),
        ("renew", {**CONTRACT, "state": "renewed"}, "2026-06-15", "wrong_state"),
        ("reinstate", {**TERMINATED, "before": None}, "2026-05-01", "contract_invalid"),
    ],
)
def test_each_request_has_its_days_and_its_state(action: str, body: dict[str, Any], day: str, expected: str | None) -> None:
    assert code(ask(action, body, f"{day}T23:00:00Z")) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"email": ""},
        {"email": None},
        {"name": " "},
        {"term_months": 0},
        {"term_months": 367},
        {"term_months": True},
        {"term_months": "12"},
        {"notice_days": 0},
        {"ends_on": "30.06.2026"},
        {"ends_on": "2026-06-31"},
        {"ends_on": None},
        {"price": 10},
        {"price": "10"},
        {"increase_percent": 2.5},
        {"increase_percent": "-1"},
    ],
)
def test_a_contract_that_cannot_be_read_stops_the_request(fields: dict[str, Any]) -> None:
    t = ask("terminate", {**CONTRACT, **fields})
    assert code(t) == "contract_invalid"
    assert t.effects == []


@pytest.mark.parametrize("fields", [{"term_months": 1}, {"term_months": 366}, {"notice_days": 1}, {"notice_days": 366}])
def test_the_bounds_of_terms_are_allowed(fields: dict[str, Any]) -> None:
    assert code(ask("renew", {**CONTRACT, **fields}, "2026-06-30T08:00:00Z")) is None


def test_a_number_that_is_not_one_contract_s_stops_the_request() -> None:
    args = {"contract": "K-1", "request_id": "L-1", "action": "renew"}
    two = [{"key": "K-1", "body": CONTRACT}, {"key": "K-2", "body": CONTRACT}]
    assert code(trial(run, args, world={"records": {"contracts": two}})) == "contract_ambiguous"
    assert code(trial(run, args, world={"records": {"contracts": two[1:]}})) == "contract_ambiguous"
    assert trial(run, args).error == {"code": "contract_not_found", "message": "There is no contract 'K-1'."}


def test_a_successor_whose_number_is_taken_leaves_both_as_they_were() -> None:
    taken = {"records": {"contracts": [{"key": "K-1", "body": CONTRACT}, {"key": "K-1-2026-07-01", "body": {"number": "x"}}]}}
    t = trial(run, {"contract": "K-1", "request_id": "L-1", "action": "renew"}, world=taken, now=RENEWING)
    assert contracts(t) == {"K-1": CONTRACT, "K-1-2026-07-01": {"number": "x"}}
    assert t.result == {
        "outcome": "conflict",
        "state": "active",
        "ends_on": "2026-06-30",
        "price": "10.00",
        "successor": None,
        "written": 0,
        "logged": 1,
        "mailed": 0,
        "mail": "none",
        "reason": "version_conflict",
    }


@pytest.mark.parametrize(("effect", "logged"), [("log_request", 0), ("reinstate", 1)])
def test_what_cannot_be_written_ends_the_request_without_a_mail(effect: str, logged: int) -> None:
    t = ask("reinstate", TERMINATED, script=[{"effect": effect, "answer": "refuse_for_good"}])
    assert (t.result["outcome"], t.result["state"], t.result["logged"], t.result["mail"]) == ("conflict", "terminated", logged, "none")
    assert t.result["reason"] == "version_conflict"
    assert contracts(t) == {"K-1": TERMINATED}
    assert t.items("confirm") == []


@pytest.mark.parametrize(
    ("answer", "mail", "reason"),
    [
        ("refuse_now", "retry_queue", "smtp_450"),
        ("lose_reply", "unknown", "smtp_disconnected"),
        ("refuse_for_good", "failed", "smtp_550"),
    ],
)
def test_a_mail_that_is_not_accepted_does_not_undo_the_request(answer: str, mail: str, reason: str) -> None:
    t = ask("terminate", script=[{"effect": "confirm", "answer": answer}])
    assert (t.result["outcome"], t.result["mail"], t.result["mailed"], t.result["reason"]) == ("done", mail, 0, reason)
    assert contracts(t) == {"K-1": TERMINATED}


@pytest.mark.parametrize("answer", ["crash", "crash_before"])
@pytest.mark.parametrize("effect", ["log_request", "terminate"])
def test_a_request_that_dies_goes_on_where_it_was(effect: str, answer: str) -> None:
    t = ask("terminate", script=[{"effect": effect, "answer": answer}])
    assert t.crashes == 1
    assert (t.result["outcome"], t.result["mail"]) == ("done", "sent")
    assert contracts(t) == {"K-1": TERMINATED}


@pytest.mark.parametrize(
    ("day", "months", "later"),
    [
        (date(2026, 1, 31), 1, date(2026, 2, 28)),
        (date(2024, 1, 31), 1, date(2024, 2, 29)),
        (date(2026, 11, 30), 1, date(2026, 12, 30)),
        (date(2026, 12, 1), 12, date(2027, 12, 1)),
        (date(2026, 3, 31), 366, date(2056, 9, 30)),
    ],
)
def test_months_are_added_by_the_calendar(day: date, months: int, later: date) -> None:
    assert add_months(day, months) == later


@pytest.mark.parametrize(("amount", "rounded"), [("1.005", "1.01"), ("1.004", "1.00"), ("1.015", "1.02"), ("1.025", "1.03")])
def test_half_a_cent_is_rounded_up(amount: str, rounded: str) -> None:
    assert str(cents(Decimal(amount))) == rounded


def test_the_log_tells_the_action_and_nobody_s_name() -> None:
    t = ask("terminate")
    assert [(entry["event"], entry["fields"]) for entry in t.logs] == [
        ("request_taken", {"action": "terminate", "repeated": False}),
        ("request_settled", {"action": "terminate", "written": "done", "mail": "done"}),
    ]
    again = ask("terminate", after=t)
    assert again.logs[0]["fields"] == {"action": "terminate", "repeated": True}
