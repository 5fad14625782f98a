"""The rules that a tool's schemas obey: closed objects, bounded texts and lists, a description for every property, references
within the document. A caller's model reads these schemas, and generated inputs are made from them, so nothing may be loose.

It refuses to be: a validator. Whether the schema is valid 2020-12 at all is for `schemas`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.core.errors import Problem
from app.spec.schemas import DIALECT, BadSchema, compile_schema, json_path

MAX_DEPTH = 16
MAX_NODES = 2000
MOST_LEAST = 10_000
"""Of what a schema may ask for at least."""
BOUNDED_FORMATS = frozenset({"date", "date-time", "time", "uuid", "ipv4", "ipv6"})
_CONSTRAINTS = ("if", "then", "else", "not", "contains", "propertyNames")
_KEYWORDS = frozenset(
    {"$schema", "$ref", "$defs", "$comment", "title", "description", "default", "examples", "deprecated", "type", "enum", "const"}
    | {"properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties", "dependentRequired"}
    | {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"}
    | {"minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"oneOf", "anyOf", "allOf", "not", "if", "then", "else"}
)
_IDENTIFIER_FIX = "Use letters, digits and underscores, starting with a letter, at most 64 characters."


@dataclass(slots=True)
class _Walk:
    """One pass over one document; `path` is where the document stands in the spec."""

    document: dict[str, Any]
    nodes: int = 0
    active: list[str] = field(default_factory=list)


def schema_problems(schema: dict[str, Any], path: str) -> list[Problem]:
    """Everything wrong with one of a spec's two root schemas; `path` is its place, such as `$.inputs`."""
    problems = list(_root(schema, path))
    try:
        compile_schema(schema)
    except BadSchema as error:
        problems.append(Problem(path + error.path[1:], f"is no valid JSON Schema 2020-12: {error}", "Mend the schema at this place."))
    problems.extend(_node(_Walk(schema), schema, path, 0, whole=True))
    return problems


def _root(schema: dict[str, Any], path: str) -> Iterator[Problem]:
    if schema.get("$schema", DIALECT) != DIALECT:
        yield Problem(f"{path}.$schema", "names another dialect", f"Use {DIALECT}, or leave $schema out.")
    if schema.get("type") != "object":
        yield Problem(f"{path}.type", "the root of a tool's schema must be an object", 'Set "type": "object" and name the properties.')


def _node(walk: _Walk, schema: Any, path: str, depth: int, *, whole: bool) -> Iterator[Problem]:
    """`whole`: this schema alone describes the value, so it must be strict; otherwise it only narrows what another describes."""
    walk.nodes += 1
    if depth > MAX_DEPTH or walk.nodes > MAX_NODES:
        if depth > MAX_DEPTH or walk.nodes == MAX_NODES + 1:
            yield Problem(path, f"is over {MAX_DEPTH} levels deep or part of more than {MAX_NODES} schemas", "Make the schema simpler.")
        return
    if not isinstance(schema, dict):
        if schema is not False and whole:
            yield Problem(path, "accepts any value", "Describe the value with a schema of its own.")
        return
    yield from _keywords(schema, path)
    if "$ref" in schema:
        yield from _reference(walk, schema["$ref"], path, depth, whole=whole)
    elif whole:
        yield from _strict(schema, path)
    yield from _children(walk, schema, path, depth, whole=whole)


def _keywords(schema: dict[str, Any], path: str) -> Iterator[Problem]:
    for keyword in schema:
        if keyword in _KEYWORDS:
            continue
        if keyword in ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor"):
            yield Problem(f"{path}.{keyword}", "names or follows a place outside plain references", "Use $ref to #/$defs/NAME only.")
            continue
        near = difflib.get_close_matches(keyword, _KEYWORDS, 1)
        hint = f"Did you mean {near[0]!r}?" if near else "Leave it out."
        yield Problem(json_path([keyword], path), "is a keyword that these schemas do not use, so it would check nothing", hint)


def _reference(walk: _Walk, reference: Any, path: str, depth: int, *, whole: bool) -> Iterator[Problem]:
    if not isinstance(reference, str) or not reference.startswith("#/"):
        yield Problem(f"{path}.$ref", "refers to something outside this document", "Copy it into $defs and refer to #/$defs/NAME.")
        return
    target = resolve(walk.document, reference)
    if target is None:
        yield Problem(f"{path}.$ref", f"{reference} does not exist in this document", "Add it, or correct the reference.")
    elif reference in walk.active:
        yield Problem(f"{path}.$ref", f"{reference} contains itself, so values could nest without end", "Write the levels out.")
    else:
        walk.active.append(reference)
        yield from _node(walk, target, path, depth + 1, whole=whole)
        walk.active.pop()


