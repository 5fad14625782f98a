"""Trials of repair_customer_records: what is normalised, what is written down first, and that nothing is repaired twice."""

from typing import Any

import pytest
from tool import BATCH, SAMPLES, canonical_address, phone_rule, run, tidy
from toolkit.testing import Trial, trial

ARGS = {"dataset_id": "d", "ruleset_id": "r"}
RULES = {"tidy": ["name", "city"], "email": ["email"], "phone": ["phone"], "default_country": "DE"}
DIRTY = {"dataset_id": "d", "name": " Ann  Lee", "email": "ANN@example.com", "phone": "030 1234567"}
MENDED = {"dataset_id": "d", "name": "Ann Lee", "email": "ann@example.com", "phone": "+49301234567"}


def repair(*bodies: dict[str, Any], rules: dict[str, Any] | None = None, after: Trial | None = None, **more: Any) -> Trial:
    script = more.pop("script", ())
    rows = [{"key": f"c{n:04}", "body": {"dataset_id": "d", **body}} for n, body in enumerate(bodies, start=1)]
    world = {"records": {"repair_rulesets": [{"key": "r", "body": RULES if rules is None else rules}], "customers": rows}}
    t = trial(run, ARGS | more, world=world, script=script, after=after)
    if t.result:
        buckets = ("clean", "repaired", "skipped", "failed", "pending")
        assert sum(t.result[bucket] for bucket in buckets) == t.result["records"]
        assert t.result["repaired"] == t.counts["repair"]["done"]
        assert t.result["changes"] == t.counts["record_change"]["done"]
    return t


def counted(t: Trial) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: value for name, value in t.result.items() if isinstance(value, int) and value}


def customers(t: Trial) -> dict[str, Any]:
    return {row["key"]: row["body"] for row in t.world["records"]["customers"]}


def changes(t: Trial) -> list[dict[str, Any]]:
    return [row["body"] for row in t.world["records"].get("customer_changes", [])]


def test_a_dirty_record_is_rewritten_and_a_clean_one_is_not() -> None:
    t = repair(DIRTY, MENDED)
    assert counted(t) == {"records": 2, "clean": 1, "repaired": 1, "changes": 3}
    assert customers(t) == {"c0001": MENDED, "c0002": MENDED}
    assert t.result["ledger"] == "/ledgers/repairs/d"


def test_each_change_is_written_down_before_the_record_is_rewritten() -> None:
    t = repair(DIRTY)
    assert [entry["effect"] for entry in t.effects] == ["record_change"] * 3 + ["repair"]
    assert [(c["item"]["body"]["field"], c["item"]["body"]["before"], c["item"]["body"]["after"]) for c in t.effects[:3]] == [
        ("name", " Ann  Lee", "Ann Lee"),
        ("email", "ANN@example.com", "ann@example.com"),
        ("phone", "030 1234567", "+49301234567"),
    ]
    assert t.effects[0]["item"]["body"] == {
        "dataset_id": "d",
        "ruleset_id": "r",
        "record": "c0001",
        "version": 1,
        "field": "name",
        "before": " Ann  Lee",
        "after": "Ann Lee",
    }
    assert t.effects[0]["key"] == ["d", "r", "c0001", 1, "name"]
    assert t.effects[3]["key"] == ["d", "r", "c0001", 1]
    assert len(changes(t)) == 3


def test_a_second_call_finds_everything_clean() -> None:
    first = repair(DIRTY, DIRTY)
    t = trial(run, ARGS, after=first)
    assert counted(t) == {"records": 2, "clean": 2}
    assert t.effects == []


def test_a_record_that_got_dirty_again_is_repaired_again() -> None:
    first = repair(DIRTY)
    t = repair(DIRTY, after=first)
    assert counted(t) == {"records": 1, "repaired": 1, "changes": 3}
    assert sorted(change["version"] for change in changes(t)) == [1, 1, 1, 3, 3, 3]


