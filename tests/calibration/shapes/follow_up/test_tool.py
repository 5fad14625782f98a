"""Trials of follow_up_quotes: what is due on which day, what goes out, and that one stage is one reminder."""

from typing import Any

import pytest
from tool import BATCH, SAMPLES, run
from toolkit.testing import Trial, trial

MONDAY = "2026-03-02T09:00:00Z"
ARGS = {"policy_id": "p"}
POLICY = {
    "expire_after_days": 20,
    "stages": [{"after_days": 7, "text": "Dear {{name}}, about {{quote}}."}, {"after_days": 10, "text": "{{quote}} again, {{name}}."}],
}


def quote(number: int = 1, sent_on: Any = "2026-02-01", reminders: Any = 0, last: Any = None, **fields: Any) -> dict[str, Any]:
    body = {"state": "open", "email": f"c{number}@example.com", "name": "Ann", "sent_on": sent_on, "reminders": reminders, **fields}
    if last is not None:
        body["last_reminder_on"] = last
    return {"key": f"q{number:04}", "body": body}


def follow_up(
    *quotes: dict[str, Any], policy: Any = None, replies: Any = (), now: str = MONDAY, most: int | None = None, **more: Any
) -> Trial:
    records = {"follow_up_policies": [{"key": "p", "body": POLICY if policy is None else policy}], "quotes": list(quotes)}
    records["replies"] = [{"key": f"r{number}", "body": {"quote": key}} for number, key in enumerate(replies)]
    t = trial(run, ARGS if most is None else {**ARGS, "most": most}, world={"records": records}, now=now, **more)
    if t.result:
        buckets = ("waiting", "answered", "expired", "sent", "skipped", "failed", "retry_queue", "unknown", "invalid")
        assert sum(t.result[bucket] for bucket in buckets) == t.result["quotes"]
        assert t.result["noted"] == t.counts["note"]["done"]
    return t


def counted(t: Trial) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: value for name, value in t.result.items() if isinstance(value, int) and value}


def quotes(t: Trial) -> dict[str, Any]:
    return {row["key"]: row["body"] for row in t.world["records"]["quotes"]}


def test_a_reminder_that_is_due_is_sent_and_then_noted() -> None:
    t = follow_up(quote(email=" C1@Example.com "))
    assert counted(t) == {"quotes": 1, "sent": 1, "noted": 1}
    assert [entry["effect"] for entry in t.effects] == ["remind", "note"]
    assert t.items("remind") == [
        {"to": "c1@example.com", "subject": "Quote q0001 of 2026-02-01, reminder 1", "text": "Dear Ann, about q0001."}
    ]
    assert t.items("note") == [
        {
            "key": "q0001",
            "expected_version": 1,
            "body": {**quote(email=" C1@Example.com ")["body"], "reminders": 1, "last_reminder_on": "2026-03-02"},
        }
    ]
    assert t.result["ledger"] == "/ledgers/reminders/p"


def test_the_keys_tell_customer_quote_and_stage_apart() -> None:
    t = follow_up(quote(1, email="c@example.com"), quote(2, "2026-01-01", 1, "2026-02-01", email="c@example.com"))
    assert [entry["key"] for entry in t.effects] == [
        ["c@example.com", "Quote q0001 of 2026-02-01, reminder 1"],
        ["c@example.com", "Quote q0002 of 2026-01-01, reminder 2"],
        ["q0001", 1],
        ["q0002", 1],
    ]
    assert t.items("remind")[1]["text"] == "q0002 again, Ann."


@pytest.mark.parametrize(
    ("sent_on", "reminders", "last", "bucket"),
    [
        ("2026-02-23", 0, None, "sent"),
        ("2026-02-24", 0, None, "waiting"),
        ("2026-03-09", 0, None, "waiting"),
        ("2026-01-01", 1, "2026-02-20", "sent"),
        ("2026-01-01", 1, "2026-02-21", "waiting"),
        ("2026-01-01", 2, "2026-02-10", "expired"),
        ("2026-01-01", 2, "2026-02-11", "waiting"),
        ("2026-01-01", 3, "2026-02-10", "expired"),
    ],
)
def test_what_is_due_counts_from_the_last_word(sent_on: str, reminders: int, last: str | None, bucket: str) -> None:
    t = follow_up(quote(1, sent_on, reminders, last))
    assert t.result[bucket] == 1


def test_an_answered_quote_is_closed_and_gets_no_mail() -> None:
    t = follow_up(quote(1), quote(2), replies=["q0001", "q9999"])
    assert counted(t) == {"quotes": 2, "answered": 1, "sent": 1, "noted": 1}
    assert [item["to"] for item in t.items("remind")] == ["c2@example.com"]
    assert t.items("close") == [
        {"key": "q0001", "expected_version": 1, "body": {**quote(1)["body"], "state": "answered", "closed_on": "2026-03-02"}}
    ]


