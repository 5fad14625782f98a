"""Hints for MCP clients follow from effects: those that the spec declares, those that runs showed, and what both bear out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.spec.annotations import (
    Hints,
    Shown,
    agreed,
    declared_hints,
    derive_annotations,
    is_read_only,
    listed_annotations,
    shown_hints,
)
from app.spec.lint import lint
from tests.unit.spec.sample import CATALOG, spec_body

SAVE = {
    "id": "save",
    "connector": "records.put",
    "config": {"collection": "c"},
    "key": "[args.greeting_id, item.key]",
    "undo": {"effect": "save", "item": {"key": "item.key", "body": "receipt.before"}},
}


@pytest.mark.parametrize(
    ("effects", "read_only", "destructive", "open_world"),
    [
        ([], True, False, False),
        ([SAVE], False, False, False),
        ([{**SAVE, "undo": None, "undo_reason": "x"}], False, True, False),
        (spec_body()["effects"], False, True, True),
    ],
)
def test_hints_follow_from_effects(effects: list[Any], read_only: bool, destructive: bool, open_world: bool) -> None:
    spec, problems = lint(spec_body({"effects": effects, "examples.0.effects": []}), CATALOG)
    assert problems == []
    assert spec is not None
    assert derive_annotations(spec, CATALOG) == {
        "title": "Greet people by mail",
        "readOnlyHint": read_only,
        "destructiveHint": destructive,
        "idempotentHint": True,
        "openWorldHint": open_world,
    }


NOTHING = Shown(runs=4, reads={}, effects={}, repeats=2, added=0, undone=frozenset())
MAIL = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True, "openWorldHint": True}


def hints(*values: bool) -> Hints:
    return dict(zip(("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"), values, strict=True))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (replace(NOTHING, runs=0), hints(False, True, False, True)),
        (NOTHING, hints(True, False, True, False)),
        (replace(NOTHING, repeats=0), hints(True, False, False, False)),
        (replace(NOTHING, effects={"save": 3}), hints(False, True, True, False)),
        (replace(NOTHING, effects={"save": 3}, undone=frozenset({"save"})), hints(False, False, True, False)),
        (replace(NOTHING, effects={"save": 3}, added=1), hints(False, True, False, False)),
        (replace(NOTHING, effects={"send": 1}, reads={"template": 2}), hints(False, True, True, True)),
    ],
)
def test_hints_follow_from_what_runs_showed(shown: Shown, expected: Hints) -> None:
    effects = [SAVE, *spec_body()["effects"]]
    spec, problems = lint(spec_body({"effects": effects, "examples.0.effects": []}), CATALOG)
    assert spec is not None, problems
    assert shown_hints(spec, CATALOG, shown) == expected


def test_the_more_careful_word_counts() -> None:
    assert agreed(hints(True, False, True, False), hints(True, False, True, False)) == hints(True, False, True, False)
    assert agreed(hints(True, False, True, False), hints(False, True, False, True)) == hints(False, True, False, True)


def test_what_is_listed_is_what_was_proved_and_says_so_where_a_connector_leaves_since() -> None:
    spec, _ = lint(spec_body(), CATALOG)
    assert spec is not None and declared_hints(spec, CATALOG) == MAIL
    assert listed_annotations(spec, CATALOG, None) == {"title": spec.title, **MAIL}
    proof = {"hints": hints(True, False, True, False)}
    assert listed_annotations(spec, CATALOG, proof) == {"title": spec.title, **hints(True, False, True, True)}
    assert is_read_only(proof) and not is_read_only({"hints": MAIL}) and not is_read_only(None)