def test_a_record_that_could_not_be_rewritten_is_repaired_by_the_next_call() -> None:
    first = repair(DIRTY, script=[{"effect": "repair", "answer": "refuse_for_good"}])
    assert counted(first) == {"records": 1, "failed": 1, "changes": 3}
    assert first.result["samples"]["failed"] == [{"record": "c0001", "reason": "version_conflict"}]
    assert customers(first) == {"c0001": DIRTY}
    t = trial(run, ARGS, after=first)
    assert counted(t) == {"records": 1, "repaired": 1}
    assert len(changes(t)) == 3


def test_a_record_whose_change_cannot_be_written_down_is_left_alone() -> None:
    script = [{"effect": "record_change", "answer": "refuse_for_good", "times": 2}]
    t = repair(DIRTY, DIRTY, script=script)
    assert counted(t) == {"records": 2, "repaired": 1, "failed": 1, "changes": 4}
    assert customers(t)["c0001"] == DIRTY
    assert customers(t)["c0002"]["name"] == "Ann Lee"


@pytest.mark.parametrize("effect", ["record_change", "repair"])
def test_a_crash_repeats_nothing(effect: str) -> None:
    t = repair(DIRTY, DIRTY, script=[{"effect": effect, "answer": "crash"}])
    assert t.crashes == 1
    assert counted(t) == {"records": 2, "repaired": 2, "changes": 6}
    assert len(changes(t)) == 6


def test_records_of_other_datasets_are_not_touched() -> None:
    t = repair(DIRTY, {**DIRTY, "dataset_id": "e"})
    assert counted(t) == {"records": 1, "repaired": 1, "changes": 3}
    assert customers(t)["c0002"] == {**DIRTY, "dataset_id": "e"}


def test_fields_without_a_rule_and_empty_ones_stay() -> None:
    t = repair({"name": None, "note": "  as it is ", "email": "a@example.com"})
    assert counted(t) == {"records": 1, "clean": 1}


def test_what_a_rule_cannot_read_stays_and_is_reported_with_its_field() -> None:
    t = repair({"name": 7, "email": "nobody", "phone": "ask Ann", "city": " Ulm"})
    assert counted(t) == {"records": 1, "repaired": 1, "changes": 1, "unreadable": 3}
    assert [sample["reason"] for sample in t.result["samples"]["unreadable"]] == ["name", "email", "phone"]
    assert customers(t)["c0001"] == {"dataset_id": "d", "name": 7, "email": "nobody", "phone": "ask Ann", "city": "Ulm"}


def test_a_dataset_of_many_pages_is_repaired_in_batches() -> None:
    t = repair(*({"name": f" n{n}"} for n in range(2 * BATCH + 1)))
    assert counted(t) == {"records": 1001, "repaired": 1001, "changes": 1001}
    assert [report["done"] for report in t.progress] == [BATCH, 2 * BATCH, 2 * BATCH + 1]


def test_samples_stay_small_and_the_result_within_its_limit() -> None:
    rows = [{"key": "\U0001f4a1" * 200 + str(n), "body": {"dataset_id": "d", "email": "x", "phone": "y"}} for n in range(9)]
    t = trial(run, ARGS, world={"records": {"repair_rulesets": [{"key": "r", "body": RULES}], "customers": rows}})
    assert [len(sample["record"]) for sample in t.result["samples"]["unreadable"]] == [64] * SAMPLES
    assert t.result["unreadable"] == 18


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"tidy": "name"},
        {"tidy": [1]},
        {"tidy": ["dataset_id"]},
        {"phone": ["phone"]},
        {"phone": ["phone"], "default_country": "XX"},
        {"tidy": ["name"], "email": ["name"]},
    ],
)
def test_a_ruleset_that_cannot_be_followed_stops_the_run_before_any_change(rules: dict[str, Any]) -> None:
    t = repair(DIRTY, rules=rules)
    assert t.error is not None
    assert t.error["code"] == "ruleset_invalid"
    assert t.effects == []


def test_a_ruleset_without_phones_needs_no_country() -> None:
    assert counted(repair({"name": " x"}, rules={"tidy": ["name"]}))["repaired"] == 1


