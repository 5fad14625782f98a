"""Where two JSON values differ: the first few places, each with its path, what was expected and what came.

It refuses to be: a diff of texts. People and models mend values, so they are told of values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from app.spec.schemas import json_path

MOST = 5
ABSENT = "(absent)"
_MOST_TEXT = 300


@dataclass(frozen=True, slots=True)
class Difference:
    """One place. What is long is shortened in the middle."""

    path: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.path} is {shown(self.got)}, expected {shown(self.expected)}"


def differences(expected: Any, got: Any, root: str = "$", *, partial: bool = False) -> list[Difference]:
    """The first five places; `partial`: objects in `got` may have more fields than `expected` names."""
    return list(islice(_walk(expected, got, (), root, partial), MOST))


def shown(value: Any) -> str:
    """One line for a message."""
    text = value if value == ABSENT else repr(value)
    return text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT // 2]} … {text[-_MOST_TEXT // 2 :]}"


def _walk(expected: Any, got: Any, path: tuple[str | int, ...], root: str, partial: bool) -> Iterator[Difference]:
    if isinstance(expected, dict) and isinstance(got, dict):
        for name in expected:
            yield from _walk(expected[name], got.get(name, ABSENT), (*path, name), root, partial)
        for name in () if partial else got:
            if name not in expected:
                yield Difference(json_path((*path, name), root), ABSENT, got[name])
    elif isinstance(expected, list) and isinstance(got, list):
        for index in range(max(len(expected), len(got))):
            left = expected[index] if index < len(expected) else ABSENT
            right = got[index] if index < len(got) else ABSENT
            yield from _walk(left, right, (*path, index), root, partial)
    elif not _equal(expected, got):
        yield Difference(json_path(path, root), expected, got)


def _equal(left: Any, right: Any) -> bool:
    # JSON knows one kind of number, and a truth value is none: 1 equals 1.0, and true does not equal 1.
    return left == right and isinstance(left, bool) == isinstance(right, bool)
