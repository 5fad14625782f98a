"""The lint: one wrong thing at a time, and the place and the advice that it gets."""

from __future__ import annotations

from typing import Any

import pytest

from app.spec.lint import lint
from tests.unit.spec.sample import CATALOG, MISSING, spec_body

Case = tuple[dict[str, Any], str | None, str]
TEXT = {"type": "string", "maxLength": 9, "description": "x"}
SEND = spec_body()["effects"][0]


def test_the_right_spec_has_no_problems() -> None:
    spec, problems = lint(spec_body(), CATALOG)
    assert problems == []
    assert spec is not None
    assert spec.name == "greet"


def test_a_right_spec_read_back_from_its_canonical_form_is_the_same_spec() -> None:
    spec, _ = lint(spec_body(), CATALOG)
    assert spec is not None
    again = type(spec).parse(spec.canonical())
    assert again == spec
    assert again.digest == spec.digest


SHAPE: list[Case] = [
    ({"name": "Greet"}, "$.name", "allowed form"),
    ({"name": "toolmint_greet"}, "$.name", "reserved"),
    ({"name": "x" * 65}, "$.name", "allowed form"),
    ({"spec_version": "2"}, "$.spec_version", "allowed values"),
    ({"titel": "x"}, "$.titel", "not a field"),
    ({"title": MISSING}, "$.title", "required"),
    ({"effects.0.kye": "x"}, "$.effects[0].kye", "not a field"),
    ({"effects.0.on_unknown": "guess"}, "$.effects[0].on_unknown", "allowed values"),
    ({"effects.0.limits.per_run": 0}, "$.effects[0].limits.per_run", "greater than or equal to 1"),
    ({"effects.0.limits.per_run": "9"}, "$.effects[0].limits.per_run", "integer"),
    ({"limits": {"result_bytes": 1_000_000}}, "$.limits.result_bytes", "less than or equal"),
    ({"permissions": ["Greetings"]}, "$.permissions[0]", "allowed form"),
    ({"examples.0.world": {"script": [{"effect": "send", "answer": "explode"}]}}, "$.examples[0].world.script[0].answer", "allowed"),
    ({"invariants.0.id": "a b"}, "$.invariants[0].id", "allowed form"),
]
SCHEMAS: list[Case] = [
    ({"inputs.additionalProperties": MISSING}, "$.inputs", "nobody declared"),
    ({"inputs.type": "array"}, "$.inputs.type", "must be an object"),
    ({"inputs.$schema": "http://json-schema.org/draft-07/schema#"}, "$.inputs.$schema", "another dialect"),
    ({"inputs.properties.note": {"type": "string", "description": "x"}}, "$.inputs.properties.note", "upper bound"),
    ({"inputs.properties.note": {"type": "string", "maxLength": 9}}, "$.inputs.properties.note", "no description"),
    ({"inputs.properties.note": {"description": "x"}}, "$.inputs.properties.note", "what type"),
    ({"inputs.properties.note": True}, "$.inputs.properties.note", "no description"),
    ({"inputs.properties.people.maxItems": MISSING}, "$.inputs.properties.people", "without an upper bound"),
    ({"inputs.properties.people.items": MISSING}, "$.inputs.properties.people", "what its items are"),
    ({"inputs.properties.people.items": {"type": "string"}}, "$.inputs.properties.people.items", "upper bound"),
    ({"inputs.properties.note": {"type": "object", "description": "x"}}, "$.inputs.properties.note", "nobody declared"),
    (
        {"inputs.properties.note": {"type": "object", "description": "x", "additionalProperties": TEXT}},
        "$.inputs.properties.note",
        "map without an upper bound",
    ),
    ({"inputs.properties.note.$ref": "https://example.com/s"}, "$.inputs.properties.note.$ref", "outside this document"),
    ({"inputs.properties.note.$ref": "#/$defs/none"}, "$.inputs.properties.note.$ref", "does not exist"),
    ({"inputs.properties.note.maxlength": 3}, "$.inputs.properties.note.maxlength", "would check nothing"),
    ({"inputs.properties.note.$dynamicRef": "#x"}, "$.inputs.properties.note.$dynamicRef", "plain references"),
    ({"inputs.properties.note.pattern": "("}, "$.inputs.properties.note.pattern", "no valid JSON Schema"),
    ({"inputs.properties.note.format": "e-mail"}, "$.inputs.properties.note.format", "Unknown format"),
    ({"inputs.required.2": "nobody"}, "$.inputs.required", "not declared"),
    ({"inputs.properties.two words": TEXT}, "$.inputs.properties['two words']", "cannot be a name"),
    (
        {"inputs.properties.note": {"oneOf": [{"type": "string"}], "description": "x"}},
        "$.inputs.properties.note.oneOf[0]",
        "upper bound",
    ),
    ({"outputs.properties.sent": {"type": "integer"}}, "$.outputs.properties.sent", "no description"),
]
EFFECTS: list[Case] = [
    ({"effects.0.connector": "email.sned"}, "$.effects[0].connector", "no connector is called"),
    ({"effects.0.connector": "records.get"}, "$.effects[0].connector", "a connector for reads"),
    ({"reads.0.connector": "records.put"}, "$.reads[0].connector", "a connector for effects"),
    ({"effects.0.config": {}}, "$.effects[0].config", "from_domain"),
    ({"effects.0.config.host": "x"}, "$.effects[0].config", "not declared"),
    ({"reads.0.config.collection": 7}, "$.reads[0].config.collection", "must be string"),
    ({"effects.0.undo_reason": None}, "$.effects[0].undo", "neither"),
    ({"effects.0.undo": {"effect": "send", "item": {}}}, "$.effects[0].undo", "both"),
    ({"effects.1": SEND}, "$.effects", "used 2 times"),
    ({"reads.0.id": "send"}, "$.effects", "used 2 times"),
    ({"permissions": ["a:b", "a:b"]}, "$.permissions", "2 times"),
    ({"effects.0.retry": {"initial_delay_s": 60, "max_delay_s": 5}}, "$.effects[0].retry.max_delay_s", "less than"),
    (
        {"effects.0.retry": {"max_attempts": 20, "initial_delay_s": 3600, "factor": 10, "max_delay_s": 86400}},
        "$.effects[0].retry",
        "hours",
    ),
    ({"effects.0.key": "[args.greeting_id]"}, "$.effects[0].key", "does not vary with the item"),
    ({"effects.0.key": "['x']", "effects.0.limits.per_run": 1}, "$.effects[0].key", "same for every call"),
    ({"effects.0.key": "[args.greeting_id, item.too]"}, "$.effects[0].key", "item.too does not exist"),
    ({"effects.0.key": "[args.nope, item.to]"}, "$.effects[0].key", "args.nope does not exist"),
    ({"effects.0.key": "[args.people, item.to]"}, "$.effects[0].key", "type array"),
    ({"effects.0.key": "[args.note, item.to]"}, "$.effects[0].key", "may be absent"),
    ({"effects.0.key": "[item.tags, item.to]"}, "$.effects[0].key", "type array"),
    ({"effects.0.key": "args.greeting_id + item.to"}, "$.effects[0].key", "only paths"),
    ({"effects.0.key": "[size(args.people), item.to]"}, "$.effects[0].key", "only paths"),
    ({"effects.0.ledger.group": "item.to"}, "$.effects[0].ledger.group", "no path of args"),
    ({"effects.0.ledger.subject": "item.x"}, "$.effects[0].ledger.subject", "does not exist"),
    ({"run_key": "[item.to]"}, "$.run_key", "no path of args"),
    ({"run_key": "['x']"}, "$.run_key", "same for every call"),
    ({"run_key": "[args.note]"}, "$.run_key", "may be absent"),
    (
        {"effects.0.undo_reason": None, "effects.0.undo": {"effect": "recall", "item": {"to": "item.to"}}},
        "$.effects[0].undo.effect",
        "no effect is called",
    ),
    (
        {"effects.0.undo_reason": None, "effects.0.undo": {"effect": "send", "item": {"zip": "item.to"}}},
        "$.effects[0].undo.item.zip",
        "takes no field",
    ),
    ({"invariants.0.expr": "result.sent +"}, "$.invariants[0].expr", "no CEL expression"),
    ({"invariants.0.expr": "result.snet == 0"}, "$.invariants[0].expr", "result.snet does not exist"),
    ({"invariants.0.expr": "effects.sned.done == 0"}, "$.invariants[0].expr", "names no effect"),
    ({"invariants.0.expr": "effects.send.dnoe == 0"}, "$.invariants[0].expr", "names no count"),
    ({"invariants.0.expr": "size(args) == 0"}, "$.invariants[0].expr", "whole object"),
    ({"invariants.0.expr": "foo == 0"}, "$.invariants[0].expr", "none of args, result and effects"),
    (
        {"invariants.0.expr": "args.people.all(x, args.people.all(y, args.people.all(z, x + y != z)))"},
        "$.invariants[0].expr",
        "nests all, exists, exists_one, map or filter 3 deep; 2 are allowed",
    ),
    ({"invariants.0.expr": "getDate(result.sent) == 0"}, "$.invariants[0].expr", "getDate"),
    ({"invariants.1": spec_body()["invariants"][0]}, "$.invariants", "used 2 times"),
]
EXAMPLES: list[Case] = [
    ({"examples": []}, "$.examples", "no example"),
    ({"examples.0.args.people": "ann"}, "$.examples[0].args.people", "must be array"),
    ({"examples.0.result.extra": 1}, "$.examples[0].result", "not declared"),
    ({"examples.0.error": {"code": "x"}}, "$.examples[0].result", "one of the two"),
    ({"examples.0.result": MISSING}, "$.examples[0].result", "one of the two"),
    ({"examples.0.effects.0.id": "sned"}, "$.examples[0].effects[0].id", "no effect is called"),
    ({"examples.0.effects.0.item.zip": 1}, "$.examples[0].effects[0].item.zip", "takes no field"),
    ({"examples.0.world": {"script": [{"effect": "x", "answer": "crash"}]}}, "$.examples[0].world.script[0].effect", "no effect"),
    (
        {"examples.0.world": {"records": {"c": [{"key": "k", "body": {}}, {"key": "k", "body": {}}]}}},
        "$.examples[0].world.records.c",
        "2 times",
    ),
    ({"examples.0.now": "yesterday"}, "$.examples[0].now", "no instant"),
    ({"examples.0.result.left": 4}, "$.examples[0].result", "'all_counted' does not hold"),
    ({"invariants.0.expr": "result.sent == effects.send.failed"}, "$.examples[0].result", "does not hold"),
    ({"invariants.0.expr": "result.sent == 'x' + 1"}, "$.examples[0].result", "cannot be evaluated"),
    ({"examples.1.name": "one person"}, "$.examples", "used 2 times"),
    ({"limits": {"result_bytes": 64}, "outputs.properties.sent.minimum": 0}, None, ""),
]


