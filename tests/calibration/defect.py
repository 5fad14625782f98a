"""A seeded defect as a value: what is wrong, where it is put in, and which gate should see it.

It refuses to be: a patch tool. A text that does not occur exactly once breaks the set itself, loudly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Family = Literal[
    "keys",
    "order",
    "state",
    "money",
    "time",
    "retries",
    "concurrency",
    "transactions",
    "swallowed_errors",
    "undeclared_access",
    "leaks",
    "vacuous_tests",
    "wrong_schema",
    "wrong_bucket",
]
File = Literal["spec.json", "tool.py", "test_tool.py"]
WHOLE = ""
"""As `old` of a change: all that the file holds."""
FAMILIES: tuple[Family, ...] = get_args(Family)


class SetBroken(ValueError):
    """The calibration set itself is wrong: nothing is learned about a gate."""


@dataclass(frozen=True, slots=True)
class Change:
    """In `file`, `old` (which occurs exactly once, or is WHOLE) becomes `new`."""

    file: File
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Defect:
    """A mistake that an author makes.

    `name` says in snake_case what is wrong, `gate` which gate should see it (any of them, where there are several), `changes` put it into
    the correct tool. `grave`: it repeats, loses or forges an effect, or escapes the declared boundary. `rule` is by which rule the gate
    should see it (any of them, where there are several); one that is seen by another rule alone was seen by accident.
    """

    name: str
    family: Family
    gate: str | tuple[str, ...]
    changes: tuple[Change, ...]
    grave: bool = False
    rule: str | tuple[str, ...] = ()

    @property
    def gates(self) -> tuple[str, ...]:
        """The gates that should see it."""
        return (self.gate,) if isinstance(self.gate, str) else self.gate

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that should see it; none: any."""
        return (self.rule,) if isinstance(self.rule, str) else self.rule


def defect(
    name: str, family: Family, gate: str | tuple[str, ...], *changes: Change, grave: bool = False, rule: str | tuple[str, ...] = ()
) -> Defect:
    """A defect of these changes, one after the other."""
    return Defect(name, family, gate, changes, grave, rule)


def tool(old: str, new: str) -> Change:
    """In tool.py, `old` becomes `new`."""
    return Change("tool.py", old, new)


def after(old: str, more: str) -> Change:
    """In tool.py, `more` follows `old`."""
    return tool(old, old + more)


def before(old: str, more: str) -> Change:
    """In tool.py, `more` precedes `old`."""
    return tool(old, more + old)


def without(old: str) -> Change:
    """tool.py without `old`."""
    return tool(old, "")


def spec(old: str, new: str) -> Change:
    """In spec.json, `old` becomes `new`."""
    return Change("spec.json", old, new)


def suite(old: str, new: str) -> Change:
    """In test_tool.py, `old` becomes `new`."""
    return Change("test_tool.py", old, new)


def seeded(files: Mapping[str, str], defect: Defect) -> dict[str, str]:
    """The files with the defect in them; each change sees what the ones before it left. Raises SetBroken."""
    result = dict(files)
    for change in defect.changes:
        old = result[change.file] if change.old == WHOLE else change.old
        if (count := result[change.file].count(old)) != 1:
            raise SetBroken(f"{defect.name}: this occurs {count} times in {change.file}: {old!r}")
        result[change.file] = result[change.file].replace(old, change.new)
    if result == files:
        raise SetBroken(f"{defect.name}: changes nothing")
    return result
