"""Texts that a regular expression matches: by chance, or leaning to its least or its greatest.

It refuses to be: an engine. Looking ahead or behind and references to groups are passed over, so a text is a proposal.
"""

from __future__ import annotations

import random
import re._constants as sre  # type: ignore[import-not-found]  # the standard library has no public view of a parsed pattern
import re._parser as sre_parser  # type: ignore[import-not-found]  # as above
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Literal

Lean = Literal["low", "high", None]
"""Where every choice goes: to the fewest repetitions and lowest characters, to the most and highest, or anywhere."""

FEW_REPEATS = 4
"""How far an open repetition goes."""

_CHARACTERS = "aZ09 _-.,:;/+@'\"<&ßé日🙂\n"
_CATEGORIES: dict[Any, tuple[str, Callable[[str], bool]]] = {
    sre.CATEGORY_DIGIT: ("0579", str.isdigit),
    sre.CATEGORY_NOT_DIGIT: ("ax -é", lambda each: not each.isdigit()),
    sre.CATEGORY_SPACE: (" \t\n", str.isspace),
    sre.CATEGORY_NOT_SPACE: ("a0-é", lambda each: not each.isspace()),
    sre.CATEGORY_WORD: ("aZ09_", lambda each: each.isalnum() or each == "_"),
    sre.CATEGORY_NOT_WORD: (" -.@", lambda each: not (each.isalnum() or each == "_")),
}


def text_of(pattern: str, chance: random.Random, lean: Lean = None, *, few: int = FEW_REPEATS, most: int = 240) -> str:
    """A text of at most `most` characters, open repetitions go `few` beyond their least; empty where the pattern cannot be read."""
    try:
        return "".join(islice(_parts(sre_parser.parse(pattern), chance, lean, few), most))[:most]
    except (ValueError, OverflowError, RecursionError, sre_parser.error):
        return ""


def _parts(parsed: Any, chance: random.Random, lean: Lean, few: int) -> Iterator[str]:
    for kind, argument in parsed:
        if kind is sre.LITERAL:
            yield chr(argument)
        elif kind is sre.NOT_LITERAL:
            yield _one([each for each in _CHARACTERS if each != chr(argument)], chance, lean)
        elif kind is sre.ANY:
            yield _one([each for each in _CHARACTERS if each != "\n"], chance, lean)
        elif kind is sre.IN:
            yield _one(_members(argument, chance), chance, lean)
        elif kind is sre.BRANCH:
            yield from _parts(chance.choice(argument[1]), chance, lean, few)
        elif kind in (sre.SUBPATTERN, sre.ATOMIC_GROUP):
            yield from _parts(argument[-1] if kind is sre.SUBPATTERN else argument, chance, lean, few)
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            least, most, inner = argument
            for _ in range(_times(least, least + few if most == sre.MAXREPEAT else most, chance, lean)):
                yield from _parts(inner, chance, lean, few)


def _times(least: int, most: int, chance: random.Random, lean: Lean) -> int:
    return {"low": least, "high": most}.get(lean or "", chance.randint(least, min(most, least + 60)))


def _one(characters: list[str], chance: random.Random, lean: Lean) -> str:
    if not characters:
        return "~"
    return {"low": min, "high": max}.get(lean or "", chance.choice)(characters)


def _members(members: list[tuple[Any, Any]], chance: random.Random) -> list[str]:
    """Characters that a set holds; of one that excludes, those of ours that it does not."""
    if members and members[0][0] is sre.NEGATE:
        return [each for each in _CHARACTERS if not any(_holds(member, each) for member in members[1:])]
    found: list[str] = []
    for kind, argument in members:
        if kind is sre.LITERAL:
            found.append(chr(argument))
        elif kind is sre.RANGE:
            found += [chr(argument[0]), chr(argument[1]), chr(chance.randint(*argument))]
        elif kind is sre.CATEGORY:
            found += _CATEGORIES.get(argument, ("x", bool))[0]
    return found


def _holds(member: tuple[Any, Any], character: str) -> bool:
    kind, argument = member
    if kind is sre.LITERAL:
        return bool(ord(character) == argument)
    if kind is sre.RANGE:
        return bool(argument[0] <= ord(character) <= argument[1])
    holds = _CATEGORIES[argument][1] if kind is sre.CATEGORY and argument in _CATEGORIES else None
    return holds is not None and holds(character)