def test_a_reply_that_names_no_quote_is_nobody_s() -> None:
    assert counted(follow_up(quote(), replies=[["q0001"], None])) == {"quotes": 1, "sent": 1, "noted": 1}


def test_an_expired_quote_is_closed_as_such() -> None:
    t = follow_up(quote(1, "2026-01-01", 2, "2026-01-20"))
    assert counted(t) == {"quotes": 1, "expired": 1}
    assert quotes(t)["q0001"] == {**quote(1, "2026-01-01", 2, "2026-01-20")["body"], "state": "expired", "closed_on": "2026-03-02"}


def test_a_quote_that_is_not_open_is_left_alone() -> None:
    t = follow_up(quote(1, state="won"), quote(2, state="answered"))
    assert counted(t) == {}
    assert t.effects == []


@pytest.mark.parametrize(("day", "sent"), [("2026-03-06", 1), ("2026-03-07", 0), ("2026-03-08", 0), ("2026-03-09", 1)])
def test_nothing_is_sent_at_a_weekend(day: str, sent: int) -> None:
    t = follow_up(quote(), now=f"{day}T12:00:00Z")
    assert (t.result["sent"], t.result["waiting"]) == (sent, 1 - sent)


def test_a_second_call_on_the_same_day_sends_nothing() -> None:
    t = trial(run, ARGS, now="2026-03-02T18:00:00Z", after=follow_up(quote()))
    assert counted(t) == {"quotes": 1, "waiting": 1}
    assert t.effects == []


def test_the_stages_follow_one_another_until_the_quote_expires() -> None:
    t = follow_up(quote())
    seen = []
    for day in ("2026-03-11", "2026-03-12", "2026-03-31", "2026-04-01", "2026-04-02"):
        t = trial(run, ARGS, now=f"{day}T09:00:00Z", after=t)
        seen.append(counted(t))
    waiting = {"quotes": 1, "waiting": 1}
    assert seen == [waiting, {"quotes": 1, "sent": 1, "noted": 1}, waiting, {"quotes": 1, "expired": 1}, {}]


@pytest.mark.parametrize(("answer", "bucket"), [("refuse_now", "retry_queue"), ("lose_reply", "unknown"), ("refuse_for_good", "failed")])
def test_a_reminder_that_is_not_accepted_is_not_noted(answer: str, bucket: str) -> None:
    t = follow_up(quote(1), quote(2), script=[{"effect": "remind", "when": {"to": "c1@example.com"}, "answer": answer}])
    assert counted(t) == {"quotes": 2, "sent": 1, "noted": 1, bucket: 1}
    assert [sample["quote"] for sample in t.result["samples"][bucket]] == ["q0001"]
    assert quotes(t)["q0001"] == quote(1)["body"]


def test_a_reminder_that_could_not_be_noted_is_noted_later_and_not_sent_again() -> None:
    first = follow_up(quote(), script=[{"effect": "note", "answer": "refuse_for_good"}])
    assert counted(first) == {"quotes": 1, "sent": 1}
    assert first.result["samples"]["unnoted"] == [{"quote": "q0001", "reason": "version_conflict"}]
    t = trial(run, ARGS, now=MONDAY, after=first)
    assert counted(t) == {"quotes": 1, "skipped": 1, "noted": 1}
    assert [entry["status"] for entry in t.effects] == ["skipped", "done"]


def test_a_reminder_that_is_not_settled_is_not_sent_again_tomorrow() -> None:
    first = follow_up(quote(), script=[{"effect": "remind", "answer": "lose_reply"}])
    t = trial(run, ARGS, now="2026-03-03T09:00:00Z", after=first)
    assert counted(t) == {"quotes": 1, "unknown": 1}
    assert t.items("remind") == []


def test_a_quote_that_cannot_be_closed_is_a_failure() -> None:
    t = follow_up(quote(1), quote(2), replies=["q0001"], script=[{"effect": "close", "answer": "refuse_for_good"}])
    assert counted(t) == {"quotes": 2, "sent": 1, "noted": 1, "failed": 1}
    assert t.result["samples"]["failed"] == [{"quote": "q0001", "reason": "version_conflict"}]


def test_no_more_reminders_than_asked_for() -> None:
    t = follow_up(quote(1), quote(2), quote(3), quote(4, "2026-01-01", 2, "2026-01-02"), most=2)
    assert counted(t) == {"quotes": 4, "sent": 2, "noted": 2, "waiting": 1, "expired": 1}


