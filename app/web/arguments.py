"""A form for the arguments of a tool, made from its input schema, and the arguments of a filled form.

Texts, numbers, choices and truth values have fields of their own; whatever is nested is JSON in a text area. What does not fit the
schema is for the use case to say.

It refuses to be: a validator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.errors import Problem

PREFIX = "arg."
LONG_TEXT = 160
_KINDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
_FORMATS = {"email": "email", "date": "date", "uri": "url"}


@dataclass(frozen=True, slots=True)
class Field:
    """One property. `kind` is text, long, integer, number, boolean, choice or json; `value` is what stands in the field."""

    name: str
    kind: str
    required: bool
    description: str
    value: str
    input_type: str = "text"
    options: tuple[str, ...] = ()
    example: str = ""


def fields(schema: Mapping[str, Any], values: Mapping[str, str]) -> list[Field]:
    """A field for each property of an object schema, the required ones first."""
    required = set(schema.get("required", ()))
    properties = schema.get("properties", {})
    ordered = sorted(properties, key=lambda name: name not in required)
    return [_field(schema, name, properties[name], name in required, values.get(PREFIX + name, "")) for name in ordered]


def _field(schema: Mapping[str, Any], name: str, given: Mapping[str, Any], required: bool, value: str) -> Field:
    part = _resolved(schema, given)
    description = str(given.get("description") or part.get("description") or "")
    if "enum" in part and all(isinstance(option, str) for option in part["enum"]):
        return Field(name, "choice", required, description, value, options=tuple(part["enum"]))
    kind = _KINDS.get(str(part.get("type")), "json")
    if kind == "text" and (part.get("maxLength") or LONG_TEXT) > LONG_TEXT and "format" not in part:
        kind = "long"
    input_type = {"integer": "number", "number": "number"}.get(kind) or _FORMATS.get(str(part.get("format")), "text")
    return Field(name, kind, required, description, value, input_type, example=_example(part) if kind == "json" else "")


def _resolved(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A reference within the document, followed a few steps; anything else is shown as JSON."""
    for _ in range(4):
        reference = part.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        found: Any = schema
        for step in reference[2:].split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, Mapping) else {}
        part = found if isinstance(found, Mapping) else {}
    return part


def _example(part: Mapping[str, Any]) -> str:
    kinds = part.get("type") or [choice.get("type") for choice in (*part.get("oneOf", ()), *part.get("anyOf", ()))]
    return "[]" if "array" in kinds else "{}" if "object" in kinds else ""


def arguments(schema: Mapping[str, Any], sent: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """The arguments that a form says, without what was left empty, and what could not be read."""
    args: dict[str, Any] = {}
    problems: list[Problem] = []
    for field in fields(schema, sent):
        if field.value == "" and not (field.required and field.kind in ("text", "long")):
            continue
        try:
            args[field.name] = _read(field)
        except (ValueError, RecursionError):  # the latter: JSON nested thousands deep
            wanted = {"json": "JSON", "integer": "a whole number", "number": "a number"}.get(field.kind, "a value of this kind")
            problems.append(Problem(f"$.{field.name}", f"is not {wanted}", _fix(field)))
    return args, problems


def _fix(field: Field) -> str:
    return 'Put texts into double quotes, as in ["a", "b"].' if field.kind == "json" else "Write digits only."


def _read(field: Field) -> Any:
    match field.kind:
        case "integer":
            return int(field.value)
        case "number":
            return json.loads(field.value)
        case "boolean":
            return field.value == "true"
        case "json":
            return json.loads(field.value)
        case "long":
            return field.value.replace("\r\n", "\n")
        case _:
            return field.value


def filled(args: Mapping[str, Any]) -> dict[str, str]:
    """What stands in the fields for these arguments: an example, or a call to be repeated."""
    return {PREFIX + name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in args.items()}
