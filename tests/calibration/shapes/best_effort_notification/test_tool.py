"""Trials of open_incident: the record comes first, every channel is told once, and no failure is hidden or stops the others."""

from typing import Any

import pytest
from tool import MOST_CHANNELS, run
from toolkit.testing import Trial, trial

ARGS = {"incident_id": "inc-1", "severity": "major", "title": "Search is slow", "text": "Ten seconds a query."}
BUCKETS = ("told", "told_before", "waiting", "failed", "unknown", "no_channel")


def open_incident(*channels: Any, after: Trial | None = None, script: Any = (), rota: Any = None, **args: Any) -> Trial:
    body = rota if rota is not None else {"channels": list(channels)}
    world = {"records": {"on_call": [{"key": "major", "body": body}]}}
    t = trial(run, ARGS | args, world=world, script=script, after=after)
    if t.result and t.result["incident"] != "refused":
        assert sum(t.result[bucket] for bucket in BUCKETS) == t.result["on_call"] == len(t.result["channels"])
        assert t.result["told"] == t.counts["notify"]["done"]
    return t


def buckets(t: Trial) -> dict[str, int]:
    """The buckets that are not empty."""
    return {bucket: t.result[bucket] for bucket in BUCKETS if t.result[bucket]}


def script(channel: str, answer: str) -> list[dict[str, Any]]:
    return [{"effect": "notify", "when": {"channel": channel}, "answer": answer}]


def test_the_record_is_written_and_then_everybody_is_told() -> None:
    t = open_incident("chat", "pager", "ops_mail")
    assert [entry["effect"] for entry in t.effects] == ["record", "notify", "notify", "notify"]
    assert t.items("record") == [
        {
            "key": "inc-1",
            "body": {
                "title": "Search is slow",
                "severity": "major",
                "text": "Ten seconds a query.",
                "status": "open",
                "opened_at": "2026-03-01T09:00:00+00:00",
            },
            "expected_version": 0,
        }
    ]
    data = {"incident_id": "inc-1", "severity": "major"}
    assert t.items("notify") == [
        {"channel": "chat", "subject": "[major] Search is slow", "text": "Ten seconds a query.", "data": data},
        {"channel": "pager", "subject": "[major] Search is slow", "text": "Search is slow", "data": data},
        {"channel": "ops_mail", "subject": "[major] Search is slow", "text": "Ten seconds a query.", "data": data},
    ]
    assert (t.result["incident"], t.result["reason"], t.result["everybody_told"]) == ("opened", "done", True)
    assert buckets(t) == {"told": 3}
    assert t.progress == [{"done": 3, "total": 3}]


def test_keys_are_the_incident_and_the_channel() -> None:
    t = open_incident("chat", "pager")
    assert [entry["key"] for entry in t.effects] == [["inc-1"], ["inc-1", "chat"], ["inc-1", "pager"]]


def test_a_second_call_tells_nobody_again() -> None:
    t = open_incident("chat", "pager", after=open_incident("chat", "pager"))
    assert (t.result["incident"], t.result["everybody_told"]) == ("known", True)
    assert buckets(t) == {"told_before": 2}
    assert t.items("notify") == []


def test_a_channel_that_came_on_call_since_is_told_by_the_second_call() -> None:
    t = open_incident("chat", "pager", after=open_incident("chat"))
    assert buckets(t) == {"told": 1, "told_before": 1}
    assert [item["channel"] for item in t.items("notify")] == ["pager"]


def test_another_incident_is_told_anew() -> None:
    assert buckets(open_incident("chat", after=open_incident("chat"), incident_id="inc-2")) == {"told": 1}


@pytest.mark.parametrize(
    ("answer", "bucket", "reason"),
    [
        ("refuse_now", "waiting", "http_429"),
        ("refuse_for_good", "failed", "http_422"),
        ("lose_reply", "unknown", "http_disconnected"),
        ("crash", "unknown", "holder_died"),
    ],
)
def test_a_channel_that_is_not_told_is_counted_and_the_others_are_told(answer: str, bucket: str, reason: str) -> None:
    t = open_incident("chat", "pager", "ops_mail", script=script("chat", answer))
    assert (t.result["incident"], t.result["everybody_told"]) == ("opened", False)
    assert buckets(t) == {"told": 2, bucket: 1}
    assert t.result["channels"][0] == {"channel": "chat", "status": bucket, "reason": reason}
    again = open_incident("chat", "pager", "ops_mail", after=t)
    assert buckets(again) == {"told_before": 2, bucket: 1}


