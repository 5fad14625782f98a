"""Follow a path of names into a JSON Schema: does it exist, is it always there, what may stand at its end?

It refuses to be: an evaluator. What a schema leaves open stays open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.spec.schema_rules import resolve, types_of

SCALARS = frozenset({"string", "integer", "boolean"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path may end: the schema there (None: the schemas leave it open) and whether every value has it."""

    schema: dict[str, Any] | None
    always: bool


def places(document: dict[str, Any], path: Sequence[str]) -> list[Place]:
    """Every place that the path may mean; empty where no value can have it."""
    return list(_follow(document, document, tuple(path), always=True, budget=32))


def is_open(place: Place) -> bool:
    return place.schema is None


def not_scalar(document: dict[str, Any], place: Place) -> str | None:
    """The type at this place that can be no part of a key, or None. Null is allowed here and refused when a key is made."""
    if place.schema is None:
        return None
    schema = _target(document, place.schema)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return next((type(v).__name__ for v in values if not isinstance(v, str | int | bool)), None)
    kinds = set(types_of(schema))
    for keyword in ("oneOf", "anyOf"):
        for branch in schema.get(keyword, ()):
            kinds |= set(types_of(_target(document, branch))) if isinstance(branch, dict) else set()
    return min(kinds - SCALARS, default=None)


def _target(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for _ in range(32):
        if not isinstance(schema.get("$ref"), str):
            break
        schema = resolve(document, schema["$ref"]) or {}
    return schema


def _follow(document: dict[str, Any], schema: Any, path: tuple[str, ...], *, always: bool, budget: int) -> Iterator[Place]:
    if not isinstance(schema, dict) or budget == 0:
        if schema is True:
            yield Place(None, False)
        return
    schema = _target(document, schema)
    if not path:
        yield Place(schema, always)
        return
    yield from _step(document, schema, path, always=always, budget=budget)
    for keyword in ("oneOf", "anyOf"):
        for branch in schema.get(keyword, ()):
            yield from _follow(document, branch, path, always=False, budget=budget - 1)
    for part in schema.get("allOf", ()):
        yield from _follow(document, part, path, always=always, budget=budget - 1)


def _step(document: dict[str, Any], schema: dict[str, Any], path: tuple[str, ...], *, always: bool, budget: int) -> Iterator[Place]:
    kinds = types_of(schema)
    name, rest = path[0], path[1:]
    properties = schema.get("properties", {})
    if name in properties:
        here = always and name in schema.get("required", ()) and set(kinds) <= {"object"}
        yield from _follow(document, properties[name], rest, always=here, budget=budget - 1)
        return
    extra = schema.get("additionalProperties", True)
    if isinstance(extra, dict):
        yield from _follow(document, extra, rest, always=False, budget=budget - 1)
    elif extra is not False and "object" in kinds:
        yield Place(None, False)
