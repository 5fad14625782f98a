"""What examples hold is made odd and crowded without another shape."""

from __future__ import annotations

import random
import re
import time
from typing import Any

import pytest

from app.verification.inside.bending import bent, crowded, fits, greatest, swollen
from app.verification.inside.patterns import matches, text_of

RECORD: dict[str, Any] = {
    "key": "c1",
    "body": {"id": "c1", "email": "ann@example.com", "sku": "lamp", "note": "Likes blue.", "n": 3, "tags": ["a", "b"]},
}


SCHEMA: dict[str, Any] = {
    "properties": {
        "a": {"type": "string", "maxLength": 3},
        "rows": {"type": "array", "maxItems": 40, "items": {"properties": {"price": {"type": "string"}, "code": {"pattern": "^[a-z]+$"}}}},
    }
}


def test_one_field_is_made_odd_as_far_as_its_schema_admits() -> None:
    made = [bent({"a": "x1", "n": 3}, SCHEMA, random.Random(seed), seed) for seed in range(200)]
    assert all(each["n"] == 3 and len(each["a"]) <= 3 for each in made) and {"NaN", "²", "x²", " x1", "x1\n"} <= {
        each["a"] for each in made
    }
    assert bent({"n": 1}, SCHEMA, random.Random(1), 1) == {"n": 1}


def test_a_list_holds_an_element_for_every_oddity_of_a_field() -> None:
    args = {"rows": [{"price": "12.50", "code": "abc"}, {"price": "1", "code": "d"}]}
    by_code, by_price = (bent(args, SCHEMA, random.Random(1), turn)["rows"] for turn in range(2))
    assert {"Infinity", "1e400", "²"} <= {row["price"] for row in by_price} and {row["code"] for row in by_price} == {"abc"}
    assert {row["code"] for row in by_code} == {"null", "abcabc"} and {row["price"] for row in by_code} == {"12.50"}


def test_a_crowd_repeats_records_under_keys_addresses_and_names_of_their_own() -> None:
    made = crowded([RECORD])
    assert len(made) == 19 and made[0] == RECORD
    assert len({record["key"] for record in made}) == len({record["body"]["email"] for record in made}) == 19
    assert all(record["body"]["id"] == record["key"] and record["body"].keys() == RECORD["body"].keys() for record in made)
    assert len({record["body"]["sku"] for record in made}) > 3 and max(len(record["body"]["note"]) for record in made) == 400
    assert len(crowded([RECORD, {**RECORD, "key": "c2"}] * 20)) == 100


def test_records_swell_in_their_lists_and_sentences() -> None:
    (made,) = swollen([{"key": "r", "body": {"on": ["ann@example.com", "x1"], "note": "Two words.", "day": "2026-03-01", "n": 1}}])
    assert made["body"]["on"][:4] == ["ann@example.com", "x1", "ann-1@example.com", "x1-1"] and len(made["body"]["on"]) == 20
    assert len(made["body"]["note"]) == 400 and (made["body"]["day"], made["body"]["n"]) == ("2026-03-01", 1)


def test_numbers_go_as_high_as_they_may() -> None:
    schema = {"properties": {"top": {"type": "integer", "maximum": 50}, "other": {"maximum": 5}, "free": {"type": "integer"}}}
    assert greatest({"top": 3, "free": 1}, schema) == {"top": 50, "free": 1}


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(((a{1,1000}){1,1000}){1,1000})$", "(a*)*b", "^(a|a)*$", "^((){1,1000}){1000}b$"])
def test_a_pattern_that_a_backtracking_engine_is_lost_in_is_read_in_no_time(pattern: str) -> None:
    began = time.process_time()
    assert not fits("a" * 40 + "!", {"pattern": pattern})
    assert text_of(pattern, random.Random(1), "high") is not None
    assert time.process_time() - began < 0.5


def test_patterns_are_read_as_python_reads_them() -> None:
    chance = random.Random(7)
    patterns = (
        r"^[0-9]{2}-\d",
        "a+b",
        r"^(10|[0-9]{1,2}(\.[0-9])?)\Z",
        r"\bab\b",
        "[^a-c]x",
        r"^\S+@\S+\.\w{2,}",
        "^(ab?){2,4}c*",
        "x{3}|^y?",
        r"(a|ab)(c|bc)\Z",
    )
    for pattern in patterns:
        for _ in range(200):
            made = "".join(chance.choice("ab c1²x0.-@y\n") for _ in range(chance.randint(0, 8)))
            text = chance.choice((made, text_of(pattern, chance) + chance.choice(("", "a"))))
            assert matches(pattern, text) == (re.search(pattern, text) is not None), (pattern, text)


def test_what_only_the_validator_can_tell_is_left_to_it() -> None:
    assert [matches(pattern, "b") for pattern in ("(?=a)b", "(?i)B", "(", r"(b)\1")] == [None] * 4
