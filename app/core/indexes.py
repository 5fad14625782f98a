"""Partial indexes, and questions put such that only the right index fits: SQLite's planner knows no numbers of rows.

It refuses to be: a hint. Each of these says in SQL what both databases understand.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def partial(name: str, *columns: str, where: str) -> sa.Index:
    """An index of the rows that fit `where`, on both databases."""
    return sa.Index(name, *columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def in_index(table: str, words: str) -> sa.TextClause:
    """The condition of a partial index in its own words: SQLite scans the whole table for a query that does not repeat them."""
    return sa.text(f"{table}.{words}")


def aside(column: Any) -> Any:
    """A column that no index is searched by: SQLite takes any index that begins with a tenant before a small one of what is open."""
    return column.concat("")