def test_a_ruleset_that_does_not_exist_is_named_in_the_error() -> None:
    t = repair(DIRTY, ruleset_id="q")
    assert t.error == {"code": "ruleset_not_found", "message": "There is no ruleset 'q' in repair_rulesets."}


@pytest.mark.parametrize(("text", "tidied"), [("a", "a"), (" a \t b\n", "a b"), ("e\u0301", "\u00e9"), ("", ""), ("\u00a0a", "a")])
def test_names_are_tidied(text: str, tidied: str) -> None:
    assert tidy(text) == tidied


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (" Ann.Lee@Example.COM ", "ann.lee@example.com"),
        ("a@m\u00fcnchen.example", "a@xn--mnchen-3ya.example"),
        ("a@example", None),
        ("a b@example.com", None),
        (".a@example.com", None),
        ("a.@example.com", None),
        ("a..b@example.com", None),
        ("@example.com", None),
        ("a@" + "x" * 64 + ".com", None),
        ("x" * 60 + "@" + "y." * 95 + "com", "x" * 60 + "@" + "y." * 95 + "com"),
        ("x" * 60 + "@" + "y." * 95 + "info", None),
        ("x" * 65 + "@example.com", None),
    ],
)
def test_addresses_are_written_canonically(text: str, address: str | None) -> None:
    assert canonical_address(text) == address


@pytest.mark.parametrize(
    ("country", "text", "number"),
    [
        ("DE", "030 / 12 34 56-0", "+49301234560"),
        ("DE", "+49 (0)30 1234560", "+49301234560"),
        ("DE", "0049 30 1234560", "+49301234560"),
        ("DE", "+1 (212) 555-0123", "+12125550123"),
        ("US", "1 212 555 0123", "+12125550123"),
        ("US", "(212) 555.0123", "+12125550123"),
        ("ES", "612 345 678", "+34612345678"),
        ("GB", "020 7946 0018", "+442079460018"),
        ("DE", "(030) 123456", "+4930123456"),
        ("DE", "(0049) 30 123456", "+4930123456"),
        ("DE", "ask Ann", None),
        ("DE", "", None),
        ("DE", "+", None),
        ("DE", "+49 30 12 ext 5", None),
        ("DE", "+123456", None),
        ("DE", "+1234567", "+1234567"),
        ("DE", "+123456789012345", "+123456789012345"),
        ("DE", "+1234567890123456", None),
        ("DE", "+0123456789", None),
    ],
)
def test_phone_numbers_are_written_as_e164(country: str, text: str, number: str | None) -> None:
    assert phone_rule(country)(text) == number


@pytest.mark.parametrize(
    ("country", "number"),
    [
        ("AT", "+43112345678"),
        ("BE", "+32112345678"),
        ("CH", "+41112345678"),
        ("DE", "+49112345678"),
        ("DK", "+450112345678"),
        ("ES", "+340112345678"),
        ("FR", "+33112345678"),
        ("GB", "+44112345678"),
        ("IE", "+353112345678"),
        ("IT", "+390112345678"),
        ("NL", "+31112345678"),
        ("PL", "+480112345678"),
        ("SE", "+46112345678"),
        ("US", "+10112345678"),
    ],
)
def test_a_number_without_a_country_is_taken_to_be_of_the_default_one(country: str, number: str) -> None:
    t = repair({"phone": "0112345678"}, rules={"phone": ["phone"], "default_country": country})
    assert customers(t)["c0001"]["phone"] == number


def test_a_dataset_name_with_a_slash_is_one_segment_of_the_ledger_s_path() -> None:
    assert repair(dataset_id="a/b").result["ledger"] == "/ledgers/repairs/a%2Fb"


def test_the_log_tells_the_counts_and_no_customer() -> None:
    t = repair(DIRTY)
    assert [entry["event"] for entry in t.logs] == ["repair_started", "repair_finished"]
    assert t.logs[0]["fields"] == {"ruleset": "r", "rules": 4}
    assert t.logs[1]["fields"] == {name: value for name, value in t.result.items() if isinstance(value, int)}
    assert "Ann" not in str(t.logs)
