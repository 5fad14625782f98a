"""Trials of campaign_send_bulk: who is written to, what with, how it is counted, and that nobody gets it twice."""

from typing import Any

import pytest
from tool import PROGRESS_EVERY, SAMPLES, canonical, run
from toolkit.testing import Trial, trial

PLAIN = {"subject": "Hello", "text": "News."}
BUCKETS = ("sent", "skipped", "failed", "retry_queue", "unknown")
LEFT_OUT = ("invalid_address", "suppressed", "missing_variable")


def world(template: dict[str, Any] | None = None, **collections: list[dict[str, Any]]) -> dict[str, Any]:
    return {"records": {"email_templates": [{"key": "t", "body": template or PLAIN}], **collections}}


def send(recipients: Any, template: dict[str, Any] | None = None, *, after: Trial | None = None, **more: Any) -> Trial:
    collections = {name: more.pop(name) for name in ("customers", "email_suppressions") if name in more}
    script = more.pop("script", ())
    args = {"campaign_id": "c", "template_id": "t", "recipients": recipients, **more}
    t = trial(run, args, world=world(template, **collections), script=script, after=after)
    if t.result:
        assert sum(t.result[bucket] for bucket in BUCKETS) == t.result["distinct"]
        assert t.result["distinct"] + t.result["duplicates"] + sum(t.result[why] for why in LEFT_OUT) == t.result["given"]
        assert t.result["sent"] == t.counts["send"]["done"]
    return t


def counted(t: Trial) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: value for name, value in t.result.items() if isinstance(value, int) and value}


def script(to: str, answer: str) -> list[dict[str, Any]]:
    return [{"effect": "send", "when": {"to": to}, "answer": answer}]


def test_every_recipient_gets_the_template_once() -> None:
    t = send(["ann@example.com", "bob@example.com"])
    assert counted(t) == {"given": 2, "distinct": 2, "sent": 2}
    assert t.items("send") == [
        {"to": to, "subject": "Hello", "text": "News.", "list_unsubscribe": "mailto:unsubscribe@example.com?subject=c"}
        for to in ("ann@example.com", "bob@example.com")
    ]
    assert t.effects[0]["key"] == ["c", "t", "ann@example.com"]
    assert t.result["ledger"] == "/ledgers/campaigns/c"


def test_one_mailbox_in_several_spellings_gets_one_mail() -> None:
    t = send(["Ann@Example.com", " ann@example.COM ", "ann@example.com"])
    assert counted(t) == {"given": 3, "distinct": 1, "duplicates": 2, "sent": 1}


def test_a_second_call_writes_to_nobody_again() -> None:
    t = send(["ann@example.com", "bob@example.com"], after=send(["ann@example.com", "bob@example.com"]))
    assert counted(t) == {"given": 2, "distinct": 2, "skipped": 2}
    assert t.items("send") == []
    assert t.result["samples"]["skipped"][0] == {"recipient": "ann@example.com", "reason": "skipped"}


def test_a_second_call_with_more_recipients_writes_to_the_new_ones_alone() -> None:
    t = send(["ann@example.com", "new@example.com"], after=send(["ann@example.com"]))
    assert counted(t) == {"given": 2, "distinct": 2, "sent": 1, "skipped": 1}
    assert [item["to"] for item in t.items("send")] == ["new@example.com"]


def test_another_campaign_or_template_is_another_mail() -> None:
    first = send(["ann@example.com"])
    assert counted(send(["ann@example.com"], campaign_id="d", after=first))["sent"] == 1
    more = {"records": {"email_templates": [{"key": "u", "body": PLAIN}]}}
    args = {"campaign_id": "c", "template_id": "u", "recipients": ["ann@example.com"]}
    assert counted(trial(run, args, world=more, after=first))["sent"] == 1


@pytest.mark.parametrize(
    ("answer", "bucket", "reason"),
    [
        ("refuse_now", "retry_queue", "smtp_450"),
        ("refuse_for_good", "failed", "smtp_550"),
        ("lose_reply", "unknown", "smtp_disconnected"),
        ("crash", "unknown", "holder_died"),
    ],
)
def test_what_goes_wrong_ends_in_its_own_bucket_and_is_not_repeated(answer: str, bucket: str, reason: str) -> None:
    t = send(["ann@example.com", "bob@example.com"], script=script("ann@example.com", answer))
    assert counted(t) == {"given": 2, "distinct": 2, "sent": 1, bucket: 1}
    assert t.result["samples"][bucket] == [{"recipient": "ann@example.com", "reason": reason}]
    again = send(["ann@example.com", "bob@example.com"], after=t)
    assert counted(again) == {"given": 2, "distinct": 2, "skipped": 1, bucket: 1}


