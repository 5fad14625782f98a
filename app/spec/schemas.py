"""JSON Schema 2020-12 validators: arguments, results and effect items, on the host's side.

Formats are asserted, `$ref` stays within the document (a retriever that refuses stands where the library would fetch URLs and
files), patterns run in linear time. Messages name the rule and never repeat the value, so that they may be logged.

It refuses to be: the lint of schemas (`schema_rules`), or safe for schemas from outside in the service process (`checking`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NoReturn

import jsonschema_rs

from app.core.errors import Problem
from app.spec.canonical import canonical_bytes
from app.spec.model import ExecutionSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MOST_PROBLEMS = 20
_PLAIN = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class BadSchema(ValueError):
    """The schema cannot be compiled; the message is one line, `path` the JSON path inside the schema."""

    def __init__(self, message: str, path: str = "$") -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Validator:
    """A compiled schema. Values are what `json.loads` makes; other keys than texts raise ValueError."""

    compiled: jsonschema_rs.Draft202012Validator

    def accepts(self, value: Any) -> bool:
        """Whether `value` is a JSON value that fits; about 3 µs for a small object."""
        return not self.problems(value)

    def problems(self, value: Any, root: str = "$") -> list[Problem]:
        """What is wrong with `value`, at most 20 entries, each with its JSON path under `root`; empty when it fits."""
        if not _is_json(value):
            return [Problem(root, "is not a JSON value", "Use text keys, finite numbers and valid Unicode only.")]
        if self.compiled.is_valid(value):
            return []
        try:
            return list(islice(_explained(self.compiled.iter_errors(value), root), MOST_PROBLEMS))
        except ValueError:  # the library explains no value of more than 256 levels
            return [Problem(root, "does not fit, and is nested too deeply to say where", "Send a flatter value.")]


@dataclass(frozen=True, slots=True)
class SpecValidators:
    """The two schemas of one published spec."""

    args: Validator
    result: Validator


def compile_schema(schema: dict[str, Any] | bool) -> Validator:
    """Compile one schema; equal schemas share a validator. Raises BadSchema."""
    try:
        text = canonical_bytes(schema)
    except ValueError as error:
        raise BadSchema(str(error)) from error
    return _compiled(text)


def validators(spec: ExecutionSpec) -> SpecValidators:
    """The validators of a spec. Raises BadSchema. Keep the answer beside the loaded spec: finding it again costs a digest."""
    return SpecValidators(compile_schema(spec.inputs), compile_schema(spec.outputs))


@lru_cache(maxsize=1024)
def _compiled(canonical: bytes) -> Validator:
    try:
        compiled = jsonschema_rs.Draft202012Validator(
            canonical.decode(),
            validate_formats=True,
            ignore_unknown_formats=False,
            retriever=_refuse,
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    except jsonschema_rs.ValidationError as error:
        raise BadSchema(error.message.split("\n", 1)[0][:300], json_path(error.instance_path)) from error
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise BadSchema(str(error).split("\n", 1)[0][:300]) from error
    return Validator(compiled)


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is outside this document")


def _is_json(value: Any) -> bool:
    # The library takes NaN for a number and half surrogates for text; neither can be stored or sent on.
    try:
        text = _ENCODE(value)
        return text.isascii() or bool(text.encode())
    except (ValueError, TypeError, RecursionError):
        return False


def json_path(parts: Sequence[str | int], root: str = "$") -> str:
    """`$.recipients[3].to`; names that are no identifiers are quoted."""
    steps = []
    for part in parts:
        if isinstance(part, int):
            steps.append(f"[{part}]")
        else:
            steps.append(f".{part}" if _PLAIN.match(part) else f"[{part!r}]")
    return root + "".join(steps)


def _explained(errors: Iterator[jsonschema_rs.ValidationError], root: str) -> Iterator[Problem]:
    for error in errors:
        detail = error.kind.as_dict()
        branch = _nearest_branch(error, detail)
        if branch is not None:
            yield from _explained(iter(branch), root)
            continue
        message, fix = _MESSAGES.get(error.kind.name, _other)(detail)
        yield Problem(json_path(error.instance_path, root), message, fix)


def _nearest_branch(error: jsonschema_rs.ValidationError, detail: dict[str, Any]) -> list[jsonschema_rs.ValidationError] | None:
    # The alternative whose type fits the value is the one that the caller meant.
    if error.kind.name not in ("oneOf", "anyOf"):
        return None
    depth = len(error.instance_path)
    fitting = [
        branch
        for branch in detail.get("context", [])
        if branch and not any(e.kind.name in ("type", "const", "enum") and len(e.instance_path) == depth for e in branch)
    ]
    return min(fitting, key=len) if fitting else None


def _quoted(values: Any) -> str:
    shown = ", ".join(repr(value)[:80] for value in values[:MOST_PROBLEMS])
    return shown if len(values) <= MOST_PROBLEMS else f"{shown} and {len(values) - MOST_PROBLEMS} more"


_Message = Callable[[dict[str, Any]], tuple[str, str]]

_MESSAGES: dict[str, _Message] = {
    "type": lambda d: (f"must be {' or '.join(d['types'])}", f"Pass {' or '.join(d['types'])}."),
    "required": lambda d: (f"lacks the required property {d['property']!r}", f"Add {d['property']!r}."),
    "additionalProperties": lambda d: (f"has properties that are not declared: {_quoted(d['unexpected'])}", "Leave them out."),
    "unevaluatedProperties": lambda d: (f"has properties that are not declared: {_quoted(d['unexpected'])}", "Leave them out."),
    "maxLength": lambda d: (f"is longer than {d['limit']} characters", "Shorten it."),
    "minLength": lambda d: ("is empty", "Fill it in.") if d["limit"] == 1 else (f"is shorter than {d['limit']} characters", "Lengthen it."),
    "pattern": lambda d: (f"does not match the pattern {d['pattern']}", "Write it in that form."),
    "format": lambda d: (f"is not a valid {d['format']}", f"Write it as {d['format']}."),
    "enum": lambda d: (f"is none of {_quoted(d['options'])}", "Use one of these values."),
    "const": lambda d: (f"must be {d['expected_value']!r}", "Use that value."),
    "minimum": lambda d: (f"is less than {d['limit']}", f"Pass at least {d['limit']}."),
    "maximum": lambda d: (f"is more than {d['limit']}", f"Pass at most {d['limit']}."),
    "exclusiveMinimum": lambda d: (f"must be more than {d['limit']}", f"Pass more than {d['limit']}."),
    "exclusiveMaximum": lambda d: (f"must be less than {d['limit']}", f"Pass less than {d['limit']}."),
    "multipleOf": lambda d: (f"is no multiple of {d['multiple_of']}", f"Pass a multiple of {d['multiple_of']}."),
    "minItems": lambda d: ("has no items" if d["limit"] == 1 else f"has fewer than {d['limit']} items", f"Pass at least {d['limit']}."),
    "maxItems": lambda d: (f"has more than {d['limit']} items", f"Pass at most {d['limit']}, or a reference to a collection."),
    "uniqueItems": lambda d: ("has items that are equal", "Name each item once."),
    "minProperties": lambda d: (f"has fewer than {d['limit']} properties", "Add what is missing."),
    "maxProperties": lambda d: (f"has more than {d['limit']} properties", "Leave some out."),
    "propertyNames": lambda d: ("has a property name of the wrong form", "Rename it as the schema asks."),
    "oneOf": lambda d: ("fits none, or more than one, of the alternatives", "Follow exactly one alternative of the schema."),
    "anyOf": lambda d: ("fits none of the alternatives", "Follow one alternative of the schema."),
}


def _other(detail: dict[str, Any]) -> tuple[str, str]:
    return "does not fit its schema", "Compare it with the schema."
