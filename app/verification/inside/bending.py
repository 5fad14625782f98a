"""What examples hold, made odd: a text that breaks parsers in one place, or each record of a world many times over.

It refuses to be: against a shape. Records keep their fields and types; what is bent in arguments the schema still judges.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

ODD = ("NaN", "Infinity", "-0", "1e400", "1_0", "²", "٣", "0x10", "null", " ", "İ", "ﬀ", "a\u0301", "\u202eabc", "%s{0}")
"""Texts that a parser takes for what they are not, or that grow and shrink as they are compared."""

COPIES = 12
MOST_RECORDS = 60
LONG = 400
_BENDS: tuple[Callable[[str], str], ...] = (
    lambda text: f" {text}",
    lambda text: f"{text}\n",
    str.upper,
    lambda text: _digit(text, "²"),
    lambda text: _digit(text, "٣"),
    lambda text: text * 2,
)


def bent(value: Any, chance: random.Random) -> Any:
    """A copy with one of its texts made odd; the same where it holds none."""
    made = copy.deepcopy(value)
    places = list(_texts(made))
    if places:
        holder, name = chance.choice(places)
        holder[name] = chance.choice(ODD) if chance.random() < 0.5 else chance.choice(_BENDS)(holder[name])
    return made


def crowded(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records (`{"key", "body"}`) and copies of them under other keys, every third of which says more than anybody reads."""
    made = [dict(record) for record in records]
    for record in records * COPIES:
        if len(made) < MOST_RECORDS:
            made.append(_again(record, len(made)))
    return made


def _again(record: dict[str, Any], number: int) -> dict[str, Any]:
    """The record under another key: it, addresses in it, and in turn one of the words that may name something else, are made its own."""
    key, body = record["key"], copy.deepcopy(record["body"])
    words: list[tuple[Any, Any]] = []
    for holder, name in _texts(body):
        text: str = holder[name]
        if text == key:
            holder[name] = f"{key}-{number}"
        elif "@" in text:
            holder[name] = text.replace("@", f"{number}@", 1)
        elif " " not in text:
            words.append((holder, name))
        elif number % 3 == 0:
            holder[name] = (f"{text} — çok «long» 🙂 " * LONG)[:LONG]
    if words:
        holder, name = words[number % len(words)]
        holder[name] = f"{holder[name]}-{number}"
    return {"key": f"{key}-{number}"[:512], "body": body}


def greatest(args: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments with each number at the highest that its schema admits."""
    highest = {name: child["maximum"] for name, child in schema.get("properties", {}).items() if "maximum" in child}
    return {**args, **{name: value for name, value in highest.items() if name in args}}


def _texts(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where in a value texts stand: `(list or object, place)`."""
    places = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, part in list(places):
        if isinstance(part, str):
            yield value, place
        else:
            yield from _texts(part)


def _digit(text: str, other: str) -> str:
    return next((text.replace(each, other, 1) for each in text if each.isdigit()), other)
