"""Values made from a schema fit it, reach its edges, and become smaller."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema_rs
import pytest

from app.spec.schemas import BadSchema, compile_schema
from app.verification.inside.propose import propose
from app.verification.inside.values import FORMATS, Values, smaller

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
    "money": {"type": "number", "minimum": 0, "maximum": 99.99, "multipleOf": 0.01},
    "bounds of no whole number": {"type": "integer", "minimum": 1.5, "maximum": 3.5},
    "steps off the bounds": {"type": "integer", "minimum": 3, "maximum": 11, "multipleOf": 4},
    "negated class": {"type": "string", "pattern": "^[^a-z@\\d]{2}\\S\\D$"},
    "pattern within lengths": {"type": "string", "pattern": "^[a-z]+$", "minLength": 5, "maxLength": 7},
    "alternatives": {"type": "string", "pattern": "^(?:ab|c{2,3}|[x-z]\\W?)+$"},
    "open tuple": {"type": "array", "prefixItems": [{"const": 1}], "items": {"type": "string", "maxLength": 2}, "maxItems": 4},
    "short tuple": {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False},
    "contains": {"type": "array", "items": {"type": "integer"}, "contains": {"const": 7}, "minContains": 2, "minItems": 2},
    "many unique": {
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": 9},
        "minItems": 5,
        "maxItems": 8,
        "uniqueItems": True,
    },
    "some of many": {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 2,
        "maxProperties": 3,
        "properties": {name: {"type": "boolean"} for name in "abcdef"},
    },
    "dependent": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"card": {"type": "integer"}, "zip": {"type": "string", "maxLength": 4}},
        "dependentRequired": {"card": ["zip"]},
    },
    "map by pattern": {
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {"^x_[a-z]{1,3}$": {"type": "integer"}},
        "minProperties": 1,
    },
    "condition": {
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "size"],
        "properties": {"kind": {"enum": ["a", "b"]}, "size": {"type": "integer", "minimum": 0, "maximum": 9}},
        "if": {"properties": {"kind": {"const": "a"}}},
        "then": {"properties": {"size": {"maximum": 3}}},
        "else": {"properties": {"kind": {"const": "b"}, "size": {"minimum": 4}}},
    },
    "recursive list": {
        "$defs": {
            "node": {"oneOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#/$defs/node"}, "minItems": 1, "maxItems": 3}]}
        },
        "$ref": "#/$defs/node",
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


@pytest.mark.parametrize("name", FORMATS)
def test_texts_of_every_format_are_what_the_checker_of_arguments_takes_for_one(name: str) -> None:
    schema = {"type": "string", "format": name, "maxLength": 80}
    check = compile_schema(schema)
    made = set(_made(schema))
    assert made == set(FORMATS[name]), "each is made"
    assert [text for text in made if not check.accepts(text)] == []


def test_no_format_of_the_standard_is_left_out() -> None:
    """Section 7.3 of JSON Schema Validation 2020-12; the checker refuses a schema that names another."""
    assert len(FORMATS) == 19
    with pytest.raises(BadSchema):
        compile_schema({"type": "string", "format": "telephone"})


def test_edges_are_reached() -> None:
    assert {3, 4, 8, 9} <= set(_made(SCHEMAS["integer"]))
    lengths = {len(value) for value in _made({"type": "string", "minLength": 0, "maxLength": 300})}
    assert {0, 1, 300} <= lengths
    assert any(not value.isascii() for value in _made({"type": "string", "maxLength": 40}))
    twice = [value for value in _made({"type": "array", "items": {"type": "integer"}, "maxItems": 5}) if len(value) > len(set(value))]
    assert twice, "the same item twice is what keys are for"


def test_patterns_are_stretched_to_their_least_and_their_greatest() -> None:
    made = set(_made({"type": "string", "pattern": "^[0-9]{1,6}(\\.[0-9]{1,3})?$"}, 400))
    assert {"999999.999", "0"} <= made and len(made) > 100


def test_recursive_values_are_deep_and_end() -> None:
    made = [json.dumps(value) for value in _made(SCHEMAS["recursive list"], 300)]
    assert max(text.count("[") for text in made) >= 4 and max(map(len, made)) < 20_000
    text = {"type": "string", "maxLength": 9}
    tree = {
        "$defs": {"t": {"type": "object", "properties": {"a": text, "of": {"type": "array", "items": {"$ref": "#/$defs/t"}}}}},
        "$ref": "#/$defs/t",
    }
    assert all(len(json.dumps(value)) < 60_000 for value in _made(tree, 100))


def test_every_branch_and_every_combination_of_optional_properties_comes_up() -> None:
    some = {frozenset(value) for value in _made(SCHEMAS["some of many"])}
    assert len(some) > 15
    assert {value["kind"] for value in _made(SCHEMAS["condition"])} == {"a", "b"}
    assert {frozenset(value) for value in _made(SCHEMAS["dependent"])} >= {frozenset(), frozenset({"zip"}), frozenset({"card", "zip"})}


def test_the_same_seed_proposes_the_same() -> None:
    examples = [{"args": {"a": 1, "b": "x"}, "ends_well": True}, {"args": {"a": 0}, "ends_well": False}]
    made = [propose(SCHEMAS["object"], examples, ["abc"], [], "seed", 60) for _ in range(2)]
    assert made[0] == made[1]
    assert {proposal["like"] for proposal in made[0]} == {0, None}
    assert any(proposal["args"].get("b") == "abc" for proposal in made[0])
    assert propose(SCHEMAS["object"], [], ["abc"], [], "other", 60) != made[0]


def test_what_only_held_out_examples_say_stays_in_proposals_like_them() -> None:
    examples = [
        {"args": {"a": 1, "b": "x"}, "ends_well": True, "held_out": False},
        {"args": {"a": 2, "b": "secret"}, "ends_well": True, "held_out": True},
    ]
    made = propose(SCHEMAS["object"], examples, ["abc"], ["secret", "hidden"], "seed", 200)
    assert {proposal["like"] for proposal in made if proposal["args"].get("b") in ("secret", "hidden")} == {1}


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
