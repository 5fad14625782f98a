"""Keys of effects and runs, ledger columns and undo items: CEL restricted to scalar paths and literals.

A key is a CEL list such as `[args.campaign_id, item.to, 'v1']`. Its elements are paths of the named roots or text and
integer literals, nothing else, so that it is evaluated by plain look-ups: no library, no binding of whole arguments
(100,000 bound recipients cost 530 ms), the same in the guest's trial as on the host. It stays CEL: a test compares it
with the library on random cases.

It refuses to be: an expression language. Arithmetic, functions and indexes belong to invariants.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.core.errors import Invalid

Scalar = str | int | bool
Path = tuple[str, ...]

IDENTITY_FORMAT = "effect/1"
_LARGEST = 2**53 - 1
_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop", "namespace"}
    | {"null", "package", "return", "true", "var", "void", "while"}
)
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_TOKEN = re.compile(
    r"""\s*(?:(?P<path>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
         |(?P<text>'[^'"\\\r\n]*'|"[^'"\\\r\n]*")
         |(?P<number>-?(?:0|[1-9][0-9]{0,14}))
         |(?P<mark>[\[\],]))""",
    re.VERBOSE,
)


class BadKey(ValueError):
    """The text is outside the restricted language; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One element: the path that it reads, or the literal that it is."""

    path: Path | None = None
    literal: str | int | None = None

    def __str__(self) -> str:
        return ".".join(self.path) if self.path else json.dumps(self.literal)


@dataclass(frozen=True, slots=True)
class KeyExpression:
    """A compiled key. `paths` are the paths it reads, in order, as tuples such as `("item", "to")`."""

    text: str
    parts: tuple[Part, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(part.path for part in self.parts if part.path)

    def varies_with(self, root: str) -> bool:
        """Whether some path starts at `root`."""
        return any(path[0] == root for path in self.paths)

    def evaluate(self, args: Mapping[str, Any], item: Mapping[str, Any] | None = None) -> list[Scalar]:
        """The key's values. Raises Invalid `key_unusable` where a path is missing, null, a list, an object or not exact."""
        return self.bind(args)(item or {})

    def bind(self, args: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], list[Scalar]]:
        """The key as a function of the item alone, with the parts over `args` looked up once: about 1 µs an item."""
        fixed: list[Scalar | None] = []
        varying: list[tuple[int, Part]] = []
        for index, part in enumerate(self.parts):
            if part.path and part.path[0] != "args":
                varying.append((index, part))
                fixed.append(None)
            else:
                fixed.append(_scalar(_look_up(part, {"args": args}), part))

        def values(item: Mapping[str, Any]) -> list[Scalar]:
            key = fixed.copy()
            for index, part in varying:
                key[index] = _scalar(_look_up(part, {"item": item}), part)
            return key  # type: ignore[return-value]  # each None has just been replaced

        return values


@dataclass(frozen=True, slots=True)
class ValueExpression:
    """One path or literal on its own: a ledger's group or subject, a field of an undo item."""

    text: str
    part: Part

    def evaluate(self, roots: Mapping[str, Any]) -> Any:
        """The value, of any JSON type. Raises Invalid `key_unusable` where the path is missing."""
        return _look_up(self.part, roots)

    def scalar(self, roots: Mapping[str, Any]) -> Scalar:
        """The value, which must be text, a whole number or a truth value. Raises Invalid `key_unusable`."""
        return _scalar(_look_up(self.part, roots), self.part)


@lru_cache(maxsize=4096)
def compile_key(text: str, roots: tuple[str, ...] = ("args", "item")) -> KeyExpression:
    """Parse a key. Raises BadKey with what is wrong. Nothing is evaluated and no library is called."""
    tokens = _tokens(text)
    if len(tokens) < 3 or tokens[0] != ("mark", "[") or tokens[-1] != ("mark", "]"):
        raise BadKey("a key is a list with at least one element, such as [args.order_id, item.to]")
    parts = []
    for position, token in enumerate(tokens[1:-1]):
        if position % 2:
            if token != ("mark", ","):
                raise BadKey(f"a comma was expected before {token[1]!r}")
        else:
            parts.append(_part(token, roots))
    if len(tokens) % 2 == 0:
        raise BadKey("an element is missing after the last comma")
    return KeyExpression(text, tuple(parts))


@lru_cache(maxsize=4096)
def compile_value(text: str, roots: tuple[str, ...] = ("args", "item")) -> ValueExpression:
    """Parse a single path or literal. Raises BadKey."""
    tokens = _tokens(text)
    if len(tokens) != 1:
        raise BadKey("one path or one literal was expected, such as args.order_id or 'all'")
    return ValueExpression(text, _part(tokens[0], roots))


def effect_identity(tenant: str, tool: str, effect_id: str, key_values: Sequence[Scalar]) -> str:
    """SHA-256 (hex) of the RFC 8785 form of `[format, tenant, tool, effect, …key]`. It holds across versions of a tool."""
    return hashlib.sha256(_canonical_list([IDENTITY_FORMAT, tenant, tool, effect_id, *key_values])).hexdigest()


def run_identity(key_values: Sequence[Scalar]) -> str:
    """The text that stands for a spec's `run_key` values in the identity row."""
    return _canonical_list(key_values).decode()


def _canonical_list(values: Sequence[Scalar]) -> bytes:
    # For text, truth values and integers within 2**53 the standard encoder's output is RFC 8785's, at a tenth of the cost
    # (a test compares them); `_scalar` lets nothing else through.
    return _ENCODE(values).encode()


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise BadKey(f"only paths, text and integers are allowed here; {text[at:end].strip()[:40]!r} is neither")
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


def _part(token: tuple[str, str], roots: tuple[str, ...]) -> Part:
    kind, text = token
    if kind == "text":
        return Part(literal=text[1:-1])
    if kind == "number":
        return Part(literal=int(text))
    path = tuple(text.split("."))
    if kind != "path" or path[0] not in roots:
        raise BadKey(f"{text!r} is no path of {' or '.join(roots)}")
    if len(path) < 2:
        raise BadKey(f"{text!r} is a whole object; name one of its fields")
    if reserved := _RESERVED.intersection(path):
        raise BadKey(f"{min(reserved)!r} is a reserved word of CEL and cannot be part of a path")
    return Part(path=path)


def _look_up(part: Part, roots: Mapping[str, Any]) -> Any:
    if part.path is None:
        return part.literal
    value: Any = roots
    for name in part.path:
        try:
            value = value[name]
        except (KeyError, TypeError, IndexError):
            raise _unusable(part, "is missing") from None
    return value


def _scalar(value: Any, part: Part) -> Scalar:
    kind = type(value)
    if kind is str:
        if value.isascii() or _encodable(value):
            return value  # type: ignore[no-any-return]  # it is text
        raise _unusable(part, "holds half of a surrogate pair")
    if kind is bool:
        return value  # type: ignore[no-any-return]  # it is a truth value
    if kind is float and value.is_integer():
        value = int(value)
    if type(value) is int:
        if -_LARGEST <= value <= _LARGEST:
            return value
        raise _unusable(part, "is a number that JSON cannot hold exactly")
    what = {type(None): "is null", list: "is a list", dict: "is an object", float: "is a number with a fraction"}
    raise _unusable(part, what.get(kind, f"is a {kind.__name__}"))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unusable(part: Part, what: str) -> Invalid:
    return Invalid(
        "key_unusable",
        f"{part} {what}, so no key can be made of it",
        fix="Pass a text, a whole number or a truth value there, or leave the path out of the key.",
    )
