"""What examples hold is made odd and crowded without another shape."""

from __future__ import annotations

import json
import random

from app.verification.inside.bending import ODD, bent, crowded, greatest

RECORD = {"key": "c1", "body": {"id": "c1", "email": "ann@example.com", "sku": "lamp", "note": "Likes blue.", "n": 3, "tags": ["a", "b"]}}


def test_one_text_is_made_odd_and_nothing_else() -> None:
    args = {"a": "x1", "list": [{"b": "y"}], "n": 3}
    for seed in range(50):
        made = bent(args, random.Random(seed))
        before, after = json.dumps(args).split('"'), json.dumps(made, ensure_ascii=False).split('"')
        assert made["n"] == 3 and sum(a != b for a, b in zip(before, after, strict=True)) <= 1
    assert {bent({"a": "7"}, random.Random(seed))["a"] for seed in range(200)} >= {*ODD, "²", " 7", "7\n", "77"}
    assert bent({"n": 1}, random.Random(1)) == {"n": 1}


def test_a_crowd_repeats_records_under_keys_addresses_and_names_of_their_own() -> None:
    made = crowded([RECORD])
    assert len(made) == 13 and made[0] == RECORD
    assert len({record["key"] for record in made}) == len({record["body"]["email"] for record in made}) == 13
    assert all(record["body"]["id"] == record["key"] and record["body"].keys() == RECORD["body"].keys() for record in made)
    assert len({record["body"]["sku"] for record in made}) > 3 and max(len(record["body"]["note"]) for record in made) == 400
    assert len(crowded([RECORD, {**RECORD, "key": "c2"}] * 20)) == 60


def test_numbers_go_as_high_as_they_may() -> None:
    schema = {"properties": {"top": {"type": "integer", "maximum": 50}, "other": {"maximum": 5}, "free": {"type": "integer"}}}
    assert greatest({"top": 3, "free": 1}, schema) == {"top": 50, "free": 1}
