"""What must be the same after a test as before it: the tool, its contract, the toolkit and the language's own names, object by object.

It refuses to be: a lock. It tells what was replaced; whoever asks it decides what that means.
"""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Iterator
from typing import Any

_CHANGEABLE = (dict, list, set, bytearray)
_NOTES = frozenset({"_", "__warningregistry__", "__builtins__", "_abc_impl", "__slotnames__", "__annotations__"})
"""What Python itself notes in modules and classes as they are used."""


class Seal:
    """The state of modules when it was made; `broken` names what has another value by now."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._before = dict(self._all())

    def broken(self) -> list[str]:
        """Dotted names of what was added, removed or replaced, sorted."""
        now = dict(self._all())
        changed = {name for name in self._before.keys() | now.keys() if not _same(self._before.get(name), now.get(name))}
        return sorted(name for name in changed if name.rpartition(".")[0] not in changed)

    def _all(self) -> Iterator[tuple[str, Any]]:
        yield from _members("builtins", vars(builtins))
        for name, module in sorted(sys.modules.items()):
            if name.partition(".")[0] in self._names:
                yield from _of_module(module)


def _of_module(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    for name, value in _members(module.__name__, vars(module)):
        yield name, value
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
            yield f"{name}.__code__", value.__code__
            yield f"{name}.__defaults__", value.__defaults__
        elif isinstance(value, type) and value.__module__ == module.__name__:
            yield from _members(name, vars(value))
        elif isinstance(value, _CHANGEABLE) and not name.rpartition(".")[2].startswith("__"):
            yield f"{name} (its contents)", repr(value)


def _members(owner: str, members: Any) -> Iterator[tuple[str, Any]]:
    for name, value in list(members.items()):
        if name not in _NOTES:
            yield f"{owner}.{name}", value


def _same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, str) and isinstance(other, str) and one == other)
