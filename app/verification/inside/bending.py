"""What examples hold, made odd: texts that break parsers, each record of a world many times over, or all that is in them longer.

It refuses to be: against a shape. Records keep their fields and types; what is bent in arguments the schema still judges.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

from .patterns import matches

ODD = ("NaN", "Infinity", "-0", "1e400", "1_0", "²", "٣", "0x10", "null", " ", "İ", "ﬀ", "a\u0301", "\u202eabc", "%s{0}")
"""Texts that a parser takes for what they are not, or that grow and shrink as they are compared."""

COPIES = 18
MOST_RECORDS = 100
LONG = 400
TIMES = 10
MOST_READ = 1000
"""Characters of a text that is held against a pattern here; the validator has the word."""
_BENDS: tuple[Callable[[str], str], ...] = (
    lambda text: f" {text}",
    lambda text: f"{text}\n",
    str.upper,
    lambda text: _digit(text, "²"),
    lambda text: _digit(text, "٣"),
    lambda text: text * 2,
)


def bent(args: Any, schema: dict[str, Any], chance: random.Random, turn: int) -> Any:
    """A copy with one field's text made odd, another one each turn; in a list of them, an element for each oddity, like its first one.

    The same where none fits.
    """
    made = copy.deepcopy(args)
    fields: dict[tuple[str, ...], Path] = {}
    for path in _paths(made):
        fields.setdefault(tuple(step for step in path if isinstance(step, str)), path)
    if not fields:
        return made
    path = fields[sorted(fields)[turn % len(fields)]]
    odd = [text for text in (*ODD, *(bend(_at(made, path)) for bend in _BENDS)) if fits(text, _schema_at(schema, path))]
    if not odd:
        return made
    listed = max((place for place, step in enumerate(path) if isinstance(step, int)), default=None)
    if listed is None:
        return _with(made, path, chance.choice(odd))
    one = _at(made, path[: listed + 1])
    many = [_with(copy.deepcopy(one), path[listed + 1 :], text) for text in odd]
    return _with(made, path[:listed], many[: _schema_at(schema, path[:listed]).get("maxItems", MOST_RECORDS)])


Path = tuple[str | int, ...]


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where texts stand."""
    if isinstance(value, str):
        yield path
    for step, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(part, (*path, step))


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _with(value: Any, path: Path, part: Any) -> Any:
    if not path:
        return part
    _at(value, path[:-1])[path[-1]] = part
    return value


def _schema_at(schema: Any, path: Path) -> dict[str, Any]:
    """What a schema says plainly of a place; nothing where it goes through choices or references."""
    for step in path:
        schema = schema.get("items") if isinstance(step, int) else schema.get("properties", {}).get(step)
        if not isinstance(schema, dict):
            return {}
    found: dict[str, Any] = schema
    return found


def fits(text: str, schema: dict[str, Any]) -> bool:
    """Whether the schema of a text admits it, as far as can be told here."""
    if not schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text)):
        return False
    if len(text) > MOST_READ:
        return "enum" not in schema
    return "enum" not in schema and matches(schema.get("pattern", ""), text) is not False


def crowded(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records (`{"key", "body"}`) and copies of them under other keys, every third of which says more than anybody reads."""
    made = [dict(record) for record in records]
    for record in records * COPIES:
        if len(made) < MOST_RECORDS:
            made.append(_again(record, len(made)))
    return made


def _again(record: dict[str, Any], number: int) -> dict[str, Any]:
    """The record under another key: it and addresses in it are made its own, and two times of three a word that may be a name."""
    key, body = record["key"], copy.deepcopy(record["body"])
    words: list[tuple[Any, Any]] = []
    for holder, name in _texts(body):
        text: str = holder[name]
        if text == key:
            holder[name] = f"{key}-{number}"
        elif "@" in text:
            holder[name] = text.replace("@", f"{number}@", 1)
        elif " " not in text:
            words += [(holder, name)] if text[:1].isalpha() else []
        elif number % 3 == 0:
            holder[name] = _long(text)
    if words and number % 3:
        holder, name = words[number // 3 % len(words)]
        holder[name] = f"{holder[name]}-{number}"
    return {"key": f"{key}-{number}"[:512], "body": body}


def swollen(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records themselves, with lists ten times as long and with long texts where they speak in sentences."""
    return [{**record, "body": _swollen(record["body"], "")} for record in records]


def _swollen(value: Any, mark: str) -> Any:
    if isinstance(value, dict):
        return {name: _swollen(part, mark) for name, part in value.items()}
    if isinstance(value, list):
        return [_swollen(part, mark + f"-{number}" * (number > 0)) for number in range(TIMES) for part in value][:MOST_RECORDS]
    if not isinstance(value, str):
        return value
    if " " in value:
        return _long(value)
    return value.replace("@", f"{mark}@", 1) if "@" in value else value + mark if value[:1].isalpha() else value


def greatest(args: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments with each number at the highest that its schema admits."""
    highest = {name: child["maximum"] for name, child in schema.get("properties", {}).items() if "maximum" in child}
    return {**args, **{name: value for name, value in highest.items() if name in args}}


def _long(text: str) -> str:
    return (f"{text} — çok «long» 🙂 " * LONG)[:LONG]


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
