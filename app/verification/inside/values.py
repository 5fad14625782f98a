"""Values that a JSON Schema (2020-12) admits: seeded, with a liking for its edges, and smaller ones for a value that failed.

Made from what a strict spec may say: types, enum, const, bounds, multiples, lengths, patterns, formats, lists and tuples, `contains`,
properties with their counts and dependences, maps, `$ref` into the document (recursive ones end), `oneOf`, `anyOf`, `allOf`,
`if`/`then`/`else`. What other keywords refuse is refused later by the validator; a value is a proposal.

It refuses to be: a validator. Nobody calls a tool with a value that the host's own has not admitted.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .bending import fits
from .patterns import FEW_REPEATS, Lean, text_of

MOST_DEPTH = 16
DEEP = 6
"""From here on a value is kept as small as it may be, so that a recursive schema comes to an end."""
MOST_ITEMS = 8
MOST_TEXT = 60
TRIES = 30
"""How often a text is made anew that does not fit its lengths."""

_ALPHABETS = ("abcxyz", "ABC019 _-.", "äßçñ", "日本語", "🙂🏽\u200d", "\"'<>&{}\\/%;", "\t\n ")
_INTEGERS = (0, 1, -1, 2, 10, 100, 2**31 - 1, -(2**31), 2**53, 10**12)
_NUMBERS = (0.0, 0.1, -0.1, 0.5, 1.0, 1e-9, 1e9, 123.456)
FORMATS: Mapping[str, tuple[str, ...]] = {
    "email": ("a@example.com", "first.last+tag@sub.example.org", "UPPER@EXAMPLE.COM", "x_1@example.co", f"{'l' * 64}@example.com"),
    "idn-email": ("a@example.com", "jörg@example.com"),
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
    "relative-json-pointer": ("0", "1/a"),
    "iri": ("https://example.com/ä",),
    "iri-reference": ("/ä", "https://example.com/"),
    "idn-hostname": ("example.com", "bücher.example"),
    "uri-template": ("https://example.com/{id}", "/a"),
}
"""Every format of JSON Schema 2020-12, each with texts of it."""


@dataclass
class Values:
    """Makes values of one document with one source of chance. `edges` is how often an edge is taken where there is one.

    `known` are texts that mean something to the tool: names that its world knows. With `lean` every bound is met at once.
    """

    document: Mapping[str, Any]
    chance: random.Random
    known: tuple[str, ...] = ()
    edges: float = 0.35
    lean: Lean = None

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
            "oneOf": lambda schema: self.any_of(_merged(schema, self._branch(schema["oneOf"], depth), "oneOf"), depth + 1),
            "anyOf": lambda schema: self.any_of(_merged(schema, self._branch(schema["anyOf"], depth), "anyOf"), depth + 1),
            "if": lambda schema: self.any_of(self._condition(schema), depth + 1),
        }

    def _branch(self, branches: Sequence[Any], depth: int) -> Any:
        """One of them; deep down one that leads no further, where there is one."""
        plain = [branch for branch in branches if "$ref" not in str(branch)]
        return self.chance.choice(plain if plain and depth > DEEP else branches)

    def _condition(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema with its condition met, or with what holds otherwise."""
        rest = {name: value for name, value in schema.items() if name not in ("if", "then", "else")}
        if self.chance.random() < 0.5:
            return _merged(_merged(rest, schema["if"], ""), schema.get("then", {}), "")
        return _merged(rest, schema.get("else", {}), "")

    def _target(self, reference: str) -> dict[str, Any]:
        place: Any = self.document
        for name in reference.removeprefix("#").strip("/").split("/"):
            place = place.get(name.replace("~1", "/").replace("~0", "~"), {}) if name and isinstance(place, Mapping) else place
        return place if isinstance(place, dict) else {}

    def _leaning(self, low: Any, high: Any, usual: Any) -> Any:
        return {"low": low, "high": high}.get(self.lean or "", usual)

    def _edge(self) -> bool:
        return self.chance.random() < self.edges

    def _integer(self, schema: dict[str, Any], _depth: int) -> int:
        low = _first(schema.get("minimum"), _plus(schema.get("exclusiveMinimum"), 1))
        high = _first(schema.get("maximum"), _plus(schema.get("exclusiveMaximum"), -1))
        low, high = (int(each) for each in _range(_whole(low, math.ceil), _whole(high, math.floor)))
        if "multipleOf" in schema:
            return int(self._multiple(schema["multipleOf"], low, high))
        edges = [low, high, min(high, low + 1), max(low, high - 1), *(each for each in _INTEGERS if low <= each <= high)]
        usual = self.chance.choice(edges) if self._edge() else self.chance.randint(low, max(low, high))
        return int(self._leaning(low, high, usual))

    def _number(self, schema: dict[str, Any], _depth: int) -> float | int:
        low = _first(schema.get("minimum"), schema.get("exclusiveMinimum"))
        high = _first(schema.get("maximum"), schema.get("exclusiveMaximum"))
        low, high = _range(low, high)
        if "multipleOf" in schema:
            return self._multiple(schema["multipleOf"], low, high)
        usual = round(self.chance.uniform(low, high), self.chance.choice((0, 1, 2, 6)))
        if self._edge():
            usual = self.chance.choice([low, high, *(each for each in _NUMBERS if low <= each <= high)])
        made: float | int = self._leaning(low, high, usual)
        return made

    def _multiple(self, step: float, low: float, high: float) -> float | int:
        """A multiple within the bounds, computed in decimals as JSON writes them."""
        unit = Decimal(str(step))
        least, most = math.ceil(Decimal(str(low)) / unit), math.floor(Decimal(str(high)) / unit)
        usual = self.chance.choice((least, most)) if self._edge() else self.chance.randint(least, max(least, most))
        times = self._leaning(least, most, usual)
        made = times * unit
        return int(made) if made == int(made) else float(made)

    def _string(self, schema: dict[str, Any], _depth: int) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
        if self.known and self.chance.random() < 0.5 and fits(text := self.chance.choice(self.known), schema):
            return text
        made = ""
        for _ in range(TRIES):
            made = self._text(schema, least, most)
            if least <= len(made) <= most:
                break
        return made

    def _text(self, schema: dict[str, Any], least: int, most: float) -> str:
        if isinstance(schema.get("pattern"), str):
            lean: Lean = self.lean or (self.chance.choice(("low", "high", "high")) if self._edge() else None)
            return text_of(schema["pattern"], self.chance, lean, few=max(FEW_REPEATS, least))
        if schema.get("format") in FORMATS:
            return self.chance.choice(FORMATS[schema["format"]])
        longest = int(min(most, 1000 if "maxLength" in schema else MOST_TEXT))
        length = (
            self.chance.choice([least, longest, least + 1])
            if self._edge()
            else self.chance.randint(least, max(least, min(longest, MOST_TEXT)))
        )
        alphabet = self.chance.choice(_ALPHABETS) if self.chance.random() < 0.5 else _ALPHABETS[0] + _ALPHABETS[1]
        return "".join(self.chance.choice(alphabet) for _ in range(max(least, min(length, longest))))

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        before, after = schema.get("prefixItems", []), schema.get("items", {})
        least, most = schema.get("minItems", 0), schema.get("maxItems", MOST_ITEMS)
        most = min(most, len(before)) if after is False else most
        few = max(least, min(most, MOST_ITEMS if depth < DEEP else 2 if depth < 2 * DEEP else 0))
        usual = self.chance.choice([least, few]) if self._edge() else self.chance.randint(least, few)
        length = self._leaning(least, few, usual)
        made = [self.any_of(before[index] if index < len(before) else after, depth + 1) for index in range(length)]
        if "contains" in schema:
            wanted = [self.any_of(schema["contains"], depth + 1) for _ in range(schema.get("minContains", 1))]
            made = [*made[: len(before)], *wanted, *made[len(before) + len(wanted) :]]
        if schema.get("uniqueItems"):
            more = (self.any_of(after, depth + 1) for _ in range(10 * least))
            return _distinct(made, more, least)
        if made and not before and "contains" not in schema and not self.lean and self._edge():
            made[-1] = made[0]  # the same twice is what keys are for
        return made

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties, least, most = schema.get("properties", {}), schema.get("minProperties", 0), schema.get("maxProperties", math.inf)
        chosen = dict.fromkeys(schema.get("required", ()))
        share = self._leaning(0.0, 1.0, self.chance.choice((0.0, 0.5, 1.0, 1.0))) if depth < DEEP else 0.0
        for name in self.chance.sample(sorted(properties), len(properties)):
            if len(chosen) < most and (len(chosen) < least or self.chance.random() < share):
                chosen[name] = None
        for name, others in schema.get("dependentRequired", {}).items():
            chosen |= dict.fromkeys(others) if name in chosen else {}
        made = {name: self.any_of(properties.get(name, {}), depth + 1) for name in [*properties, *chosen] if name in chosen}
        return made | self._extra(schema, depth, int(least) - len(made), most - len(made))

    def _extra(self, schema: dict[str, Any], depth: int, least: int, most: float) -> dict[str, Any]:
        """Properties whose names the schema leaves open: by pattern, or any."""
        patterns = schema.get("patternProperties", {})
        extra = schema.get("additionalProperties", False)
        kinds = [({"pattern": pattern}, value) for pattern, value in patterns.items()]
        kinds += [({"pattern": "^[a-z_]{1,8}$"}, extra)] if isinstance(extra, dict) else []
        made: dict[str, Any] = {}
        if not kinds or most <= 0:
            return made
        wanted = max(least, self.chance.randint(0, int(min(3, most))) if depth < DEEP else 0)
        for _ in range(4 * wanted):
            name, value = self.chance.choice(kinds)
            if len(made) < wanted:
                made[self._string({"type": "string", **name, **schema.get("propertyNames", {})}, depth)] = self.any_of(value, depth + 1)
        return made

    def _anything(self) -> Any:
        return self.chance.choice((None, True, 0, -1, 1.5, "", "text", [], {}))


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
    both["properties"] = dict(rest.get("properties", {}))
    for name, child in other.get("properties", {}).items():
        both["properties"][name] = _merged(child, both["properties"].get(name, {}), "") | child if isinstance(child, dict) else child
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


def _whole(value: Any, rounded: Callable[[float], int]) -> Any:
    return None if value is None else rounded(value)


def _plus(value: Any, more: int) -> Any:
    return None if value is None else value + more


def _distinct(made: Sequence[Any], more: Iterable[Any], least: int) -> list[Any]:
    """Each value once; from `more` as many as are lacking."""
    seen: list[Any] = []
    for value in made:
        if value not in seen:
            seen.append(value)
    for value in more if len(seen) < least else ():
        if value not in seen and len(seen) < least:
            seen.append(value)
    return seen
