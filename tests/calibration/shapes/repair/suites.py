"""Suites for repair_customer_records that look like tests and assert too little."""

_HEAD = '''"""Trials of repair_customer_records."""

from typing import Any

import pytest
from tool import canonical_address, phone_rule, run, tidy
from toolkit.testing import trial

RULES = {"tidy": ["name"], "email": ["email"], "phone": ["phone"], "default_country": "DE"}
DIRTY = {"dataset_id": "d", "name": " Ann  Lee", "email": "ANN@example.com", "phone": "030 1234567"}


def repair(*bodies: dict[str, Any], rules: Any = RULES, **more: Any) -> Any:
    rows = [{"key": f"c{n}", "body": body} for n, body in enumerate(bodies)]
    world = {"records": {"repair_rulesets": [{"key": "r", "body": rules}], "customers": rows}}
    return trial(run, {"dataset_id": "d", "ruleset_id": "r"}, world=world, **more)

'''

NOTHING_ASSERTED = (
    _HEAD
    + """
def test_dirty_records_are_repaired() -> None:
    assert repair(DIRTY, {"dataset_id": "d", "phone": "ask Ann"}, {"dataset_id": "e"}).result is not None


@pytest.mark.parametrize("answer", ["refuse_for_good", "crash", "crash_before"])
@pytest.mark.parametrize("effect", ["record_change", "repair"])
def test_faults_are_survived(effect: str, answer: str) -> None:
    assert repair(DIRTY, script=[{"effect": effect, "answer": answer}]).result is not None


def test_many_are_repaired() -> None:
    assert repair(*({"dataset_id": "d", "name": f" n{n}"} for n in range(600))).error is None


@pytest.mark.parametrize("rules", [{}, {"tidy": 1}, {"phone": ["phone"]}, {"tidy": ["name"], "email": ["name"]}])
def test_bad_rules_are_an_error(rules: Any) -> None:
    assert repair(DIRTY, rules=rules).error is not None


@pytest.mark.parametrize("text", ["030 1", "+49 (0)30 1234567", "0049 30 1234567", "x", ""])
def test_numbers_are_read(text: str) -> None:
    result = phone_rule("DE")(text)
    assert result is None or isinstance(result, str)
    assert isinstance(tidy(text), str)
    assert canonical_address(text) is None
"""
)

RECORDS_ALONE = (
    _HEAD
    + """
def test_dirty_records_are_repaired() -> None:
    t = repair(DIRTY)
    assert t.result["repaired"] == 1
    assert t.world["records"]["customers"][0]["body"]["name"] == "Ann Lee"
    assert t.world["records"]["customers"][0]["body"]["phone"] == "+49301234567"


def test_a_failure_is_counted() -> None:
    assert repair(DIRTY, script=[{"effect": "repair", "answer": "refuse_for_good"}]).result["failed"] == 1


def test_a_rule_that_cannot_read_is_counted() -> None:
    assert repair({"dataset_id": "d", "phone": "ask Ann"}).result["unreadable"] == 1


@pytest.mark.parametrize("rules", [{}, {"tidy": 1}, {"phone": ["phone"]}, {"tidy": ["name"], "email": ["name"]}])
def test_bad_rules_are_an_error(rules: Any) -> None:
    t = repair(DIRTY, rules=rules)
    assert t.error is not None and t.error["code"] == "ruleset_invalid"


@pytest.mark.parametrize(
    ("text", "number"), [("030 1234567", "+49301234567"), ("+49 (0)30 1234567", "+49301234567"), ("00331234567", "+331234567"), ("x", None)]
)
def test_numbers_are_read(text: str, number: str | None) -> None:
    assert phone_rule("DE")(text) == number


@pytest.mark.parametrize(("text", "address"), [("A@Example.com", "a@example.com"), ("a@b", None), (".a@example.com", None)])
def test_addresses_are_read(text: str, address: str | None) -> None:
    assert canonical_address(text) == address
    assert tidy(" a  b ") == "a b"
"""
)

RULES_ALONE = (
    _HEAD
    + """
@pytest.mark.parametrize(("text", "tidied"), [("a", "a"), (" a b\\n", "a b"), ("", "")])
def test_names_are_tidied(text: str, tidied: str) -> None:
    assert tidy(text) == tidied


@pytest.mark.parametrize(
    ("country", "text", "number"),
    [("DE", "030 / 12 34 56-0", "+49301234560"), ("US", "1 212 555 0123", "+12125550123"), ("GB", "020 7946 0018", "+442079460018")],
)
def test_numbers_are_read(country: str, text: str, number: str) -> None:
    assert phone_rule(country)(text) == number


@pytest.mark.parametrize(("text", "address"), [("A@Example.com", "a@example.com"), ("a@b", None), ("a..b@example.com", None)])
def test_addresses_are_read(text: str, address: str | None) -> None:
    assert canonical_address(text) == address


def test_a_dataset_can_be_repaired() -> None:
    assert repair(DIRTY).result
"""
)