@pytest.mark.parametrize(("changes", "path", "said"), SHAPE + SCHEMAS + EFFECTS + EXAMPLES)
def test_each_wrong_thing_is_named_with_its_place_and_how_to_mend_it(changes: dict[str, Any], path: str | None, said: str) -> None:
    spec, problems = lint(spec_body(changes), CATALOG)
    if path is None:
        assert problems == []
        return
    assert spec is None
    assert path in [problem.path for problem in problems]
    assert any(said in problem.message for problem in problems), problems
    assert all(problem.fix for problem in problems)


@pytest.mark.parametrize("body", [None, [], "x", 7])
def test_what_is_no_object_is_no_spec(body: Any) -> None:
    assert lint(body, CATALOG)[1][0].path == "$"


def test_a_misspelled_field_and_a_misspelled_keyword_get_a_suggestion() -> None:
    assert lint(spec_body({"titel": "x"}), CATALOG)[1][0].fix == "Did you mean 'title'?"
    assert lint(spec_body({"effects.0.on_unknwon": "hold"}), CATALOG)[1][0].fix == "Did you mean 'on_unknown'?"
    assert lint(spec_body({"inputs.properties.note.maxlength": 3}), CATALOG)[1][0].fix == "Did you mean 'maxLength'?"
    assert lint(spec_body({"effects.0.connector": "email.sned"}), CATALOG)[1][0].fix == "Did you mean 'email.send'?"


