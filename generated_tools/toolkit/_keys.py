"""Effect keys for trials: a list of paths and literals, evaluated as the host evaluates them.

It refuses to be: the authority. The host computes every real key; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)|(?P<text>'[^'"\\]*'|"[^'"\\]*")|(?P<number>-?[0-9]+))\s*(?:,|$)""",
    re.VERBOSE | re.ASCII,
)


class KeyUnusable(ValueError):
    """No key can be made: a path is missing, or holds what tells nothing apart."""


def key_of(expression: str, args: Mapping[str, Any], item: Mapping[str, Any]) -> list[str | int | bool]:
    """The values of a key such as `[args.order_id, item.to, 'v1']`. Raises KeyUnusable."""
    inner = expression.strip().removeprefix("[").removesuffix("]").strip()
    roots = {"args": args, "item": item}
    values: list[str | int | bool] = []
    at = 0
    while at < len(inner):
        token = _TOKEN.match(inner, at)
        if token is None:
            raise KeyUnusable(f"the key {expression!r} is not a list of paths and literals")
        at = token.end()
        if token["path"]:
            values.append(_scalar(token["path"], roots))
        else:
            values.append(token["text"][1:-1] if token["text"] else int(token["number"]))
    return values


def _scalar(path: str, roots: Mapping[str, Any]) -> str | int | bool:
    value: Any = roots
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise KeyUnusable(f"{path} is missing, so no key can be made of it")
        value = value[name]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str | bool) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    raise KeyUnusable(f"{path} holds {type(value).__name__}, of which no key can be made")
