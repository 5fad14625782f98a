"""Values that a JSON Schema (2020-12) admits: seeded, with a liking for its edges, and smaller ones for a value that failed.

Made from what a strict spec may say: types, enum, const, bounds, multiples, lengths, patterns, formats, items, properties, `$ref` into the
document, `oneOf`, `anyOf`, `allOf`. What other keywords refuse is refused later by the validator; a value is a proposal.

It refuses to be: a validator. Nobody calls a tool with a value that the host's own has not admitted.
"""

from __future__ import annotations

import random
import re._constants as sre  # type: ignore[import-not-found]  # the standard library has no public view of a parsed pattern
import re._parser as sre_parser  # type: ignore[import-not-found]  # as above
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MOST_DEPTH = 12
MOST_ITEMS = 8
MOST_TEXT = 60
FEW_REPEATS = 4
"""How far an open repetition in a pattern goes."""

_ALPHABETS = ("abcxyz", "ABC019 _-.", "äßçñ", "日本語", "🙂🏽\u200d", "\"'<>&{}\\/%;", "\t\n ")
_INTEGERS = (0, 1, -1, 2, 10, 100, 2**31 - 1, -(2**31), 2**53, 10**12)
_NUMBERS = (0.0, 0.1, -0.1, 0.5, 1.0, 1e-9, 1e9, 123.456)
_FORMATS: Mapping[str, tuple[str, ...]] = {
    "email": ("a@example.com", "first.last+tag@sub.example.org", "UPPER@EXAMPLE.COM", "x_1@example.co"),
    "date": ("2026-03-01", "2024-02-29", "1999-12-31"),
    "date-time": ("2026-03-01T09:00:00Z", "2024-02-29T23:59:59.999+14:00", "1999-12-31T00:00:00-11:30"),
    "time": ("09:00:00Z", "23:59:59+02:00"),
    "duration": ("P1D", "PT0S", "P3Y6M4DT12H30M5S"),
    "uri": ("https://example.com/", "https://example.com/a%20b?q=1#f", "mailto:a@example.com"),
    "uri-reference": ("/a", "?q", "https://example.com/"),
    "uuid": ("00000000-0000-0000-0000-000000000000", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
    "hostname": ("example.com", "a.b.example"),
    "ipv4": ("192.0.2.1", "0.0.0.0"),  # noqa: S104 - a value, nobody binds it
    "ipv6": ("::1", "2001:db8::ff00:42:8329"),
    "regex": ("^a+$", ".*"),
    "json-pointer": ("", "/a/0"),
}


@dataclass
class Values:
    """Makes values of one document with one source of chance. `edges` is how often an edge is taken where there is one.

    `known` are texts that mean something to the tool: names that its world knows.
    """

    document: Mapping[str, Any]
    chance: random.Random
    known: tuple[str, ...] = ()
    edges: float = 0.35

    def any_of(self, schema: Any, depth: int = 0) -> Any:
        """A value for a schema; of no promise where the schema is beyond what is understood here."""
        if not isinstance(schema, dict) or depth > MOST_DEPTH:
            return self._anything()
        for keyword, make in self._by_keyword(depth).items():
            if keyword in schema:
                return make(schema)
        kinds = schema.get("type", _implied(schema))
        kind = self.chance.choice(kinds) if isinstance(kinds, list) else kinds
        maker = {
            "null": lambda _schema, _depth: None,
            "boolean": lambda _schema, _depth: self.chance.random() < 0.5,
            "integer": self._integer,
            "number": self._number,
            "string": self._string,
            "array": self._array,
            "object": self._object,
        }.get(str(kind))
        return maker(schema, depth) if maker is not None else self._anything()

    def _by_keyword(self, depth: int) -> Mapping[str, Callable[[dict[str, Any]], Any]]:
        return {
            "$ref": lambda schema: self.any_of(_merged(schema, self._target(schema["$ref"]), "$ref"), depth + 1),
            "const": lambda schema: schema["const"],
            "enum": lambda schema: self.chance.choice(schema["enum"]),
            "allOf": lambda schema: self.any_of(_all(schema), depth + 1),
            "oneOf": lambda schema: self.any_of(_merged(schema, self.chance.choice(schema["oneOf"]), "oneOf"), depth + 1),
            "anyOf": lambda schema: self.any_of(_merged(schema, self.chance.choice(schema["anyOf"]), "anyOf"), depth + 1),
        }

    def _target(self, reference: str) -> dict[str, Any]:
        place: Any = self.document
        for name in reference.removeprefix("#").strip("/").split("/"):
            place = place.get(name.replace("~1", "/").replace("~0", "~"), {}) if name and isinstance(place, Mapping) else place
        return place if isinstance(place, dict) else {}

    def _edge(self) -> bool:
        return self.chance.random() < self.edges

    def _integer(self, schema: dict[str, Any], _depth: int) -> int:
        low = _first(schema.get("minimum"), _plus(schema.get("exclusiveMinimum"), 1))
        high = _first(schema.get("maximum"), _plus(schema.get("exclusiveMaximum"), -1))
        low, high = _range(low, high)
        step = schema.get("multipleOf", 1)
        if self._edge():
            value = self.chance.choice([low, high, low + 1, high - 1, *(each for each in _INTEGERS if low <= each <= high)])
        else:
            value = self.chance.randint(int(low), int(high))
        return int(value // step * step) if step != 1 else int(value)

    def _number(self, schema: dict[str, Any], depth: int) -> float | int:
        if "multipleOf" in schema:
            step: float | int = schema["multipleOf"]
            return self._integer({**schema, "multipleOf": 1}, depth) // max(1, int(step)) * step
        low = _first(schema.get("minimum"), schema.get("exclusiveMinimum"))
        high = _first(schema.get("maximum"), schema.get("exclusiveMaximum"))
        low, high = _range(low, high)
        if self._edge():
            edge: float = self.chance.choice([low, high, *(each for each in _NUMBERS if low <= each <= high)])
            return edge
        return round(self.chance.uniform(low, high), self.chance.choice((0, 1, 2, 6)))

    def _string(self, schema: dict[str, Any], _depth: int) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", MOST_TEXT)
        if "enum" in schema:
            return str(self.chance.choice(schema["enum"]))
        if self.known and self.chance.random() < 0.5:
            return self.chance.choice(self.known)
        if isinstance(schema.get("pattern"), str):
            return self._matching(schema["pattern"])
        if schema.get("format") in _FORMATS:
            return self.chance.choice(_FORMATS[schema["format"]])
        length = (
            self.chance.choice([least, min(most, 1000), least + 1])
            if self._edge()
            else self.chance.randint(least, min(most, max(least, MOST_TEXT)))
        )
        alphabet = self.chance.choice(_ALPHABETS) if self.chance.random() < 0.5 else _ALPHABETS[0] + _ALPHABETS[1]
        return "".join(self.chance.choice(alphabet) for _ in range(max(least, min(length, most))))

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        least, most = schema.get("minItems", 0), schema.get("maxItems", MOST_ITEMS)
        few = max(least, min(most, MOST_ITEMS if depth < 3 else 2))
        length = self.chance.choice([least, few]) if self._edge() else self.chance.randint(least, few)
        before = schema.get("prefixItems", [])
        made = [self.any_of(before[index] if index < len(before) else schema.get("items", {}), depth + 1) for index in range(length)]
        if made and not before and not schema.get("uniqueItems") and self._edge():
            made[-1] = made[0]  # the same twice is what keys are for
        return _distinct(made) if schema.get("uniqueItems") else made

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        required, properties = set(schema.get("required", ())), schema.get("properties", {})
        share = self.chance.choice((0.0, 0.5, 1.0)) if depth < MOST_DEPTH // 2 else 0.0
        made = {
            name: self.any_of(child, depth + 1) for name, child in properties.items() if name in required or self.chance.random() < share
        }
        extra = schema.get("additionalProperties", False)
        least = schema.get("minProperties", 0)
        if isinstance(extra, dict):
            names = schema.get("propertyNames", {"type": "string", "pattern": "^[a-z_]{1,8}$"})
            for _ in range(max(least - len(made), self.chance.randint(0, min(3, schema.get("maxProperties", 3))))):
                made[str(self.any_of({"type": "string", **names} if isinstance(names, dict) else {}, depth + 1))] = self.any_of(
                    extra, depth + 1
                )
        return made

    def _anything(self) -> Any:
        return self.chance.choice((None, True, 0, -1, 1.5, "", "text", [], {}))

    def _matching(self, pattern: str) -> str:
        try:
            return "".join(self._of_pattern(sre_parser.parse(pattern)))[: 4 * MOST_TEXT]
        except (ValueError, OverflowError, RecursionError, sre_parser.error):
            return ""

    def _of_pattern(self, parsed: Any) -> Iterator[str]:
        for kind, argument in parsed:
            if kind is sre.LITERAL:
                yield chr(argument)
            elif kind is sre.NOT_LITERAL:
                yield "a" if argument != ord("a") else "b"
            elif kind is sre.ANY:
                yield self.chance.choice("aZ0 -")
            elif kind is sre.IN:
                yield self._in(argument)
            elif kind is sre.BRANCH:
                yield from self._of_pattern(self.chance.choice(argument[1]))
            elif kind is sre.SUBPATTERN:
                yield from self._of_pattern(argument[-1])
            elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
                least, most, inner = argument
                bound = least + FEW_REPEATS if most == sre.MAXREPEAT else most
                times = self.chance.choice((least, bound)) if self._edge() else self.chance.randint(least, min(bound, least + MOST_TEXT))
                for _ in range(min(times, 4 * MOST_TEXT)):
                    yield from self._of_pattern(inner)

    def _in(self, members: list[tuple[Any, Any]]) -> str:
        if members and members[0][0] is sre.NEGATE:
            excluded = {chr(argument) for kind, argument in members[1:] if kind is sre.LITERAL}
            return next((each for each in "aZ0 -_.x" if each not in excluded), "~")
        kind, argument = self.chance.choice(members)
        if kind is sre.LITERAL:
            return chr(argument)
        if kind is sre.RANGE:
            return chr(self.chance.choice([argument[0], argument[1], self.chance.randint(argument[0], argument[1])]))
        return {sre.CATEGORY_DIGIT: "7", sre.CATEGORY_SPACE: " ", sre.CATEGORY_WORD: "w", sre.CATEGORY_NOT_DIGIT: "x"}.get(argument, "y")


def smaller(value: Any) -> Iterator[Any]:
    """Simpler values than this one, the most promising first; each differs in one place."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield from (each for each in (0, 1, type(value)(value // 2)) if abs(each) < abs(value))
    elif isinstance(value, str):
        yield from _shorter(value)
        if value and any(character != "a" for character in value) and "@" not in value:
            yield "a" * len(value)
    elif isinstance(value, list):
        yield from _shorter(value)
        for index, part in enumerate(value[:20]):
            yield from ([*value[:index], less, *value[index + 1 :]] for less in smaller(part))
    elif isinstance(value, dict):
        for name in value:
            yield {other: part for other, part in value.items() if other != name}
        for name, part in value.items():
            yield from ({**value, name: less} for less in smaller(part))


def _shorter(value: Any) -> Iterator[Any]:
    length = len(value)
    if length > 1:
        yield value[: length // 2]
        yield value[length // 2 :]
    if length:
        yield value[:-1]
        yield value[1:]


def _implied(schema: Mapping[str, Any]) -> str:
    words = {
        "properties": "object",
        "required": "object",
        "items": "array",
        "minLength": "string",
        "pattern": "string",
        "minimum": "number",
    }
    return next((kind for word, kind in words.items() if word in schema), "")


def _merged(schema: Mapping[str, Any], other: Any, without: str) -> dict[str, Any]:
    """Two schemas that both hold, as one: enough for what stands beside a choice or a reference."""
    rest = {name: value for name, value in schema.items() if name != without}
    if not isinstance(other, dict):
        return rest
    both = {**rest, **other}
    both["properties"] = {**rest.get("properties", {}), **other.get("properties", {})}
    both["required"] = [*rest.get("required", ()), *other.get("required", ())]
    return {name: value for name, value in both.items() if name not in ("properties", "required") or value}


def _all(schema: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(schema)
    parts = merged.pop("allOf")
    for part in parts:
        merged = _merged(merged, part, "")
    return merged


def _range(low: Any, high: Any) -> tuple[Any, Any]:
    """Both bounds: a missing one lies a thousand beyond the other."""
    if low is None:
        low = -1000 if high is None else high - 1000
    if high is None:
        high = low + 1000
    return low, max(low, high)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _plus(value: Any, more: int) -> Any:
    return None if value is None else value + more


def _distinct(made: list[Any]) -> list[Any]:
    seen: list[Any] = []
    for value in made:
        if value not in seen:
            seen.append(value)
    return seen