def test_a_schema_that_contains_itself_is_refused() -> None:
    changes = {
        "inputs.properties.note": {"$ref": "#/$defs/node"},
        "inputs.$defs": {
            "node": {
                "type": "object",
                "additionalProperties": False,
                "description": "x",
                "properties": {"next": {"$ref": "#/$defs/node", "description": "x"}},
            }
        },
    }
    assert any("contains itself" in problem.message for problem in lint(spec_body(changes), CATALOG)[1])


def test_references_within_the_document_are_followed() -> None:
    changes = {
        "inputs.properties.note": {"$ref": "#/$defs/line", "description": "x"},
        "inputs.$defs": {"line": {"type": "string"}},
    }
    (problem,) = lint(spec_body(changes), CATALOG)[1]
    assert (problem.path, problem.message) == ("$.inputs.properties.note", "is a text without an upper bound")


def test_a_key_may_vary_with_a_field_that_a_connector_leaves_open_or_optional() -> None:
    effect = {
        "id": "save",
        "connector": "records.put",
        "config": {"collection": "c"},
        "key": "[args.greeting_id, item.body.kind.name, item.expected_version]",
        "limits": {"per_run": 5},
        "undo_reason": "x",
    }
    assert lint(spec_body({"effects.1": effect}), CATALOG)[1] == []


def test_all_problems_come_at_once() -> None:
    changes = {"inputs.properties.note.maxLength": MISSING, "outputs.additionalProperties": MISSING, "effects.0.connector": "x"}
    assert len(lint(spec_body(changes), CATALOG)[1]) == 3
