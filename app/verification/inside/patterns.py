"""Texts that a regular expression matches, by chance or leaning to its least or its greatest; and whether it matches a given one.

Both in a time that grows with the text alone: patterns come from a spec, and Python's own engine takes minutes for `^(a+)+$`.
It refuses to be: the validator. Looking ahead or behind and references to groups are passed over, so what is said is a proposal.
"""

from __future__ import annotations

import random
import re._constants as sre  # type: ignore[import-not-found]  # the standard library has no public view of a parsed pattern
import re._parser as sre_parser  # type: ignore[import-not-found]  # as above
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

Lean = Literal["low", "high", None]
"""Where every choice goes: to the fewest repetitions and lowest characters, to the most and highest, or anywhere."""

FEW_REPEATS = 4
"""How far an open repetition goes."""

_STEPS = 8
"""Steps for each character of a text that is made."""
_PLAIN = int(sre.SRE_FLAG_UNICODE)

_CHARACTERS = "aZ09 _-.,:;/+@'\"<&ßé日🙂\n"
_CATEGORIES: dict[Any, tuple[str, Callable[[str], bool]]] = {
    sre.CATEGORY_DIGIT: ("0579", str.isdecimal),
    sre.CATEGORY_NOT_DIGIT: ("ax -é", lambda each: not each.isdecimal()),
    sre.CATEGORY_SPACE: (" \t\n", str.isspace),
    sre.CATEGORY_NOT_SPACE: ("a0-é", lambda each: not each.isspace()),
    sre.CATEGORY_WORD: ("aZ09_", lambda each: each.isalnum() or each == "_"),
    sre.CATEGORY_NOT_WORD: (" -.@", lambda each: not (each.isalnum() or each == "_")),
}


def text_of(pattern: str, chance: random.Random, lean: Lean = None, *, few: int = FEW_REPEATS, most: int = 240) -> str:
    """A text of at most `most` characters, open repetitions go `few` beyond their least; empty where the pattern cannot be read."""
    try:
        return "".join(islice(_parts(sre_parser.parse(pattern), chance, lean, few), most * _STEPS))[:most]
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
                yield ""  # a step: what repeats nothing comes to an end too
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
    if kind is not sre.CATEGORY or argument not in _CATEGORIES:
        return False
    return _CATEGORIES[argument][1](character)


class _BeyondThisError(ValueError):
    """A pattern says what is not understood here."""


@lru_cache(maxsize=4096)
def matches(pattern: str, text: str) -> bool | None:
    """Whether a pattern matches anywhere in a text, `$` being its very end as in JSON Schema; None where only the validator can say."""
    try:
        parsed = sre_parser.parse(pattern)
        if parsed.state.flags & ~_PLAIN:
            return None
        return bool(_ends(parsed, text, frozenset(range(len(text) + 1))))
    except (ValueError, OverflowError, RecursionError, sre_parser.error):
        return None


Places = frozenset[int]


def _ends(parsed: Any, text: str, starts: Places) -> Places:
    """Where in a text a pattern may end that begins at one of `starts`: all ways at once, so that none is gone twice."""
    for kind, argument in parsed:
        if not starts:
            return starts
        starts = _one_further(kind, argument, text, starts)
    return starts


def _one_further(kind: Any, argument: Any, text: str, starts: Places) -> Places:
    if kind is sre.BRANCH:
        return frozenset().union(*(_ends(branch, text, starts) for branch in argument[1]))
    if kind is sre.SUBPATTERN and not argument[1] and not argument[2]:
        return _ends(argument[-1], text, starts)
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, most, inner = argument
        return _repeated(inner, least, most, text, starts)
    if kind is sre.AT and argument in _ANCHORS:
        return frozenset(place for place in starts if _ANCHORS[argument](text, place))
    is_one = _CHARACTER_KINDS.get(kind)
    if is_one is None:
        raise _BeyondThisError
    return frozenset(place + 1 for place in starts if place < len(text) and is_one(argument, text[place]))


def _repeated(inner: Any, least: int, most: int, text: str, starts: Places) -> Places:
    for _ in range(least):
        before, starts = starts, _ends(inner, text, starts)
        if starts in (before, frozenset()):
            break
    found = newest = starts
    for _ in range(least, most):
        newest = _ends(inner, text, newest) - found
        if not newest:
            break
        found |= newest
    return found


def _is_boundary(text: str, place: int) -> bool:
    is_word = _CATEGORIES[sre.CATEGORY_WORD][1]
    before, after = text[place - 1 : place] if place else "", text[place : place + 1]
    return bool(before and is_word(before)) != bool(after and is_word(after))


def _is_in(members: list[tuple[Any, Any]], character: str) -> bool:
    excludes = bool(members) and members[0][0] is sre.NEGATE
    return any(_holds(member, character) for member in members[excludes:]) != excludes


_ANCHORS: dict[Any, Callable[[str, int], bool]] = {
    sre.AT_BEGINNING: lambda _text, place: place == 0,
    sre.AT_BEGINNING_STRING: lambda _text, place: place == 0,
    sre.AT_END: lambda text, place: place == len(text),
    sre.AT_END_STRING: lambda text, place: place == len(text),
    sre.AT_BOUNDARY: _is_boundary,
    sre.AT_NON_BOUNDARY: lambda text, place: not _is_boundary(text, place),
}
_CHARACTER_KINDS: dict[Any, Callable[[Any, str], bool]] = {
    sre.LITERAL: lambda argument, character: bool(ord(character) == argument),
    sre.NOT_LITERAL: lambda argument, character: bool(ord(character) != argument),
    sre.ANY: lambda _argument, character: character != "\n",
    sre.IN: _is_in,
}
