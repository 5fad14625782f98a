"""What a new revision changes for callers, readers of results and the ledger."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from app.spec.compatibility import changes
from app.spec.model import ExecutionSpec
from tests.support.specimens import SPEC

Edit = Callable[[dict[str, Any]], object]


def _changed(edit: Edit) -> list[tuple[str, str]]:
    before, after = copy.deepcopy(SPEC), copy.deepcopy(SPEC)
    edit(after)
    found = changes(*(ExecutionSpec.model_validate(body, strict=False) for body in (before, after)))
    return [(change.kind, change.path) for change in found]


def _inputs(spec: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = spec["inputs"]["properties"]
    return properties


def _outputs(spec: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = spec["outputs"]["properties"]
    return properties


def test_the_same_spec_changes_nothing() -> None:
    assert _changed(lambda spec: spec) == []
    assert _changed(lambda spec: spec.update(description="Says it otherwise.")) == []


BREAKING: list[tuple[str, Edit, str]] = [
    (
        "a new required argument",
        lambda s: (_inputs(s).update(more={"type": "string"}), s["inputs"]["required"].append("more")),
        "$.inputs.more",
    ),
    (
        "an argument that is gone",
        lambda s: (_inputs(s).pop("recipients"), s["inputs"]["required"].remove("recipients")),
        "$.inputs.recipients",
    ),
    ("a shorter text", lambda s: _inputs(s)["campaign"].update(maxLength=10), "$.inputs.campaign.maxLength"),
    ("fewer items", lambda s: _inputs(s)["recipients"].update(maxItems=10), "$.inputs.recipients.maxItems"),
    ("another type", lambda s: _inputs(s)["campaign"].update(type="integer"), "$.inputs.campaign"),
    ("a pattern where there was none", lambda s: _inputs(s)["campaign"].update(pattern="^a"), "$.inputs.campaign.pattern"),
    ("a stricter item", lambda s: _inputs(s)["recipients"]["items"].update(maxLength=50), "$.inputs.recipients.items.maxLength"),
    ("a result field that is gone", lambda s: (_outputs(s).pop("failed"), s["outputs"]["required"].remove("failed")), "$.outputs.failed"),
    ("a result that need not be there", lambda s: s["outputs"]["required"].remove("failed"), "$.outputs.failed"),
    ("a result that may be larger", lambda s: _outputs(s)["sent"].update(maximum=10**9), "$.outputs.sent.maximum"),
    ("a permission more", lambda s: s.update(permissions=["campaigns:more"]), "$.permissions"),
]


@pytest.mark.parametrize(("edit", "path"), [case[1:] for case in BREAKING], ids=[case[0] for case in BREAKING])
def test_what_breaks_callers_or_readers_is_breaking(edit: Edit, path: str) -> None:
    assert ("breaking", path) in _changed(edit), _changed(edit)


COMPATIBLE: list[tuple[str, Edit, str]] = [
    ("a new optional argument", lambda s: _inputs(s).update(more={"type": "string"}), "$.inputs.more"),
    ("an argument that need not be there", lambda s: s["inputs"]["required"].remove("recipients"), "$.inputs.recipients"),
    ("a longer text", lambda s: _inputs(s)["campaign"].update(maxLength=100), "$.inputs.campaign.maxLength"),
    ("a new result field", lambda s: _outputs(s).update(more={"type": "integer"}), "$.outputs.more"),
    ("a result that is smaller", lambda s: _outputs(s)["sent"].update(maximum=10), "$.outputs.sent.maximum"),
]


@pytest.mark.parametrize(("edit", "path"), [case[1:] for case in COMPATIBLE], ids=[case[0] for case in COMPATIBLE])
def test_what_asks_less_and_gives_more_is_compatible(edit: Edit, path: str) -> None:
    found = _changed(edit)
    assert ("compatible", path) in found and not [kind for kind, _ in found if kind != "compatible"], found


def test_a_changed_key_is_told_apart_from_everything_else() -> None:
    assert _changed(lambda s: s["effects"][0].update(key="[args.campaign, item.to, item.subject]")) == [("keys", "$.effects.send.key")]


def test_references_are_followed_on_both_sides() -> None:
    def named(most: int) -> Edit:
        def edit(spec: dict[str, Any]) -> None:
            spec["inputs"]["$defs"] = {"name": {"type": "string", "minLength": 1, "maxLength": most, "description": "Key of the campaign."}}
            _inputs(spec)["campaign"] = {"$ref": "#/$defs/name"}

        return edit

    assert _changed(named(64)) == []
    assert ("breaking", "$.inputs.campaign.maxLength") in _changed(named(8))
