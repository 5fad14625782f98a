"""Tables of records."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class JsonText(sa.types.TypeDecorator[dict[str, Any]]):
    """A JSON object as compact UTF-8 text. Text that is bound is taken as JSON already written.

    Not `sa.JSON`: that escapes what is not ASCII, and SQLite finds no field whose name is escaped.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return value if value is None or isinstance(value, str) else _ENCODE(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else json.loads(value)


# Byte order on both databases, so that pages come in one order and PostgreSQL serves them from the primary key.
_Ordered = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


class Record(SQLModel, table=True):
    """A JSON document in a collection. `version` counts its writes from 1."""

    __tablename__ = "record"
    tenant: str = Field(primary_key=True, sa_type=_Ordered)
    collection: str = Field(primary_key=True, sa_type=_Ordered)
    key: str = Field(primary_key=True, sa_type=_Ordered)
    body: dict[str, Any] = Field(sa_type=JsonText)
    version: int = 1
    updated_at: int = Field(sa_type=sa.BigInteger)


class Snapshot(SQLModel, table=True):
    """Records as they were, for good. `id` follows from what is in it: collection, keys, bodies, versions."""

    __tablename__ = "snapshot"
    __table_args__ = (sa.Index("snapshot_newest", "tenant", "created_at", "id"),)
    tenant: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    collection: str
    filter: dict[str, Any] = Field(sa_type=JsonText)
    count: int = Field(sa_type=sa.BigInteger)
    bytes: int = Field(sa_type=sa.BigInteger)
    created_at: int = Field(sa_type=sa.BigInteger)
    created_by: str


class SnapshotPart(SQLModel, table=True):
    """Which chunk holds a snapshot's records up to `last_key`."""

    __tablename__ = "snapshot_part"
    __table_args__ = (sa.Index("snapshot_part_by_chunk", "tenant", "digest"),)
    tenant: str = Field(primary_key=True)
    snapshot: str = Field(primary_key=True)
    last_key: str = Field(primary_key=True, sa_type=_Ordered)
    digest: str


class SnapshotChunk(SQLModel, table=True):
    """Some records by key, compressed; kept once however many snapshots hold them."""

    __tablename__ = "snapshot_chunk"
    tenant: str = Field(primary_key=True)
    digest: str = Field(primary_key=True)
    content: bytes
