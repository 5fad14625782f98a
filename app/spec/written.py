"""A spec as it stands in a file: JSON as strict as the host's own.

Python's reader takes `NaN` for a number and the last of two equal names for what is meant; another reader of the same file would see
another spec. It refuses to be: the lint. What is read here is any JSON value.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MOST_INTEGER = 2**53 - 1
"""What every reader of JSON holds exactly (RFC 8259, section 6)."""
MOST_DEPTH = 200
_SHOWN = 40


def read_json(text: str) -> Any:
    """The value. Raises ValueError, whose text says what is wrong, in one sentence without its end."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_refused)
    except RecursionError:
        raise ValueError(f"nests deeper than {MOST_DEPTH} levels") from None
    if deeper_than(value, MOST_DEPTH):
        raise ValueError(f"nests deeper than {MOST_DEPTH} levels")
    return value


def deeper_than(value: Any, depth: int) -> bool:
    """Whether a JSON value nests over `depth` levels; found without recursion."""
    level = [value]
    for _ in range(depth):
        level = [part for each in level if isinstance(each, dict | list) for part in (each.values() if isinstance(each, dict) else each)]
        if not level:
            return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"has the name {name[:_SHOWN]!r} twice in one object")
        made[name] = value
    return made


def _integer(digits: str) -> int:
    if len(digits) > _SHOWN or abs(int(digits)) > MOST_INTEGER:
        raise ValueError(f"has a whole number beyond {MOST_INTEGER}, which not every reader holds exactly: {digits[:_SHOWN]}")
    return int(digits)


def _number(digits: str) -> float:
    if math.isinf(float(digits)):
        raise ValueError(f"has a number that is too large: {digits[:_SHOWN]}")
    return float(digits)


def _refused(word: str) -> NoReturn:
    raise ValueError(f"has {word}, which is no JSON")
