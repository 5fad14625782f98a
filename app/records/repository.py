"""All SQL over records. Private to this room.

Pages go by key, filters are evaluated in SQL (JSON extraction on SQLite and on PostgreSQL), and rows are taken from the
database as they are consumed, so that a collection of a million records is never in memory.

It refuses to be: the rules of what a record may be (`documents`); what comes here has been checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from app.core.db import CHUNK, insert_missing, now
from app.records.chunking import Chunk
from app.records.documents import Scalar
from app.records.models import Record, Snapshot, SnapshotChunk, SnapshotPart

_TABLE: sa.Table = Record.__table__  # type: ignore[attr-defined]  # set by sqlmodel's metaclass
_PARTS: sa.Table = SnapshotPart.__table__  # type: ignore[attr-defined]  # as above
_CHUNKS: sa.Table = SnapshotChunk.__table__  # type: ignore[attr-defined]  # as above
SNAPSHOT_ORDER = (col(Snapshot.created_at), col(Snapshot.id))
_PAGE_BYTES = 2 << 20
_SNAPSHOTS = 7_140_013  # PostgreSQL: the lock of keeping and forgetting snapshots
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
    with session.connection().execute(query.execution_options(yield_per=200)) as result:
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


def stream(session: Session, tenant: str, collection: str, choices: Mapping[str, Sequence[Scalar]]) -> Iterator[tuple[str, int, str]]:
    """Key, version and body text of every record that the filter finds, in byte order of keys, as they are at one moment."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    query = (
        sa.select(_TABLE.c.key, _TABLE.c.version, sa.cast(_TABLE.c.body, sa.Text))
        .where(_TABLE.c.tenant == tenant, _TABLE.c.collection == collection)
        .where(*(_condition(field, values, is_sqlite) for field, values in choices.items()))
        .order_by(_TABLE.c.key)
    )
    with session.connection().execute(query.execution_options(yield_per=1000)) as result:
        yield from ((key, version, text) for key, version, text in result)


def add_chunks(session: Session, tenant: str, chunks: Sequence[Chunk]) -> None:
    """Keep chunks; those that are there already stay as they are."""
    rows = {chunk.digest: {"tenant": tenant, "digest": chunk.digest, "content": chunk.content} for chunk in chunks}
    insert_missing(session, _CHUNKS, [rows[digest] for digest in sorted(rows)])


def find_snapshot(session: Session, tenant: str, id_: str) -> Snapshot | None:
    """One snapshot or None."""
    return session.get(Snapshot, (tenant, id_))


def snapshots_of(tenant: str, collection: str | None) -> Any:
    """The query of a tenant's snapshots, for a page of them."""
    query = select(Snapshot).where(Snapshot.tenant == tenant)
    return query if collection is None else query.where(Snapshot.collection == collection)


def add_snapshot(session: Session, row: Snapshot, parts: Sequence[tuple[str, str]]) -> bool:
    """Keep a snapshot; `parts` are the last key and digest of each chunk. False where a chunk is gone: another was forgotten meanwhile."""
    _one_at_a_time(session)
    digests = sorted({digest for _, digest in parts})
    there = 0
    for start in range(0, len(digests), CHUNK):
        some = _CHUNKS.c.digest.in_(digests[start : start + CHUNK])
        there += session.connection().execute(sa.select(sa.func.count()).where(_CHUNKS.c.tenant == row.tenant, some)).scalar_one()
    if there != len(digests):
        return False
    session.add(row)
    session.flush()
    rows = [{"tenant": row.tenant, "snapshot": row.id, "last_key": last, "digest": digest} for last, digest in parts]
    insert_missing(session, _PARTS, rows)
    return True


def parts_after(session: Session, tenant: str, id_: str, after: str | None, limit: int) -> list[tuple[str, bytes]]:
    """Last key and content of the first `limit` chunks of a snapshot that hold a key after `after`."""
    query = (
        sa.select(_PARTS.c.last_key, _CHUNKS.c.content)
        .join(_CHUNKS, sa.and_(_CHUNKS.c.tenant == _PARTS.c.tenant, _CHUNKS.c.digest == _PARTS.c.digest))
        .where(_PARTS.c.tenant == tenant, _PARTS.c.snapshot == id_)
        .order_by(_PARTS.c.last_key)
        .limit(limit)
    )
    if after is not None:
        query = query.where(_PARTS.c.last_key > after)
    return [(last_key, content) for last_key, content in session.connection().execute(query)]


def forget_snapshot(session: Session, tenant: str, id_: str) -> None:
    """Delete a snapshot with its parts, and the chunks of it that no other snapshot holds."""
    _one_at_a_time(session)
    connection = session.connection()
    mine = sa.and_(_PARTS.c.tenant == tenant, _PARTS.c.snapshot == id_)
    digests = sorted(set(connection.execute(sa.select(_PARTS.c.digest).where(mine)).scalars()))
    connection.execute(sa.delete(_PARTS).where(mine))
    still = sa.select(_PARTS.c.digest).where(_PARTS.c.tenant == tenant, _PARTS.c.digest == _CHUNKS.c.digest).exists()
    for start in range(0, len(digests), CHUNK):
        some = _CHUNKS.c.digest.in_(digests[start : start + CHUNK])
        connection.execute(sa.delete(_CHUNKS).where(_CHUNKS.c.tenant == tenant, some, ~still))
    session.delete(session.get_one(Snapshot, (tenant, id_)))


def _one_at_a_time(session: Session) -> None:
    """Whoever keeps a snapshot and whoever forgets one must not miss each other's chunks; SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection().exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SNAPSHOTS})")