def test_a_crash_in_the_middle_of_a_collection_repeats_no_mail() -> None:
    customers = [{"key": f"{n:04}", "body": {"email": f"u{n}@example.com"}} for n in range(700)]
    t = send({"collection": "customers"}, customers=customers, script=script("u600@example.com", "crash"))
    assert t.crashes == 1
    assert counted(t) == {"given": 700, "distinct": 700, "sent": 699, "unknown": 1}


def test_a_collection_is_read_page_by_page_with_its_filter() -> None:
    customers = [{"key": f"{n:04}", "body": {"email": f"u{n}@example.com", "even": n % 2 == 0}} for n in range(1201)]
    t = send({"collection": "customers", "filter": {"even": True}}, customers=customers)
    assert counted(t) == {"given": 601, "distinct": 601, "sent": 601}
    assert t.progress == [{"done": PROGRESS_EVERY, "total": None}, {"done": 601, "total": 601}]


def test_a_filter_that_matches_nobody_sends_nothing() -> None:
    t = send({"collection": "customers", "filter": {"country": "DE"}}, customers=[{"key": "1", "body": {"email": "a@example.com"}}])
    assert counted(t) == {}
    assert t.effects == []


def test_the_address_may_stand_in_another_field() -> None:
    t = send({"collection": "customers", "address_field": "mail"}, customers=[{"key": "1", "body": {"mail": "ann@example.com"}}])
    assert counted(t)["sent"] == 1


def test_a_snapshot_is_written_to_as_it_was_when_it_was_taken() -> None:
    customers = [{"key": str(n), "body": {"mail": f"u{n}@example.com", "name": f"N{n}"}} for n in range(3)]
    kept = world({"subject": "Hello {{name}}", "text": "News."}, customers=customers) | {"snapshots": {"snap_spring": "customers"}}
    args = {"campaign_id": "c", "template_id": "t", "recipients": {"snapshot": "snap_spring", "address_field": "mail"}}
    t = trial(run, args, world=kept)
    assert counted(t) == {"given": 3, "distinct": 3, "sent": 3}
    assert [item["subject"] for item in t.items("send")] == ["Hello N0", "Hello N1", "Hello N2"]
    later = world(customers=[{"key": "9", "body": {"mail": "new@example.com"}}])
    assert counted(trial(run, args, world=later, after=t)) == {"given": 3, "distinct": 3, "skipped": 3}


def test_a_snapshot_that_is_not_there_is_refused() -> None:
    t = send({"snapshot": "snap_none"})
    assert t.error is not None
    assert t.error["code"] == "snapshot_not_found"
    assert t.effects == []


def test_a_collection_that_the_spec_does_not_name_is_refused() -> None:
    t = send({"collection": "employees"})
    assert t.error is not None
    assert t.error["code"] == "collection_not_declared"
    assert t.effects == []


def test_a_record_without_an_address_is_named_by_its_key() -> None:
    customers = [{"key": "c1", "body": {"name": "Ann"}}, {"key": "c2", "body": {"email": 7}}, {"key": "c3", "body": {"email": "x@y"}}]
    t = send({"collection": "customers"}, customers=customers)
    assert counted(t) == {"given": 3, "invalid_address": 3}
    assert [sample["recipient"] for sample in t.result["samples"]["invalid_address"]] == ["record c1", "record c2", "x@y"]


@pytest.mark.parametrize("spelling", ["eve@example.com", " EVE@Example.com"])
def test_who_does_not_want_mail_gets_none(spelling: str) -> None:
    t = send(["eve@example.com", "ann@example.com"], email_suppressions=[{"key": spelling, "body": {}}])
    assert counted(t) == {"given": 2, "distinct": 1, "sent": 1, "suppressed": 1}
    assert t.result["samples"]["suppressed"] == [{"recipient": "eve@example.com", "reason": "suppressed"}]


def test_variables_of_the_record_come_before_those_of_the_call() -> None:
    customers = [
        {"key": "1", "body": {"email": "ann@example.com", "name": "Ann"}},
        {"key": "2", "body": {"email": "bob@example.com", "name": None}},
        {"key": "3", "body": {"email": "cyd@example.com", "name": ["C"], "price": 7.5}},
    ]
    template = {"subject": "For {{name}}", "text": "{{ name }} pays {{price}}"}
    t = send({"collection": "customers"}, template, customers=customers, variables={"name": "you", "price": 10})
    assert [(item["subject"], item["text"]) for item in t.items("send")] == [
        ("For Ann", "Ann pays 10"),
        ("For you", "you pays 10"),
        ("For you", "you pays 7.5"),
    ]