@pytest.mark.parametrize("answer", ["crash", "crash_before"])
@pytest.mark.parametrize("effect", ["note", "close"])
def test_a_run_that_dies_and_goes_on_sends_nothing_twice(effect: str, answer: str) -> None:
    t = follow_up(quote(1), quote(2), quote(3), replies=["q0003"], script=[{"effect": effect, "answer": answer}])
    assert t.crashes == 1
    assert counted(t) == {"quotes": 3, "sent": 2, "noted": 2, "answered": 1}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"email": None}, "email"),
        ({"email": " "}, "email"),
        ({"name": 7}, "name"),
        ({"name": ""}, "name"),
        ({"sent_on": None}, "sent_on"),
        ({"sent_on": "20260201"}, "sent_on"),
        ({"sent_on": "2026-02-30"}, "sent_on"),
        ({"reminders": -1}, "reminders"),
        ({"reminders": "1"}, "reminders"),
        ({"reminders": True}, "reminders"),
        ({"reminders": 1}, "last_reminder_on"),
    ],
)
def test_a_quote_that_cannot_be_read_is_named_with_the_field(fields: dict[str, Any], reason: str) -> None:
    t = follow_up(quote(1, **fields), quote(2))
    assert (t.result["invalid"], t.result["sent"]) == (1, 1)
    assert t.result["samples"]["invalid"] == [{"quote": "q0001", "reason": reason}]


def test_a_quote_without_a_count_has_had_no_reminder() -> None:
    bare = {"key": "q1", "body": {"state": "open", "email": "c1@example.com", "name": "Ann", "sent_on": "2026-02-01"}}
    assert follow_up(bare).items("note")[0]["body"]["reminders"] == 1


def test_values_are_not_looked_into_again() -> None:
    (item,) = follow_up(quote(name="{{quote}}")).items("remind")
    assert item["text"] == "Dear {{quote}}, about q0001."


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {**POLICY, "stages": []},
        {**POLICY, "stages": {}},
        {**POLICY, "stages": ["hello"]},
        {**POLICY, "stages": [{"after_days": 7}]},
        {**POLICY, "stages": [{"after_days": 7, "text": " "}]},
        {**POLICY, "stages": [{"after_days": -1, "text": "x"}]},
        {**POLICY, "stages": [{"after_days": 366, "text": "x"}]},
        {**POLICY, "stages": [{"after_days": True, "text": "x"}]},
        {**POLICY, "expire_after_days": "20"},
        {**POLICY, "expire_after_days": 366},
    ],
)
def test_a_policy_that_cannot_be_followed_stops_the_run_before_any_mail(policy: dict[str, Any]) -> None:
    t = follow_up(quote(), policy=policy)
    assert t.error is not None
    assert t.error["code"] == "policy_invalid"
    assert t.effects == []


@pytest.mark.parametrize("days", [0, 365])
def test_a_stage_may_wait_from_no_day_to_a_year(days: int) -> None:
    policy = {"expire_after_days": days, "stages": [{"after_days": days, "text": "x"}]}
    assert follow_up(quote(1, "2025-03-02"), policy=policy).result["sent"] == 1


def test_a_policy_that_does_not_exist_is_named_in_the_error() -> None:
    t = trial(run, {"policy_id": "q"})
    assert t.error == {"code": "policy_not_found", "message": "There is no policy 'q' in follow_up_policies."}


def test_many_quotes_are_worked_in_batches_with_progress_after_each() -> None:
    t = follow_up(*(quote(number) for number in range(1, BATCH + 2)))
    assert (t.result["sent"], t.result["noted"]) == (501, 501)
    assert [report["done"] for report in t.progress] == [BATCH, BATCH + 1]


def test_samples_stay_small() -> None:
    rows = [{"key": "x" * 100 + str(number), "body": quote(sent_on="?")["body"]} for number in range(9)]
    t = follow_up(*rows)
    assert [len(sample["quote"]) for sample in t.result["samples"]["invalid"]] == [64] * SAMPLES


def test_a_policy_name_with_a_slash_is_one_segment_of_the_ledger_s_path() -> None:
    t = trial(run, {"policy_id": "a/b"}, world={"records": {"follow_up_policies": [{"key": "a/b", "body": POLICY}]}})
    assert t.result["ledger"] == "/ledgers/reminders/a%2Fb"


def test_the_log_tells_the_counts_and_no_customer() -> None:
    t = follow_up(quote(), replies=["q2"])
    assert [entry["event"] for entry in t.logs] == ["follow_up_started", "follow_up_finished"]
    assert t.logs[0]["fields"] == {"policy": "p", "stages": 2, "replies": 1}
    assert t.logs[1]["fields"] == {name: value for name, value in t.result.items() if isinstance(value, int)}
    assert "example.com" not in str(t.logs)
