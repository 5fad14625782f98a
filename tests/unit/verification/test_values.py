"""Values made from a schema fit it, reach its edges, and become smaller."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema_rs
import pytest

from app.verification.inside.propose import propose
from app.verification.inside.values import Values, smaller

SEED = 20261122
SCHEMAS: dict[str, dict[str, Any]] = {
    "integer": {"type": "integer", "minimum": 3, "maximum": 9},
    "exclusive": {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 9},
    "multiple": {"type": "integer", "minimum": 0, "maximum": 100, "multipleOf": 5},
    "number": {"type": "number", "minimum": -1.5, "maximum": 2.5},
    "string": {"type": "string", "minLength": 2, "maxLength": 5},
    "pattern": {"type": "string", "pattern": "^(100|[0-9]{1,2})(\\.[0-9]{1,2})?$"},
    "classes": {"type": "string", "pattern": "^[A-Z]\\d{2}-\\w+[^x]$"},
    "enum": {"enum": ["a", 1, None]},
    "const": {"const": {"a": 1}},
    "email": {"type": "string", "format": "email"},
    "date-time": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "array": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 4},
    "unique": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 50}, "maxItems": 4, "uniqueItems": True},
    "tuple": {"type": "array", "prefixItems": [{"const": 1}, {"type": "string"}], "items": False, "minItems": 2, "maxItems": 2},
    "types": {"type": ["string", "null"], "maxLength": 3},
    "oneOf": {"oneOf": [{"type": "string", "maxLength": 3}, {"type": "array", "maxItems": 2, "items": {"type": "integer"}}]},
    "anyOf beside": {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {}},
        "anyOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"a": {"const": 2}}}],
    },
    "allOf": {"allOf": [{"type": "integer", "minimum": 5}, {"maximum": 7}]},
    "ref": {
        "$defs": {"tag": {"type": "string", "minLength": 1, "maxLength": 2}},
        "type": "array",
        "items": {"$ref": "#/$defs/tag"},
        "maxItems": 3,
    },
    "recursive": {
        "$defs": {"tree": {"type": "object", "additionalProperties": False, "properties": {"below": {"$ref": "#/$defs/tree"}}}},
        "$ref": "#/$defs/tree",
    },
    "object": {
        "type": "object",
        "additionalProperties": False,
        "required": ["a"],
        "properties": {"a": {"type": "integer"}, "b": {"type": "string", "maxLength": 3}},
    },
    "map": {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 3},
}


def _made(schema: dict[str, Any], count: int = 200) -> list[Any]:
    values = Values(schema, random.Random(SEED))
    return [values.any_of(schema) for _ in range(count)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_values_fit_their_schema(name: str) -> None:
    schema = SCHEMAS[name]
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    wrong = [value for value in _made(schema) if not validator.is_valid(value)]
    assert wrong == [], (SEED, wrong[:3])


def test_edges_are_reached() -> None:
    assert {3, 4, 8, 9} <= set(_made(SCHEMAS["integer"]))
    lengths = {len(value) for value in _made({"type": "string", "minLength": 0, "maxLength": 300})}
    assert {0, 1, 300} <= lengths
    assert any(not value.isascii() for value in _made({"type": "string", "maxLength": 40}))
    twice = [value for value in _made({"type": "array", "items": {"type": "integer"}, "maxItems": 5}) if len(value) > len(set(value))]
    assert twice, "the same item twice is what keys are for"


def test_the_same_seed_proposes_the_same() -> None:
    examples = [{"args": {"a": 1, "b": "x"}, "ends_well": True}, {"args": {"a": 0}, "ends_well": False}]
    made = [propose(SCHEMAS["object"], examples, ["abc"], "seed", 60) for _ in range(2)]
    assert made[0] == made[1]
    assert {proposal["like"] for proposal in made[0]} == {0, None}
    assert any(proposal["args"].get("b") == "abc" for proposal in made[0])
    assert propose(SCHEMAS["object"], [], ["abc"], "other", 60) != made[0]


@pytest.mark.parametrize("value", [7, -3, "abcé", [1, [2, 3]], {"a": [1, 2], "b": {"c": "xyz"}}, 2.5])
def test_smaller_values_are_simpler_and_come_to_an_end(value: Any) -> None:
    seen, waiting = 0, [value]
    while waiting and seen < 5000:
        now = waiting.pop()
        for less in smaller(now):
            assert less != now
            size = len(json.dumps(less)), json.dumps(less)
            assert size[0] <= len(json.dumps(now))
            seen += 1
        waiting = [min(smaller(now), key=lambda each: len(json.dumps(each)), default=None)]
        if waiting == [None] or waiting[0] in ([], {}, "", 0):
            return
    raise AssertionError(f"no end for {value!r}")
