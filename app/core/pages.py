"""Keyset pages: a cursor names the last row that was seen, so page 10,000 costs as much as page 1.

It refuses to be: an offset. A cursor is opaque to callers and only good for the list that gave it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from typing_extensions import TypedDict  # pydantic takes typing's own from Python 3.12 on only

from app.core.db import Database
from app.core.errors import Invalid

T = TypeVar("T")
MOST = 500
_LARGEST = 1 << 63


class Page(TypedDict):
    """A list as REST and MCP answer it: `next_cursor` is null on the last page."""

    items: list[dict[str, Any]]
    next_cursor: str | None


def page(
    database: Database,
    query: Any,
    keys: Sequence[Any],
    show: Callable[[Any], dict[str, Any]],
    *,
    cursor: str | None = None,
    limit: int = 50,
    newest_first: bool = False,
) -> Page:
    """One page of `query` ordered by the columns `keys` (together unique). Raises Invalid `cursor_invalid`, `limit_invalid`."""
    if not 1 <= limit <= MOST:
        raise Invalid("limit_invalid", f"limit is {limit}; it must be 1 to {MOST}.", fix=f"Ask for at most {MOST} and follow next_cursor.")
    if cursor:
        position = sa.tuple_(*keys)
        after = sa.tuple_(*(sa.literal(value) for value in _position(cursor, keys)))
        query = query.where(position < after if newest_first else position > after)
    query = query.order_by(*(key.desc() if newest_first else key.asc() for key in keys)).limit(limit + 1)
    with database.reading() as session:
        rows = list(session.exec(query))
    more = len(rows) > limit
    rows = rows[:limit]
    following = encode([getattr(rows[-1], key.key) for key in keys]) if more else None
    return {"items": [show(row) for row in rows], "next_cursor": following}


def encode(values: list[Any]) -> str:
    """A cursor of the key values of the last row shown."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def decode(cursor: str, count: int) -> list[Any]:
    """The key values in a cursor, fit for a database. Raises Invalid `cursor_invalid`."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != count or not all(map(_fits, values)):
        raise _foreign()
    return values


def _position(cursor: str, keys: Sequence[Any]) -> list[Any]:
    values = decode(cursor, len(keys))
    if [type(value) for value in values] != [int if isinstance(key.type, sa.Integer) else str for key in keys]:
        raise _foreign()
    return values


def _fits(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return type(value) is int and -_LARGEST <= value < _LARGEST


def _foreign() -> Invalid:
    return Invalid("cursor_invalid", "This cursor was not given by this list.", fix="Start without a cursor.")
