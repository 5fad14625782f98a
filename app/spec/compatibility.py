"""What a new revision of a spec changes for those who call its tool and for the work that is done: compatible, breaking, or a key.

A caller is broken by what its arguments, which were valid, no longer are; a reader of results by what it may now meet and could not meet
before. A changed key of an effect makes done work look new.

It refuses to be: a proof over all of JSON Schema. What it cannot compare (patterns, formats, compositions) is breaking where it differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.spec.model import ExecutionSpec
from app.spec.schema_rules import resolve, types_of

Class = Literal["compatible", "breaking", "keys"]
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT = ("pattern", "format", "multipleOf", "uniqueItems", "const", "oneOf", "anyOf", "allOf", "not", "prefixItems", "contains")
_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, with the JSON path in the spec where it stands."""

    kind: Class
    path: str
    message: str


def changes(before: ExecutionSpec, after: ExecutionSpec) -> list[Change]:
    """Every difference that a caller, a reader of results or the ledger can notice, in the spec's order."""
    return [
        *_schema("$.inputs", before.inputs, after.inputs, Side("arguments", strict_is_breaking=True)),
        *_schema("$.outputs", before.outputs, after.outputs, Side("results", strict_is_breaking=False)),
        *_permissions(before, after),
        *_effects(before, after),
    ]


@dataclass(frozen=True, slots=True)
class Side:
    """Arguments may only be admitted more widely, results may only be given more narrowly."""

    name: str
    strict_is_breaking: bool

    def kind(self, *, stricter: bool) -> Class:
        return "breaking" if stricter == self.strict_is_breaking else "compatible"


@dataclass(frozen=True, slots=True)
class _Documents:
    """The two whole schemas, which references point into."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two schemas of one place."""

    path: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


def _schema(path: str, before: Mapping[str, Any], after: Mapping[str, Any], side: Side) -> Iterator[Change]:
    yield from _compare(_Documents(before, after), path, before, after, side, 0)


def _compare(both: _Documents, path: str, before: Any, after: Any, side: Side, depth: int) -> Iterator[Change]:
    pair = _Pair(path, _followed(both.before, before), _followed(both.after, after))
    if depth > _DEEPEST or (before == after and "$ref" not in json.dumps(before)):
        return
    yield from _types(pair, side)
    yield from _bounds(pair, side)
    yield from _values(pair, side)
    for name in ("items", "additionalProperties"):
        old, new = pair.before.get(name), pair.after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _compare(both, f"{path}.{name}", old, new, side, depth + 1)
        elif old != new:
            yield Change("breaking", f"{path}.{name}", f"`{name}` of the {side.name} changed.")
    yield from _properties(both, pair, side, depth)


def _followed(document: Mapping[str, Any], schema: Any) -> Mapping[str, Any]:
    for _ in range(_DEEPEST):
        if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
            break
        schema = resolve(dict(document), schema["$ref"])
    return schema if isinstance(schema, dict) else {}


def _types(pair: _Pair, side: Side) -> Iterator[Change]:
    old, new = set(types_of(dict(pair.before))), set(types_of(dict(pair.after)))
    if old - new and not ("number" in new and old - new == {"integer"}):
        yield Change(side.kind(stricter=True), pair.path, f"The type {', '.join(sorted(old - new))} of the {side.name} is no longer there.")
    if new - old and not ("number" in old and new - old == {"integer"}):
        yield Change(side.kind(stricter=False), pair.path, f"The {side.name} may now be {', '.join(sorted(new - old))}.")


def _bounds(pair: _Pair, side: Side) -> Iterator[Change]:
    for name in (*_LOWER, *_UPPER):
        old, new = pair.before.get(name), pair.after.get(name)
        if old == new:
            continue
        tighter = old is None or (new is not None and (new > old if name in _LOWER else new < old))
        yield Change(side.kind(stricter=tighter), f"{pair.path}.{name}", f"`{name}` of the {side.name} went from {old} to {new}.")


def _values(pair: _Pair, side: Side) -> Iterator[Change]:
    old, new = pair.before.get("enum"), pair.after.get("enum")
    if isinstance(old, list) and isinstance(new, list):
        gone, more = [each for each in old if each not in new], [each for each in new if each not in old]
        if gone:
            yield Change(side.kind(stricter=True), f"{pair.path}.enum", f"The {side.name} no longer include {gone}.")
        if more:
            yield Change(side.kind(stricter=False), f"{pair.path}.enum", f"The {side.name} now include {more}.")
    elif old != new:
        yield Change(side.kind(stricter=new is not None), f"{pair.path}.enum", f"The list of values of the {side.name} changed.")
    for name in _EXACT:
        if pair.before.get(name) != pair.after.get(name):
            stricter = pair.before.get(name) is None
            kind = side.kind(stricter=stricter) if stricter or pair.after.get(name) is None else "breaking"
            yield Change(kind, f"{pair.path}.{name}", f"`{name}` of the {side.name} changed.")


def _properties(both: _Documents, pair: _Pair, side: Side, depth: int) -> Iterator[Change]:
    old, new = pair.before.get("properties", {}), pair.after.get("properties", {})
    needed_before, needed = set(pair.before.get("required", ())), set(pair.after.get("required", ()))
    for name in sorted(old.keys() - new.keys()):  # as an argument it is refused now, in a result its readers miss it
        yield Change("breaking", f"{pair.path}.{name}", f"The {side.name} no longer have {name!r}.")
    for name in sorted(new.keys() - old.keys()):
        kind: Class = "breaking" if side.strict_is_breaking and name in needed else "compatible"
        yield Change(kind, f"{pair.path}.{name}", f"The {side.name} have a new {'required ' if name in needed else ''}{name!r}.")
    for name in sorted(old.keys() & new.keys()):
        if (name in needed) != (name in needed_before):
            word = "must now" if name in needed else "no longer must"
            yield Change(side.kind(stricter=name in needed), f"{pair.path}.{name}", f"{name!r} {word} be in the {side.name}.")
        yield from _compare(both, f"{pair.path}.{name}", old[name], new[name], side, depth + 1)


def _permissions(before: ExecutionSpec, after: ExecutionSpec) -> Iterator[Change]:
    for permission in sorted(set(after.permissions) - set(before.permissions)):
        yield Change("breaking", "$.permissions", f"Callers now need the permission {permission!r}.")
    for permission in sorted(set(before.permissions) - set(after.permissions)):
        yield Change("compatible", "$.permissions", f"Callers no longer need the permission {permission!r}.")


def _effects(before: ExecutionSpec, after: ExecutionSpec) -> Iterator[Change]:
    old, new = {effect.id: effect for effect in before.effects}, {effect.id: effect for effect in after.effects}
    if after.effects and not before.effects:
        yield Change("breaking", "$.effects", "The tool only read before and has effects now, so clients may ask before they call it.")
    if before.run_key != after.run_key:
        yield Change("keys", "$.run_key", f"The natural key of a run went from {before.run_key} to {after.run_key}.")
    for name in sorted(old.keys() | new.keys()):
        path = f"$.effects.{name}"
        if name not in new:
            yield Change("compatible", path, f"The effect {name!r} is gone; what it did stays done.")
        elif name not in old:
            yield Change("compatible", path, f"The effect {name!r} is new.")
        elif old[name].key != new[name].key:
            yield Change("keys", f"{path}.key", f"The key of {name!r} went from {old[name].key} to {new[name].key}.")
        elif old[name].connector != new[name].connector:
            yield Change("keys", f"{path}.connector", f"{name!r} went from {old[name].connector} to {new[name].connector}.")
