"""Suites for campaign_send_bulk that look like tests and assert too little."""

NOTHING_ASSERTED = '''"""Trials of campaign_send_bulk."""

from typing import Any

import pytest
from tool import canonical, run
from toolkit.testing import trial

TEMPLATE = {"subject": "Hello {{name}}", "text": "News.", "html": "<p>{{name}}</p>", "list_unsubscribe": "https://example.com/?n={{name}}"}


def send(recipients: Any, **more: Any) -> Any:
    customers = [{"key": f"{n:04}", "body": {"email": f"u{n}@example.com", "name": "Ann"}} for n in range(600)]
    records = {"email_templates": [{"key": "t", "body": TEMPLATE}], "customers": customers}
    records["email_suppressions"] = [{"key": "u1@example.com", "body": {}}]
    args = {"campaign_id": "c", "template_id": "t", "recipients": recipients, "variables": {"name": "Bob"}}
    return trial(run, args, world={"records": records}, **more)


def test_a_list_is_sent() -> None:
    assert send(["ann@example.com", "bob@example.com", "ann@example.com", "nobody"]).result is not None


def test_a_collection_is_sent() -> None:
    assert send({"collection": "customers", "filter": {"name": "Ann"}}).result is not None


def test_a_second_call_works() -> None:
    assert send(["ann@example.com"], after=send(["ann@example.com"])).error is None


@pytest.mark.parametrize("answer", ["refuse_now", "refuse_for_good", "lose_reply", "crash"])
def test_faults_are_survived(answer: str) -> None:
    t = send(["ann@example.com"], script=[{"effect": "send", "answer": answer}])
    assert t.result is not None


def test_a_template_that_is_missing_is_an_error() -> None:
    t = trial(run, {"campaign_id": "c", "template_id": "x", "recipients": ["ann@example.com"]})
    assert t.error is not None


@pytest.mark.parametrize("address", ["", "ann", ".ann@example.com", None, "ann@exam ple.com", "ann@example.com", "a@\\xfc.example"])
def test_addresses_are_checked(address: object) -> None:
    result = canonical(address)
    assert result is None or isinstance(result, str)
'''

COUNTS_ALONE = '''"""Trials of campaign_send_bulk: the counts."""

from typing import Any

import pytest
from tool import run
from toolkit.testing import trial


def send(recipients: Any, **more: Any) -> Any:
    records = {"email_templates": [{"key": "t", "body": {"subject": "Hello {{name}}", "text": "News.", "html": "<p>{{name}}</p>"}}]}
    records["email_suppressions"] = [{"key": "eve@example.com", "body": {}}]
    records["customers"] = [{"key": f"{n}", "body": {"email": f"u{n}@example.com", "name": "Ann"}} for n in range(3)]
    args = {"campaign_id": "c", "template_id": "t", "recipients": recipients, "variables": more.pop("variables", {"name": "Bob"})}
    return trial(run, args, world={"records": records}, **more)


def test_each_is_counted() -> None:
    t = send(["ann@example.com", "bob@example.com", "Ann@example.com", "nobody", "eve@example.com"])
    assert t.result["given"] == 5
    assert t.result["distinct"] == 2
    assert t.result["sent"] == 2
    assert t.result["duplicates"] == 1
    assert t.result["invalid_address"] == 1
    assert t.result["suppressed"] == 1


def test_a_collection_is_counted() -> None:
    assert send({"collection": "customers"}).result["sent"] == 3
    assert send({"collection": "customers", "filter": {"name": "Bob"}}).result["sent"] == 0


def test_a_second_call_skips() -> None:
    assert send(["ann@example.com"], after=send(["ann@example.com"])).result["skipped"] == 1


def test_a_missing_variable_is_counted() -> None:
    assert send(["ann@example.com"], variables={}).result["missing_variable"] == 1


@pytest.mark.parametrize(
    ("answer", "bucket"), [("refuse_now", "retry_queue"), ("refuse_for_good", "failed"), ("lose_reply", "unknown"), ("crash", "unknown")]
)
def test_faults_are_counted(answer: str, bucket: str) -> None:
    assert send(["ann@example.com"], script=[{"effect": "send", "answer": answer}]).result[bucket] == 1


def test_a_template_that_is_missing_is_an_error() -> None:
    t = trial(run, {"campaign_id": "c", "template_id": "x", "recipients": ["ann@example.com"]})
    assert t.error is not None and t.error["code"] == "template_not_found"
'''

HELPERS_ALONE = '''"""Tests of the parts of campaign_send_bulk."""

import pytest
from tool import Tally, canonical, fill, fold, printable, run
from toolkit.testing import trial


@pytest.mark.parametrize("address", ["", "ann", "@example.com", ".ann@example.com", "a..n@example.com", "a b@example.com", None, 7])
def test_what_is_no_address_is_refused(address: object) -> None:
    assert canonical(address) is None


@pytest.mark.parametrize(("address", "spelling"), [("Ann@Example.COM", "ann@example.com"), (" a@b.example ", "a@b.example")])
def test_an_address_has_one_spelling(address: str, spelling: str) -> None:
    assert canonical(address) == spelling
    assert fold(address) == spelling


def test_variables_are_filled_in() -> None:
    assert fill("Hello {{ name }}", {"name": "Ann"}) == "Hello Ann"


def test_what_can_be_printed_is_kept() -> None:
    assert printable({"a": 1, "b": None, "c": [1], "d": True, "e": "x"}) == {"a": "1", "e": "x"}


def test_a_tally_counts() -> None:
    tally = Tally()
    tally.add("failed", "ann@example.com", "refused")
    assert tally.buckets["failed"] == 1
    assert tally.sampled("failed") == [{"recipient": "ann@example.com", "reason": "refused"}]


def test_a_campaign_can_be_sent() -> None:
    world = {"records": {"email_templates": [{"key": "t", "body": {"subject": "x", "text": "y"}}]}}
    assert trial(run, {"campaign_id": "c", "template_id": "t", "recipients": ["ann@example.com"]}, world=world).result
'''
