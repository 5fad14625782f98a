"""A small spec that is right, and a catalog for it; tests change one thing and look at what the lint says."""

from __future__ import annotations

import copy
from typing import Any

from app.spec.catalog import ConnectorCatalog, ConnectorKind

_TEXT = {"type": "string", "maxLength": 400, "description": "A text."}
_NAMED = {"type": "object", "additionalProperties": False, "required": ["collection"], "properties": {"collection": _TEXT}}


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


CATALOG = ConnectorCatalog.of(
    [
        ConnectorKind("records.get", "read", _NAMED, _closed(["key"], key=_TEXT), local=True),
        ConnectorKind(
            "records.put",
            "effect",
            _NAMED,
            _closed(["key", "body"], key=_TEXT, body={"type": "object"}, expected_version={"type": "integer"}),
            local=True,
        ),
        ConnectorKind(
            "email.send",
            "effect",
            _closed(["from_domain"], from_domain=_TEXT),
            _closed(["to", "subject"], to=_TEXT, subject=_TEXT, tags={"type": "array"}),
            canonical_fields=("to",),
        ),
    ]
)

_SPEC: dict[str, Any] = {
    "spec_version": "1",
    "name": "greet",
    "title": "Greet people by mail",
    "description": "Sends each person one greeting.",
    "inputs": _closed(
        ["greeting_id", "people"],
        greeting_id={"type": "string", "maxLength": 64, "description": "Names the greeting."},
        people={"type": "array", "maxItems": 100, "items": {"type": "string", "maxLength": 320}, "description": "Addresses."},
        note={"type": "string", "maxLength": 100, "description": "A line to add."},
    ),
    "outputs": _closed(
        ["sent", "left"],
        sent={"type": "integer", "description": "How many were sent."},
        left={"type": "integer", "description": "How many were not."},
    ),
    "permissions": ["greetings:send"],
    "reads": [{"id": "template", "connector": "records.get", "config": {"collection": "templates"}}],
    "effects": [
        {
            "id": "send",
            "connector": "email.send",
            "config": {"from_domain": "example.com"},
            "key": "[args.greeting_id, item.to]",
            "limits": {"per_run": 100},
            "ledger": {"name": "greetings", "group": "args.greeting_id", "subject": "item.to"},
            "undo": None,
            "undo_reason": "a mail cannot be called back",
        }
    ],
    "run_key": "[args.greeting_id]",
    "invariants": [{"id": "all_counted", "text": "everyone is counted", "expr": "result.sent + result.left == size(args.people)"}],
    "examples": [
        {
            "name": "one person",
            "args": {"greeting_id": "g", "people": ["ann@example.com"]},
            "result": {"sent": 1, "left": 0},
            "effects": [{"id": "send", "item": {"to": "ann@example.com"}}],
        },
        {"name": "nobody", "visibility": "held_out", "args": {"greeting_id": "g", "people": []}, "result": {"sent": 0, "left": 0}},
    ],
}

MISSING = object()


def spec_body(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The right spec with some places replaced: `{"effects.0.key": "…"}`; MISSING removes the place."""
    body = copy.deepcopy(_SPEC)
    for path, value in (changes or {}).items():
        steps: list[str | int] = [int(step) if step.isdigit() else step for step in path.split(".")]
        place: Any = body
        for step in steps[:-1]:
            place = place[step]
        if value is MISSING:
            del place[steps[-1]]
        elif isinstance(place, list) and steps[-1] == len(place):
            place.append(value)
        else:
            place[steps[-1]] = value
    return body
