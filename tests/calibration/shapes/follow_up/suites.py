"""Suites for follow_up_quotes that look like tests and assert too little."""

NOTHING_ASSERTED = '''"""Trials of follow_up_quotes."""

from typing import Any

import pytest
from tool import run
from toolkit.testing import trial

POLICY = {"expire_after_days": 20, "stages": [{"after_days": 7, "text": "Dear {{name}}, about {{quote}}."}]}
OPEN = {"state": "open", "email": "c1@example.com", "name": "Ann", "sent_on": "2026-02-01", "reminders": 0}
OVER = {**OPEN, "reminders": 1, "last_reminder_on": "2026-02-02"}


def follow_up(*bodies: Any, policy: Any = POLICY, now: str = "2026-03-02T09:00:00Z", **more: Any) -> Any:
    rows = [{"key": f"q{n}", "body": body} for n, body in enumerate(bodies)]
    records = {"follow_up_policies": [{"key": "p", "body": policy}], "quotes": rows, "replies": [{"key": "r", "body": {"quote": "q0"}}]}
    return trial(run, {"policy_id": "p"}, world={"records": records}, now=now, **more)


def test_quotes_are_followed_up() -> None:
    assert follow_up(OPEN, OPEN, OVER, {**OPEN, "sent_on": "2026-03-01"}).result is not None


@pytest.mark.parametrize("effect", ["remind", "note", "close"])
@pytest.mark.parametrize("answer", ["refuse_now", "refuse_for_good", "lose_reply"])
def test_faults_are_survived(effect: str, answer: str) -> None:
    assert follow_up(OPEN, OPEN, OVER, script=[{"effect": effect, "answer": answer}]).result is not None


@pytest.mark.parametrize("fields", [{"email": ""}, {"name": None}, {"sent_on": "x"}, {"sent_on": "2026-02-31"}, {"reminders": -1}])
def test_bad_quotes_do_no_harm(fields: Any) -> None:
    assert follow_up({**OPEN, **fields}).error is None


@pytest.mark.parametrize("policy", [{}, {"stages": [{}]}, {**POLICY, "expire_after_days": None}])
def test_bad_policies_are_errors(policy: Any) -> None:
    assert follow_up(OPEN, policy=policy).error is not None


def test_weekends_and_unknown_policies() -> None:
    assert follow_up(OPEN, OPEN, now="2026-03-01T09:00:00Z").result is not None
    assert trial(run, {"policy_id": "x"}).error is not None
    assert trial(run, {"policy_id": "p", "most": 1}, after=follow_up(OPEN, OPEN)).result is not None
'''

EFFECTS_BY_NUMBER = '''"""Trials of follow_up_quotes: how many effects of each kind there are."""

from collections import Counter
from typing import Any

import pytest
from tool import run
from toolkit.testing import trial

POLICY = {"expire_after_days": 20, "stages": [{"after_days": 7, "text": "Dear {{name}}, about {{quote}}."}]}
OPEN = {"state": "open", "email": "c1@example.com", "name": "Ann", "sent_on": "2026-02-01", "reminders": 0}


def effects(*bodies: Any, now: str = "2026-03-02T09:00:00Z", replies: Any = (), **more: Any) -> dict[str, int]:
    rows = [{"key": f"q{n}", "body": {**OPEN, **body}} for n, body in enumerate(bodies)]
    records = {"follow_up_policies": [{"key": "p", "body": POLICY}], "quotes": rows}
    records["replies"] = [{"key": f"r{n}", "body": {"quote": key}} for n, key in enumerate(replies)]
    t = trial(run, {"policy_id": "p", **more.pop("args", {})}, world={"records": records}, now=now, **more)
    return Counter(entry["effect"] for entry in t.effects if entry["status"] == "done")


def test_what_is_due_is_sent_and_noted() -> None:
    assert effects({}, {}, {"sent_on": "2026-02-28"}) == {"remind": 2, "note": 2}


def test_a_week_is_a_week() -> None:
    assert effects({"sent_on": "2026-02-23"}, {"sent_on": "2026-02-24"}) == {"remind": 1, "note": 1}


def test_answered_and_expired_quotes_are_closed() -> None:
    assert effects({}, {"reminders": 1, "last_reminder_on": "2026-02-10"}, replies=["q0"]) == {"close": 2}
    assert effects({"reminders": 1, "last_reminder_on": "2026-02-11"}) == {}


def test_nothing_is_sent_at_weekends() -> None:
    assert effects({}, now="2026-03-07T09:00:00Z") == {}


def test_no_more_than_asked_for() -> None:
    assert effects({}, {}, {}, args={"most": 2}) == {"remind": 2, "note": 2}


@pytest.mark.parametrize("answer", ["refuse_now", "refuse_for_good", "lose_reply"])
def test_what_is_not_accepted_is_not_noted(answer: str) -> None:
    assert effects({}, script=[{"effect": "remind", "answer": answer}]) == {}


@pytest.mark.parametrize("fields", [{"email": ""}, {"name": None}, {"sent_on": "x"}, {"sent_on": "2026-02-31"}, {"reminders": 1}])
def test_what_cannot_be_read_is_left_alone(fields: Any) -> None:
    assert effects(fields) == {}
'''
