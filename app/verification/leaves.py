"""What a JSON value holds in the end, and where: its texts, numbers, truths and nulls, each with its place.

It refuses to be: of an opinion about any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Place = tuple[str | int, ...]
"""The names and numbers on the way from the whole value."""


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Each leaf with its place, in order; empty objects and lists have none."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from leaves(part, (*place, str(name)))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from leaves(part, (*place, index))
    else:
        yield place, value
