"""What a record may be: the rules for collection names, keys, bodies and filters, as pure functions.

Both databases must be able to hold and to search every body, and canonical JSON must be able to say it; hence the refusals:
NUL, lone surrogates, NaN, integers beyond 2**53 - 1, nesting deeper than 64.

It refuses to be: a schema. What a body means is the business of whoever reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.core.errors import Invalid, Problem

COLLECTION_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
FIELD_PATTERN = r'^[^"\\\x00-\x1f]{1,128}$'
MAX_KEY = 512
MAX_BODY_BYTES = 256 * 1024
MAX_DEPTH = 64
MAX_CONDITIONS = 8
MAX_CHOICES = 100

Scalar = str | int | float | bool | None
Filter = Mapping[str, Scalar | list[Scalar]]

_COLLECTION = re.compile(COLLECTION_PATTERN.replace("$", r"\Z"))
_FIELD = re.compile(FIELD_PATTERN.replace("$", r"\Z"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SUSPICIOUS = re.compile(r"\\u0000|\d{16}")  # only such texts are walked value by value
_EXACT = 2**53 - 1
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def check_collection(name: str) -> None:
    """Raise Invalid `collection_invalid` unless `name` is lower-case letters, digits and `_`, at most 64, a letter first."""
    if not _COLLECTION.match(name):
        raise Invalid(
            "collection_invalid",
            "This is no name of a collection.",
            fix=f"Use a name of the form {COLLECTION_PATTERN}.",
            problems=[Problem("$.collection", f"must match {COLLECTION_PATTERN}")],
        )


def key_problem(key: Any) -> str:
    """What is wrong with a record's key; empty if nothing."""
    if not isinstance(key, str) or not key:
        return "the key must be text of at least one character"
    if len(key) > MAX_KEY:
        return f"the key is longer than {MAX_KEY} characters"
    return "the key has control characters or lone surrogates" if _CONTROL.search(key) else ""


def body_text(body: Any) -> str:
    """The compact JSON text of a body. Raises ValueError with one line that says why it cannot be a record."""
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    try:
        text = _ENCODE(body)
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("the body has lone surrogates") from None
    except (TypeError, ValueError, RecursionError):
        raise ValueError("the body is no JSON (NaN, Infinity and endless nesting are none)") from None
    if size > MAX_BODY_BYTES:
        raise ValueError(f"the body has {size} bytes, the limit is {MAX_BODY_BYTES}")
    if _SUSPICIOUS.search(text) or text.count("{") + text.count("[") > MAX_DEPTH:
        for value, depth in _values(body):
            _check_value(value, depth)
    return text


def check_key(key: str) -> None:
    """Raise Invalid `key_invalid` unless the key is 1 to 512 characters without control characters."""
    problem = key_problem(key)
    if problem:
        raise Invalid("key_invalid", f"This key cannot be stored: {problem}.", problems=[Problem("$.key", problem)])


def check_body(body: Any) -> str:
    """The text of a body. Raises Invalid `record_invalid`."""
    try:
        return body_text(body)
    except ValueError as error:
        problems = [Problem("$.body", str(error), "Send a JSON object of at most 256 KiB.")]
        raise Invalid("record_invalid", f"This record cannot be stored: {error}.", problems=problems) from None


def check_filter(filter_: Any) -> dict[str, list[Scalar]]:
    """The filter with each condition as a list of choices. Raises Invalid `filter_invalid`.

    `{"field": scalar}` asks for equality on a top-level field, `{"field": [scalar, …]}` for any of them; all conditions hold
    together. `null` matches a field that is null or absent.
    """
    if filter_ is None:
        return {}
    if not isinstance(filter_, dict):
        raise _bad_filter("$.filter", "must be an object of conditions")
    if len(filter_) > MAX_CONDITIONS:
        raise _bad_filter("$.filter", f"has more than {MAX_CONDITIONS} conditions")
    return {field: _choices(field, value) for field, value in filter_.items()}


def matches(body: Mapping[str, Any], choices: Mapping[str, Sequence[Scalar]]) -> bool:
    """Whether a body fulfils a checked filter: what the SQL of a query decides, for records that lie in no table."""
    return all(any(_equal(body.get(field), choice) for choice in wanted) for field, wanted in choices.items())


def _equal(value: Any, choice: Scalar) -> bool:
    if choice is None or isinstance(choice, bool) or isinstance(value, bool):
        return value is choice
    return isinstance(value, str | int | float) and isinstance(value, str) == isinstance(choice, str) and value == choice


def _choices(field: str, value: Any) -> list[Scalar]:
    path = f"$.filter[{field!r}]"
    choices = value if isinstance(value, list) else [value]
    if not _FIELD.match(field):
        raise _bad_filter(path, "is no name of a top-level field that can be searched")
    if not 1 <= len(choices) <= MAX_CHOICES:
        raise _bad_filter(path, f"must offer 1 to {MAX_CHOICES} values")
    for choice in choices:
        if choice is not None and not isinstance(choice, str | int | float):
            raise _bad_filter(path, "must be text, a number, a truth value or null, or a list of these")
        try:
            _check_value(choice, 0)
            _ENCODE(choice).encode()
        except ValueError:
            raise _bad_filter(path, "is no value that a record can hold") from None
    return choices


def _bad_filter(path: str, message: str) -> Invalid:
    fix = 'Write {"field": value} or {"field": [value, …]} over top-level fields.'
    return Invalid("filter_invalid", f"This filter cannot be used: {path} {message}.", fix=fix, problems=[Problem(path, message, fix)])


def _values(root: Any) -> Iterator[tuple[Any, int]]:
    waiting = [(root, 1)]
    while waiting:
        value, depth = waiting.pop()
        yield value, depth
        if isinstance(value, dict):
            waiting += [(inner, depth + 1) for pair in value.items() for inner in pair]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in value]


def _check_value(value: Any, depth: int) -> None:
    if isinstance(value, dict | list) and depth > MAX_DEPTH:
        raise ValueError(f"the body is nested deeper than {MAX_DEPTH}")
    if isinstance(value, str) and "\x00" in value:
        raise ValueError("the body has NUL characters")
    if isinstance(value, int) and abs(value) > _EXACT:
        raise ValueError("the body has integers beyond 2**53 - 1, which JSON cannot say exactly")
