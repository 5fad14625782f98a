"""Hints for MCP clients follow from the effects alone."""

from __future__ import annotations

from typing import Any

import pytest

from app.spec.annotations import derive_annotations
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
