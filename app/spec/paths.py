"""Which paths a CEL text names, found lexically: for binding only those, and for telling names that do not exist.

It refuses to be: a parser. It never fails and never evaluates; the CEL library, in a child, has the last word on syntax.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Path = tuple[str, ...]

_TOKEN = re.compile(
    r"""(?P<text>(?:[bB]?[rR][bB]?)(?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\n]*'|"[^"\n]*")
         |[bB]?(?:'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))
      |(?P<number>[0-9][0-9A-Fa-fxX.eE+u-]*?(?=[^0-9A-Fa-fxX.eu]|$))
      |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<comment>//[^\n]*)
      |(?P<space>\s+)
      |(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS = frozenset({"true", "false", "null", "in"})
_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})


@dataclass(frozen=True, slots=True)
class Names:
    """What a text mentions: paths by their free root name, and functions or methods called."""

    paths: tuple[Path, ...]
    functions: frozenset[str]


@lru_cache(maxsize=4096)
def names_in(text: str) -> Names:
    """The free paths and the called functions of a CEL text. An index ends a path: of `a.b[0].c` it is `a.b`."""
    tokens = _tokens(text)
    marks = [token for _, token in tokens] + ["", ""]
    bound: set[str] = set()
    found: list[Path] = []
    functions: set[str] = set()
    at = 0
    while at < len(tokens):
        kind, token = tokens[at]
        if kind != "name" or token in _CONSTANTS:
            at += 1
            continue
        selected = at > 0 and marks[at - 1] == "."
        path = [token]
        while marks[at + 1] == "." and at + 2 < len(tokens) and tokens[at + 2][0] == "name":
            at += 2
            path.append(marks[at])
        if marks[at + 1] == "(":
            called = path.pop()
            functions.add(called)
            if called in _MACROS and at + 2 < len(tokens):
                bound.add(marks[at + 2])
        if path and not selected:
            found.append(tuple(path))
        at += 1
    free = dict.fromkeys(path for path in found if path[0] not in bound)
    return Names(tuple(free), frozenset(functions))


def macro_depth(text: str) -> int:
    """How many list macros (`all`, `exists`, `exists_one`, `map`, `filter`) of a CEL text stand within one another; a chain counts one."""
    open_calls: list[bool] = []
    deepest = 0
    before = ""
    for _, part in _tokens(text):
        if part == "(":
            open_calls.append(before in _MACROS)
            deepest = max(deepest, sum(open_calls))
        elif part == ")" and open_calls:
            open_calls.pop()
        before = part
    return deepest


def _tokens(text: str) -> list[tuple[str | None, str]]:
    return [(m.lastgroup, m.group()) for m in _TOKEN.finditer(text) if m.lastgroup not in ("space", "comment")]


def bind(paths: Iterable[Path], roots: Mapping[str, Any]) -> dict[str, Any]:
    """The named parts of `roots` alone, in the same nesting. What is absent stays absent, so that `has()` can tell."""
    bound: dict[str, Any] = {}
    for path in sorted(paths, key=len):
        _copy_path(path, roots, bound)
    return bound


def _copy_path(path: Path, source: Any, target: dict[str, Any]) -> None:
    for depth, name in enumerate(path):
        if not isinstance(source, Mapping) or name not in source:
            return
        source = source[name]
        if depth == len(path) - 1 or not isinstance(source, Mapping):
            target.setdefault(name, source)
            return
        if name in target and target[name] is source:
            return  # a shorter path has bound the whole already
        target = target.setdefault(name, {})