def test_a_record_that_cannot_be_written_is_told_to_nobody() -> None:
    t = open_incident("chat", script=[{"effect": "record", "answer": "refuse_for_good"}])
    assert (t.result["incident"], t.result["reason"], t.result["on_call"]) == ("refused", "version_conflict", 1)
    assert t.result["channels"] == []
    assert t.result["everybody_told"] is False
    assert buckets(t) == {}
    assert [entry["effect"] for entry in t.effects] == ["record"]


def test_a_record_that_was_refused_is_written_by_the_next_call() -> None:
    first = open_incident("chat", script=[{"effect": "record", "answer": "refuse_for_good"}])
    t = open_incident("chat", after=first)
    assert (t.result["incident"], buckets(t)) == ("opened", {"told": 1})


def test_an_incident_that_somebody_opened_by_hand_stays_as_it_is() -> None:
    world = {
        "records": {"on_call": [{"key": "major", "body": {"channels": ["chat"]}}], "incidents": [{"key": "inc-1", "body": {"by": "Ann"}}]}
    }
    t = trial(run, ARGS, world=world)
    assert (t.result["incident"], t.result["reason"]) == ("refused", "version_conflict")
    assert t.world["records"]["incidents"] == [{"key": "inc-1", "body": {"by": "Ann"}}]


@pytest.mark.parametrize("effect", ["record", "notify"])
def test_a_crash_repeats_nothing(effect: str) -> None:
    t = open_incident("chat", script=[{"effect": effect, "answer": "crash"}])
    assert t.crashes == 1
    assert t.result["incident"] == "opened"
    assert sum(entry["status"] in ("done", "unknown") for entry in t.effects) == 2


def test_a_name_that_is_no_channel_is_named_and_nobody_is_asked() -> None:
    t = open_incident("fax" * 30, "chat")
    assert buckets(t) == {"told": 1, "no_channel": 1}
    assert t.result["channels"][0] == {"channel": ("fax" * 30)[:64], "status": "no_channel", "reason": "no_channel"}
    assert t.result["everybody_told"] is False
    assert len(t.effects) == 2


def test_a_channel_that_is_named_twice_is_told_once() -> None:
    t = open_incident("chat", "pager", "chat")
    assert t.result["on_call"] == 2
    assert [row["channel"] for row in t.result["channels"]] == ["chat", "pager"]


def test_a_severity_without_a_rota_stops_before_anything_is_written() -> None:
    t = open_incident("chat", severity="minor")
    assert t.error == {"code": "rota_not_found", "message": "There is no rota 'minor' in on_call."}
    assert t.effects == []


@pytest.mark.parametrize("rota", [{}, {"channels": []}, {"channels": "chat"}, {"channels": ["chat", 7]}, {"channels": ["chat", ""]}])
def test_a_rota_that_names_no_channels_stops_before_anything_is_written(rota: dict[str, Any]) -> None:
    t = open_incident(rota=rota)
    assert t.error is not None
    assert t.error["code"] == "rota_invalid"
    assert t.effects == []


def test_a_rota_may_be_as_long_as_the_result_allows() -> None:
    names = [f"c{n}" for n in range(MOST_CHANNELS)]
    assert open_incident(*names, *names).result["no_channel"] == MOST_CHANNELS
    t = open_incident(*names, "one_more")
    assert t.error is not None
    assert t.error["code"] == "rota_invalid"


def test_the_log_tells_the_counts_and_not_what_happened() -> None:
    t = open_incident("chat", "fax")
    assert t.logs == [
        {"event": "incident_started", "fields": {"severity": "major", "channels": 2}},
        {
            "event": "incident_finished",
            "fields": {
                "incident": "opened",
                "on_call": 2,
                "told": 1,
                "told_before": 0,
                "waiting": 0,
                "failed": 0,
                "unknown": 0,
                "no_channel": 1,
                "everybody_told": False,
            },
        },
    ]
    assert "slow" not in str(t.logs)
