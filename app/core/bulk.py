"""Statements over many rows at once: the rows reach the database as one JSON text, in one call of the driver.

A driver gives up the interpreter's lock for each statement that it executes. A thread that executes one for each row waits each time
for a busy event loop to let it go on, up to 5 ms a row; a thread that executes one for all rows waits once.

It refuses to be: a query builder. A statement is written out, in words that SQLite and PostgreSQL share.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session

_SHARED = re.compile(r"(?<![:\w]):(\w+)")
_SQLITE = "json_each(:rows)"
_POSTGRESQL = "json_array_elements(CAST(:rows AS json)) WITH ORDINALITY AS line(value, number)"
_OF_POSTGRESQL = {"{in_order}": "ORDER BY r.n", "{locked}": "ORDER BY e.id FOR UPDATE OF e"}
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Bulk:
    """A statement whose text says `{rows}` where its rows stand as a table `r`, and `:name` for a value that all rows share.

    `columns` names the rows' columns with types that both databases know, such as `id text, fence bigint`; a row of a single column is
    that value alone. `r.n` is a row's number, from 0. On PostgreSQL `{in_order}` keeps the rows' order and `{locked}` locks what `e`
    names in the order of its ids; SQLite has one writer, and goes through `r` in order where it comes first in a CROSS JOIN.
    """

    def __init__(self, columns: str, text: str, gives: str = "", guard: str = "") -> None:
        """For `guarded`: `gives` names what a query selects, `guard` (a table and a condition) the row that must be there."""
        self._columns = [(name, kind) for name, kind in (column.split() for column in columns.split(","))]
        self._text = text
        self._gives = gives
        self._guard = guard
        self._texts: dict[str, str] = {}

    def execute(self, session: Session, rows: Sequence[Any], **shared: Any) -> sa.CursorResult[Any]:
        """The result; cells are text without NUL, whole numbers or None."""
        dialect = session.get_bind().dialect.name
        if dialect not in self._texts:
            self._texts[dialect] = self._for(dialect)
        return session.connection().exec_driver_sql(self._texts[dialect], {"rows": _to_json(rows), **shared})

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

    def _cells(self, sqlite: bool) -> str:
        if len(self._columns) > 1:
            cells = [f"value->>{place}" for place in range(len(self._columns))]
        else:  # SQLite parses a row's text anew for each cell, but not a value that stands alone
            cells = ["value" if sqlite else "value#>>'{}'"]
        typed = (f"CAST({cell} AS {kind}) AS {name}" for cell, (name, kind) in zip(cells, self._columns, strict=True))
        return ", ".join(["key AS n" if sqlite else "number - 1 AS n", *typed])

    def _for(self, dialect: str) -> str:
        sqlite = dialect == "sqlite"
        rows = f"(SELECT {self._cells(sqlite)} FROM {_SQLITE if sqlite else _POSTGRESQL}) AS r"  # noqa: S608  # all of it is text of this program
        text = self._text.replace("{rows}", rows)
        for mark, words in _OF_POSTGRESQL.items():
            text = text.replace(mark, "" if sqlite else words)
        if sqlite and self._gives:
            text = f"SELECT json_group_array(json_array({self._gives})) FROM ({text})"  # noqa: S608  # as above
        if self._guard and sqlite:
            text = f"SELECT ({text}) FROM {self._guard}"  # noqa: S608  # as above
        elif self._guard:  # locked before what the query locks
            text = f"SELECT found.* FROM (SELECT 1 FROM {self._guard} FOR SHARE) AS held LEFT JOIN ({text}) AS found ON true"  # noqa: S608  # as above
        return text if sqlite else _SHARED.sub(r"%(\1)s", text)
