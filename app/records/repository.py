"""All SQL over records. Private to this room.

Pages go by key, filters are evaluated in SQL (JSON extraction on SQLite and on PostgreSQL), and rows are taken from the
database as they are consumed, so that a collection of a million records is never in memory.

It refuses to be: the rules of what a record may be (`documents`); what comes here has been checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col

from app.core.db import CHUNK, now
from app.records.documents import Scalar
from app.records.models import Record

_TABLE: sa.Table = Record.__table__  # type: ignore[attr-defined]  # set by sqlmodel's metaclass
_PAGE_BYTES = 2 << 20
_NUMBER = ("integer", "real")


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it is read."""

    key: str
    body: dict[str, Any]
    version: int
    updated_at: int


def find(session: Session, tenant: str, collection: str, key: str) -> Row | None:
    """One record or None."""
    record = session.get(Record, (tenant, collection, key))
    return None if record is None else Row(record.key, record.body, record.version, record.updated_at)


def query_page(
    session: Session, tenant: str, collection: str, choices: Mapping[str, Sequence[Scalar]], after: str | None, limit: int
) -> tuple[list[Row], bool]:
    """At most `limit` records after the key `after`, in byte order of keys, and whether there are more.

    A page also ends at 2 MiB of bodies; it holds at least one record if there is one.
    """
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    query = (
        sa.select(_TABLE.c.key, sa.cast(_TABLE.c.body, sa.Text), _TABLE.c.version, _TABLE.c.updated_at)
        .where(_TABLE.c.tenant == tenant, _TABLE.c.collection == collection)
        .where(*(_condition(field, values, is_sqlite) for field, values in choices.items()))
        .order_by(_TABLE.c.key)
        .limit(limit + 1)
    )
    if after is not None:
        query = query.where(_TABLE.c.key > after)
    rows: list[Row] = []
    size = 0
    with session.connection().execution_options(yield_per=200).execute(query) as result:
        for key, text, version, updated_at in result:
            if len(rows) == limit or (rows and size + len(text) > _PAGE_BYTES):
                return rows, True
            rows.append(Row(key, json.loads(text), version, updated_at))
            size += len(text)
    return rows, False


def _condition(field: str, values: Sequence[Scalar], is_sqlite: bool) -> sa.ColumnElement[bool]:
    return sa.or_(*(_equal_sqlite(field, value) if is_sqlite else _equal_postgresql(field, value) for value in values))


def _equal_sqlite(field: str, value: Scalar) -> sa.ColumnElement[bool]:
    path = f'$."{field}"'
    kind = sa.func.json_type(_TABLE.c.body, path, type_=sa.Text)
    if value is None:
        return sa.func.coalesce(kind, "null") == "null"
    if isinstance(value, bool):
        return kind == ("true" if value else "false")
    bound = sa.literal(value, sa.Text if isinstance(value, str) else sa.Float if isinstance(value, float) else sa.BigInteger)
    extracted = sa.func.json_extract(_TABLE.c.body, path)
    return sa.and_(extracted == bound, kind == "text" if isinstance(value, str) else kind.in_(_NUMBER))


def _equal_postgresql(field: str, value: Scalar) -> sa.ColumnElement[bool]:
    stored = sa.cast(_TABLE.c.body, postgresql.JSONB)[sa.literal(field, sa.Text)]
    if value is None:
        stored = sa.func.coalesce(stored, sa.text("'null'::jsonb"))
    return stored == sa.cast(sa.literal(json.dumps(value, ensure_ascii=False), sa.Text), postgresql.JSONB)


def count_by_collection(session: Session, tenant: str) -> list[tuple[str, int]]:
    """Every collection that has a record, with how many; by name."""
    query = (
        sa.select(_TABLE.c.collection, sa.func.count())
        .where(_TABLE.c.tenant == tenant)
        .group_by(_TABLE.c.collection)
        .order_by(_TABLE.c.collection)
    )
    return [(name, count) for name, count in session.connection().execute(query)]


def upsert(session: Session, tenant: str, collection: str, texts: Mapping[str, str]) -> None:
    """Write bodies (JSON text by key).

    Keys are written in order: two sessions that write the same keys in different orders deadlock on PostgreSQL.
    """
    at = now(session)
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    insert = dialect.insert(_TABLE)
    statement = insert.on_conflict_do_update(
        index_elements=[_TABLE.c.tenant, _TABLE.c.collection, _TABLE.c.key],
        set_={"body": insert.excluded.body, "version": _TABLE.c.version + 1, "updated_at": insert.excluded.updated_at},
    )
    keys = sorted(texts)
    for start in range(0, len(keys), CHUNK):
        part = keys[start : start + CHUNK]
        rows = [{"tenant": tenant, "collection": collection, "key": k, "body": texts[k], "version": 1, "updated_at": at} for k in part]
        session.connection().execute(statement, rows)


def versions(session: Session, tenant: str, collection: str, keys: Sequence[str]) -> dict[str, int]:
    """The version that each of these keys has now."""
    found: dict[str, int] = {}
    for start in range(0, len(keys), CHUNK):
        query = sa.select(_TABLE.c.key, _TABLE.c.version).where(
            _TABLE.c.tenant == tenant, _TABLE.c.collection == collection, _TABLE.c.key.in_(keys[start : start + CHUNK])
        )
        found.update((key, version) for key, version in session.connection().execute(query))
    return found


def replace(session: Session, tenant: str, collection: str, key: str, text: str, expected_version: int) -> int | None:
    """Write one body only where the record has `expected_version` (0: where there is none); returns the new version or None."""
    at = now(session)
    if not 0 <= expected_version < 1 << 31:
        return None
    if expected_version == 0:
        dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
        row = {"tenant": tenant, "collection": collection, "key": key, "body": text, "version": 1, "updated_at": at}
        insert = dialect.insert(_TABLE).values(row).on_conflict_do_nothing().returning(_TABLE.c.version)
        return session.connection().execute(insert).scalar_one_or_none()
    where = (col(Record.tenant) == tenant, col(Record.collection) == collection, col(Record.key) == key)
    statement = sa.update(_TABLE).where(*where, _TABLE.c.version == expected_version)
    changed = session.connection().execute(statement.values(body=text, version=expected_version + 1, updated_at=at)).rowcount
    return expected_version + 1 if changed == 1 else None