@pytest.mark.parametrize("part", ["subject", "text", "html", "list_unsubscribe"])
def test_a_variable_without_a_value_leaves_the_recipient_out(part: str) -> None:
    customers = [
        {"key": "1", "body": {"email": "ann@example.com", "name": "Ann"}},
        {"key": "2", "body": {"email": "bob@example.com", "name": True}},
    ]
    template = {**PLAIN, part: "https://example.com/{{name}}"}
    t = send({"collection": "customers"}, template, customers=customers)
    assert counted(t) == {"given": 2, "distinct": 1, "sent": 1, "missing_variable": 1}
    assert t.result["samples"]["missing_variable"] == [{"recipient": "bob@example.com", "reason": "missing_variable"}]


def test_values_are_escaped_in_html_and_encoded_in_links_alone() -> None:
    template = {"subject": "{{n}}", "text": "{{n}}", "html": "<p>{{n}}</p>", "list_unsubscribe": "https://example.com/?n={{n}}"}
    (item,) = send(["ann@example.com"], template, variables={"n": "<a/b> & {{n}}"}).items("send")
    assert item["text"] == "<a/b> & {{n}}"
    assert item["html"] == "<p>&lt;a/b&gt; &amp; {{n}}</p>"
    assert item["list_unsubscribe"] == "https://example.com/?n=%3Ca%2Fb%3E%20%26%20%7B%7Bn%7D%7D"


def test_a_subject_is_one_line_whatever_a_value_holds() -> None:
    (item,) = send(["ann@example.com"], {"subject": "Hi {{n}}", "text": "x"}, variables={"n": "Ann\r\nBcc: eve@example.com"}).items("send")
    assert item["subject"] == "Hi Ann Bcc: eve@example.com"


@pytest.mark.parametrize(
    "template",
    [
        {"text": "x"},
        {"subject": "x"},
        {"subject": " ", "text": "x"},
        {"subject": "x", "text": "\n"},
        {"subject": "x", "text": 7},
        {**PLAIN, "html": {"a": 1}},
    ],
)
def test_a_template_that_is_not_whole_stops_the_run_before_any_mail(template: dict[str, Any]) -> None:
    t = send(["ann@example.com"], template)
    assert t.error is not None
    assert t.error["code"] == "template_invalid"
    assert t.effects == []


def test_a_template_that_does_not_exist_is_named_in_the_error() -> None:
    t = trial(run, {"campaign_id": "c", "template_id": "sprnig", "recipients": ["ann@example.com"]})
    assert t.error == {"code": "template_not_found", "message": "There is no template 'sprnig' in email_templates."}


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "@example.com",
        "ann@",
        "ann@example",
        ".ann@example.com",
        "ann.@example.com",
        "a..n@example.com",
        "a b@example.com",
        "ann@exa mple.com",
        "ann@-example.com",
        "ann@example.com>",
        "a,b@example.com",
        "x" * 65 + "@example.com",
        "a@" + "x" * 64 + ".com",
        "x" * 60 + "@" + "y." * 95 + "info",
        "ann@exam\u0000ple.com",
        None,
        7,
    ],
)
def test_what_is_no_address_is_refused(address: object) -> None:
    assert canonical(address) is None


@pytest.mark.parametrize(
    ("address", "spelling"),
    [
        ("Ann.Lee+News@Example.COM", "ann.lee+news@example.com"),
        ("\u0061\u0308nn@example.com", "\u00e4nn@example.com"),
        ("ann@m\u00fcnchen.example", "ann@xn--mnchen-3ya.example"),
        ("x" * 64 + "@example.com", "x" * 64 + "@example.com"),
        ("x" * 60 + "@" + "y." * 95 + "com", "x" * 60 + "@" + "y." * 95 + "com"),
    ],
)
def test_an_address_has_one_spelling(address: str, spelling: str) -> None:
    assert canonical(address) == spelling


def test_a_campaign_name_with_a_slash_is_one_segment_of_the_links() -> None:
    t = send(["ann@example.com"], campaign_id="a/b c")
    assert t.result["ledger"] == "/ledgers/campaigns/a%2Fb%20c"
    assert t.items("send")[0]["list_unsubscribe"].endswith("?subject=a%2Fb%20c")


def test_samples_stay_small_and_the_result_within_its_limit() -> None:
    wide = "\U0001f4a1" * 320
    customers = [{"key": str(n), "body": {"email": wide}} for n in range(9)]
    t = send({"collection": "customers"}, customers=customers, campaign_id="\U0001f4a1" * 64)
    assert [len(sample["recipient"]) for sample in t.result["samples"]["invalid_address"]] == [64] * SAMPLES
    assert t.error is None


def test_the_log_tells_the_counts_and_nobody_s_address() -> None:
    t = send(["ann@example.com", "nobody"])
    assert [entry["event"] for entry in t.logs] == ["campaign_started", "campaign_finished"]
    assert t.logs[0]["fields"] == {"template": "t", "suppressions": 0}
    assert t.logs[1]["fields"] == {name: value for name, value in t.result.items() if isinstance(value, int)}
    assert "example.com" not in str(t.logs)
