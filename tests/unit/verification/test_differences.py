"""Differences name places of values, not lines of text; what would swell a report is shortened."""

from __future__ import annotations

from app.verification.differences import ABSENT, differences
from app.verification.findings import MOST_VALUE, Finding


def test_places_are_named_by_their_json_path() -> None:
    expected = {"a": [1, {"b c": "x"}], "gone": 1}
    got = {"a": [1, {"b c": "y"}, 3], "more": 2}
    assert [(place.path, place.expected, place.got) for place in differences(expected, got)] == [
        ("$.a[1]['b c']", "x", "y"),
        ("$.a[2]", ABSENT, 3),
        ("$.gone", 1, ABSENT),
        ("$.more", ABSENT, 2),
    ]
    assert str(differences(1, 2, "$.result.sent")[0]) == "$.result.sent is 2, expected 1"


def test_a_partial_expectation_ignores_fields_that_it_does_not_name() -> None:
    assert differences({"to": "a"}, {"to": "a", "text": "b"}, partial=True) == []
    assert differences({"to": "a"}, {"text": "b"}, partial=True)[0].got == ABSENT


def test_truth_values_are_no_numbers_and_one_is_one() -> None:
    assert differences(1, 1.0) == [] and len(differences(1, True)) == 1 and len(differences(0, False)) == 1


def test_only_the_first_places_are_told_and_long_values_are_shortened() -> None:
    assert len(differences(list(range(100)), [])) == 5
    row = Finding("wrong", "It is wrong.", "Mend it.", input={"args": "x" * 100_000}, got=1).as_dict()
    assert len(row["input"]) < MOST_VALUE + 100 and row["got"] == 1