def resolve(document: dict[str, Any], reference: str) -> dict[str, Any] | None:
    """The schema that a `#/…` reference names, or None."""
    place: Any = document
    for step in reference[2:].split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(place, dict) or step not in place:
            return None
        place = place[step]
    return place if isinstance(place, dict) else None


def _strict(schema: dict[str, Any], path: str) -> Iterator[Problem]:
    kinds = types_of(schema)
    if not kinds:
        if not any(keyword in schema for keyword in ("enum", "const", "oneOf", "anyOf", "allOf")):
            yield Problem(path, "does not say what type it is", 'Set "type".')
        return
    if "enum" in schema or "const" in schema:
        return
    if "object" in kinds:
        yield from _closed(schema, path)
    if "array" in kinds:
        if "items" not in schema:
            yield Problem(path, "does not say what its items are", 'Set "items".')
        if "maxItems" not in schema:
            yield Problem(path, "is a list without an upper bound", 'Set "maxItems"; take large inputs as a reference to a collection.')
    for word in ("minLength", "minItems", "minProperties"):
        least = schema.get(word)
        if isinstance(least, int) and least > MOST_LEAST:
            yield Problem(
                path, f"asks for more than {MOST_LEAST} by {word}", f'Lower "{word}": every value that is tried is at least as large.'
            )
    if "string" in kinds and "maxLength" not in schema and schema.get("format") not in BOUNDED_FORMATS:
        yield Problem(path, "is a text without an upper bound", 'Set "maxLength".')


def _closed(schema: dict[str, Any], path: str) -> Iterator[Problem]:
    extra = schema.get("additionalProperties", True)
    if isinstance(extra, dict):
        if "maxProperties" not in schema:
            yield Problem(path, "is a map without an upper bound", 'Set "maxProperties".')
        if not _bounded_names(schema.get("propertyNames")):
            yield Problem(path, "is a map whose names have no upper bound", 'Set "propertyNames": {"maxLength": 64}.')
    elif extra is not False:
        yield Problem(path, "accepts properties that nobody declared", 'Set "additionalProperties": false.')
    properties = schema.get("properties", {})
    missing = [name for name in schema.get("required", ()) if isinstance(properties, dict) and name not in properties]
    for name in missing if extra is False else ():
        yield Problem(f"{path}.required", f"requires {name!r}, which is not declared", "Declare it under properties, or drop it.")


def _bounded_names(names: Any) -> bool:
    return isinstance(names, dict) and bool({"maxLength", "enum", "const"} & names.keys())


def types_of(schema: dict[str, Any]) -> tuple[str, ...]:
    """The declared types; empty where none is declared."""
    declared = schema.get("type", ())
    return (declared,) if isinstance(declared, str) else tuple(kind for kind in declared if isinstance(kind, str))


def _children(walk: _Walk, schema: dict[str, Any], path: str, depth: int, *, whole: bool) -> Iterator[Problem]:
    properties = schema.get("properties")
    for name, child in (properties if isinstance(properties, dict) else {}).items():
        place = json_path(["properties", name], path)
        if not (name.isidentifier() and name.isascii() and len(name) <= 64 and not name.startswith("_")):
            yield Problem(place, f"{name!r} cannot be a name in the tool's contract", _IDENTIFIER_FIX)
        if whole and not _described(walk, child):
            yield Problem(place, "has no description", "Say in a sentence what the value means, with its unit.")
        yield from _node(walk, child, place, depth + 1, whole=whole)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _node(walk, schema["additionalProperties"], f"{path}.additionalProperties", depth + 1, whole=whole)
    if "items" in schema:
        yield from _node(walk, schema["items"], f"{path}.items", depth + 1, whole=whole)
    for index, child in enumerate(_list(schema, "prefixItems")):
        yield from _node(walk, child, f"{path}.prefixItems[{index}]", depth + 1, whole=whole)
    alone = whole and not types_of(schema)
    for keyword in ("oneOf", "anyOf"):
        for index, child in enumerate(_list(schema, keyword)):
            yield from _node(walk, child, f"{path}.{keyword}[{index}]", depth + 1, whole=alone)
    for index, child in enumerate(_list(schema, "allOf")):
        yield from _node(walk, child, f"{path}.allOf[{index}]", depth + 1, whole=False)
    for keyword in _CONSTRAINTS:
        if keyword in schema:
            yield from _node(walk, schema[keyword], f"{path}.{keyword}", depth + 1, whole=False)


def _list(schema: dict[str, Any], keyword: str) -> list[Any]:
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def _described(walk: _Walk, schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    if isinstance(schema.get("description"), str) and schema["description"].strip():
        return True
    target = resolve(walk.document, schema["$ref"]) if isinstance(schema.get("$ref"), str) else None
    return target is not None and bool(str(target.get("description", "")).strip())
