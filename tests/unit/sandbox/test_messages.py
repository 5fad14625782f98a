"""The shapes that a guest's messages must have."""

from __future__ import annotations

from typing import Any

import pytest

from app.sandbox.messages import SHAPES, fault

PERFORM = {"t": "perform", "step": 1, "chunk": 0, "first": 0, "id": "send", "items": [{}], "last": True, "each": False}
GOOD: list[dict[str, Any]] = [
    {"t": "read", "step": 1, "id": "x", "query": {}},
    {"t": "read", "step": 1, "id": "x", "query": {}, "cursor": None},
    {"t": "read", "step": 1, "id": "x", "query": {}, "cursor": "abc"},
    PERFORM,
    {"t": "log", "event": "e", "fields": {}},
    {"t": "progress", "done": 1, "total": None},
    {"t": "result", "value": None},
    {"t": "tool_error", "code": "c", "message": ""},
    {"t": "cancelled"},
    {"t": "crash", "type": "E", "message": "", "traceback": [{"line": 3, "function": "run"}]},
]


def test_every_kind_has_a_well_formed_example() -> None:
    assert {message["t"] for message in GOOD} == SHAPES.keys()
    assert [fault(message) for message in GOOD] == [None] * len(GOOD)


@pytest.mark.parametrize("message", GOOD, ids=lambda message: str(message["t"]))
def test_a_missing_or_a_surplus_field_is_named(message: dict[str, Any]) -> None:
    for name in message.keys() - {"t", "cursor"}:
        assert name in (fault({key: value for key, value in message.items() if key != name}) or "")
    assert "unknown field" in (fault({**message, "surplus": 1}) or "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", -1),
        ("step", True),
        ("step", 1.0),
        ("step", 1 << 60),
        ("id", "x" * 65),
        ("id", None),
        ("items", []),
        ("items", [1] * 501),
        ("last", 1),
    ],
)
def test_a_wrong_value_is_named(name: str, value: object) -> None:
    assert fault({**PERFORM, name: value}) == f"perform with a wrong {name}"


@pytest.mark.parametrize("kind", [None, 1, [], {}, "start", "load", "answer", "refuse", "cancel"])
def test_a_guest_cannot_speak_for_the_host(kind: object) -> None:
    assert fault({"t": kind}) == "an unknown kind of message"
