"""Validators: the dialect, formats, refused references, and messages with paths."""

from __future__ import annotations

from typing import Any

import pytest

from app.spec.schemas import BadSchema, compile_schema

PERSON: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "born": {"type": "string", "format": "date"},
        "tags": {"type": "array", "maxItems": 2, "items": {"enum": ["a", "b"]}},
        "to": {"oneOf": [{"type": "array", "items": {"type": "string"}}, {"type": "object", "required": ["collection"]}]},
    },
}


@pytest.mark.parametrize(
    ("value", "path", "said"),
    [
        ({}, "$", "lacks the required property 'name'"),
        ([], "$", "must be object"),
        ({"name": "x", "extra": 1}, "$", "not declared: 'extra'"),
        ({"name": "toolong"}, "$.name", "longer than 5"),
        ({"name": 7}, "$.name", "must be string"),
        ({"name": "x", "born": "2026-02-30"}, "$.born", "not a valid date"),
        ({"name": "x", "tags": ["a", "c"]}, "$.tags[1]", "none of 'a', 'b'"),
        ({"name": "x", "tags": ["a", "a", "a"]}, "$.tags", "more than 2 items"),
        ({"name": "x", "to": {}}, "$.to", "lacks the required property 'collection'"),
        ({"name": "x", "to": [1]}, "$.to[0]", "must be string"),
        ({"name": "x", "to": 3}, "$.to", "alternatives"),
        ({"name": "\ud800"}, "$", "not a JSON value"),
        ({"name": {1, 2}}, "$", "not a JSON value"),
        (float("nan"), "$", "not a JSON value"),
    ],
)
def test_a_problem_has_its_path_and_what_is_wrong(value: Any, path: str, said: str) -> None:
    problems = compile_schema(PERSON).problems(value)
    assert [problem.path for problem in problems] == [path]
    assert said in problems[0].message
    assert problems[0].fix


def test_a_value_that_is_wrong_and_nested_without_end_is_told_so() -> None:
    deep: Any = "x"
    for _ in range(600):
        deep = {"more": deep}
    (problem,) = compile_schema(PERSON).problems(deep)
    assert problem.path == "$" and "nested too deeply" in problem.message


def test_what_fits_has_no_problems() -> None:
    validator = compile_schema(PERSON)
    value = {"name": "Ann", "born": "2026-02-28", "tags": ["a"], "to": {"collection": "c"}}
    assert validator.problems(value) == []
    assert validator.accepts(value)


def test_a_message_never_repeats_the_value() -> None:
    problems = compile_schema(PERSON).problems({"name": "hunter2-hunter2", "born": "hunter2", "tags": ["hunter2"]})
    assert len(problems) == 3
    assert "hunter2" not in str(problems)


def test_many_problems_are_cut_at_twenty() -> None:
    assert len(compile_schema({"items": {"type": "string"}}).problems([1] * 100)) == 20


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "https://example.com/x"}, "outside this document"),
        ({"$ref": "file:///etc/passwd"}, "outside this document"),
        ({"$ref": "#/$defs/nowhere"}, "does not exist"),
        ({"type": "objekt"}, "objekt"),
        ({"type": "string", "format": "e-mail"}, "e-mail"),
        ({"pattern": "("}, "regex"),
        ({"pattern": "(?=x)y"}, "regex"),
        ({"maxLength": -1}, "minimum"),
        ({"const": "\ud800"}, "UTF-8"),
    ],
)
def test_a_schema_that_reaches_outside_or_is_wrong_is_refused(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSchema, match=said):
        compile_schema(schema)


def test_a_pattern_that_would_backtrack_without_end_is_harmless() -> None:
    assert not compile_schema({"pattern": "^(a+)+$"}).accepts("a" * 5000 + "!")


def test_equal_schemas_share_a_validator() -> None:
    assert compile_schema({"type": "string", "maxLength": 1}) is compile_schema({"maxLength": 1, "type": "string"})


def test_a_message_about_many_names_stays_short() -> None:
    closed = compile_schema({"type": "object", "additionalProperties": False, "properties": {}})
    (problem,) = closed.problems({f"field_{number}" * 20: 1 for number in range(5000)})
    assert "and 4980 more" in problem.message and len(problem.message) < 2500
