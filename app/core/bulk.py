"""Statements over many rows at once, in one call of the driver.

A driver gives up the interpreter's lock for each statement that it executes. A thread that executes one for each row waits each time
for a busy event loop to let it go on, up to 5 ms a row; a thread that executes one for all rows waits once.

PostgreSQL gets the rows as one JSON text. SQLite parses a row of such a text anew for each of its cells, which took half of some
statements' time, so it gets the cells as values, and a JSON text only of rows that are one value each.

It refuses to be: a query builder. A statement is written out, in words that SQLite and PostgreSQL share.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session

_FIRST = itemgetter(0)
_SHARED = re.compile(r"(?<![:\w]):(\w+)")
_POSTGRESQL = "json_array_elements(CAST(:rows AS json)) WITH ORDINALITY AS line(value, number)"
_OF_POSTGRESQL = {"{in_order}": "ORDER BY r.n", "{locked}": "ORDER BY e.id FOR UPDATE OF e"}
MOST_ROWS = 2000
"""Of one statement: SQLite binds 32,766 values."""
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Bulk:
    """A statement whose text says `{rows}` where its rows stand as a table `r`, and `:name` for a value that all rows share.

    `columns` names the rows' columns with types that both databases know, such as `id text, fence bigint`; the first of them is never
    null. A row of a single column is that value alone, and has `r.n`, its number from 0. On PostgreSQL `{in_order}` keeps the rows' order
    and `{locked}` locks what `e` names in the order of its ids; SQLite has one writer, and goes through `r` in order where it comes first
    in a CROSS JOIN.
    """

    def __init__(self, columns: str, text: str, gives: str = "", guard: str = "") -> None:
        """For `guarded`: `gives` makes a JSON text of a row for SQLite, `guard` (a table and a condition) is the row that must be there."""
        self._columns = [(name, kind) for name, kind in (column.split() for column in columns.split(","))]
        self._text = text
        self._gives = gives
        self._guard = guard
        self._shared = list(dict.fromkeys(_SHARED.findall(f"{text} {guard}")))
        self._texts: dict[tuple[str, int], str] = {}

    def execute(self, session: Session, rows: Sequence[Any], **shared: Any) -> sa.CursorResult[Any]:
        """The result for `MOST_ROWS` at most; cells are text without NUL, whole numbers or None.

        Raises ValueError for a row whose first cell is None.
        """
        dialect = session.get_bind().dialect.name
        apart = dialect == "sqlite" and len(self._columns) > 1
        if None in (map(_FIRST, rows) if len(self._columns) > 1 else rows):
            raise ValueError("the first cell of a row stands for the row, and is never null")
        room = _room(len(rows)) if apart else 0
        if (dialect, room) not in self._texts:
            self._texts[dialect, room] = self._apart(room) if apart else self._together(dialect)
        text = self._texts[dialect, room]
        if not apart:
            return session.connection().exec_driver_sql(text, {"rows": _to_json(rows), **shared})
        empty = (None,) * (len(self._columns) * (room - len(rows)))
        values = (*(shared[name] for name in self._shared), *itertools.chain.from_iterable(rows), *empty)
        return session.connection().exec_driver_sql(text, values)

    def guarded(self, session: Session, rows: Sequence[Any], **shared: Any) -> list[Sequence[Any]] | None:
        """What a query gives, in the same call as its guard, whose row nobody else changes until the transaction is over; None where that
        is not there. What is selected first is never null.

        SQLite makes one JSON text of it: its driver gives up the lock for each row that it fetches, too.
        """
        found = self.execute(session, rows, **shared).all()
        if not found:
            return None
        if session.get_bind().dialect.name != "sqlite":
            return [row for row in found if row[0] is not None]
        answer: list[Sequence[Any]] = json.loads(found[0][0])
        return answer

    def _apart(self, room: int) -> str:
        """For SQLite and up to so many rows, whose cells are bound one by one behind what is shared. Where the first is null is no row."""
        width, before = len(self._columns), len(self._shared)
        first = (f"?{before + 1}",)  # and the others count on: SQLite searches all numbers that are given for each one more
        cells = itertools.chain(first, itertools.repeat("?", width * room - 1))
        values = ", ".join(f"({', '.join(row)})" for row in zip(*[cells] * width, strict=True))
        named = ", ".join(f"column{place} AS {name}" for place, (name, _) in enumerate(self._columns, 1))
        rows = f"(SELECT {named} FROM (VALUES {values}) WHERE column1 IS NOT NULL) AS r"  # noqa: S608  # all of it is text of this program
        places = {name: f"?{place}" for place, name in enumerate(self._shared, 1)}
        return _SHARED.sub(lambda found: places[found[1]], self._for_sqlite(rows))

    def _together(self, dialect: str) -> str:
        """For rows in one JSON text."""
        if dialect == "sqlite":  # it parses a row's text anew for each cell, but not a value that stands alone
            ((name, kind),) = self._columns
            rows = f"(SELECT key AS n, CAST(value AS {kind}) AS {name} FROM json_each(:rows)) AS r"  # noqa: S608  # as above
            return self._for_sqlite(rows)
        text = self._text.replace("{rows}", f"(SELECT {self._cells()} FROM {_POSTGRESQL}) AS r")  # noqa: S608  # as above
        for mark, words in _OF_POSTGRESQL.items():
            text = text.replace(mark, words)
        if self._guard:  # locked before what the query locks
            text = f"SELECT found.* FROM (SELECT 1 FROM {self._guard} FOR SHARE) AS held LEFT JOIN ({text}) AS found ON true"  # noqa: S608  # as above
        return _SHARED.sub(r"%(\1)s", text)

    def _for_sqlite(self, rows: str) -> str:
        text = self._text
        for mark in _OF_POSTGRESQL:
            text = text.replace(mark, "")
        text = text.replace("{rows}", rows)
        if self._gives:
            text = f"SELECT '[' || coalesce(group_concat({self._gives}), '') || ']' FROM ({text})"  # noqa: S608  # as above
        return f"SELECT ({text}) FROM {self._guard}" if self._guard else text  # noqa: S608  # as above

    def _cells(self) -> str:
        cells = [f"value->>{place}" for place in range(len(self._columns))] if len(self._columns) > 1 else ["value#>>'{}'"]
        typed = (f"CAST({cell} AS {kind}) AS {name}" for cell, (name, kind) in zip(cells, self._columns, strict=True))
        return ", ".join(["number - 1 AS n", *typed])


def parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Any number of rows in parts that a statement takes."""
    for start in range(0, len(rows), MOST_ROWS):
        yield rows[start : start + MOST_ROWS]


def _room(rows: int) -> int:
    """For how many rows a statement is made that has so many: at most a quarter more, so that few are made and kept."""
    rows = max(1, rows)
    step = 1 << max(0, (rows - 1).bit_length() - 3)
    return -(-rows // step) * step
