"""Snapshots: the records of a collection, or those that a filter finds, as they are now, for good.

A snapshot is named by its content: taken again while nothing has changed it is the same one, and costs nothing; where little has
changed it costs little, since chunks are shared. A reference, `{"snapshot": id}`, stands for any number of records in arguments.

It refuses to be: a backup. It is read page by page like a collection, and it is not written back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from app.access.permissions import use_case
from app.core import pages
from app.core.actor import Actor
from app.core.clock import iso
from app.core.db import Database, now
from app.core.errors import Conflict, Invalid, NotFound, TooLarge
from app.observability import audit
from app.records import repository
from app.records.chunking import Chunk, Row, chunked, records_in, snapshot_id
from app.records.documents import Filter, check_collection, check_filter, matches
from app.records.models import Snapshot
from app.records.reading import MAX_LIMIT, Page, RecordView, cursor_of, key_of

ID_PATTERN = r"^snap_[0-9a-z_]{1,64}$"
MOST_AT_ONCE = 200_000
_ID = re.compile(ID_PATTERN.replace("$", r"\Z"))
_TOGETHER = 50  # chunks in one transaction: about 12,000 records
_CHUNKS_A_PAGE = 40
_PAGE_BYTES = 2 << 20


@dataclass(slots=True)
class _Tally:
    parts: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0
    size: int = 0

    def add(self, chunk: Chunk) -> None:
        self.parts.append((chunk.last_key, chunk.digest))
        self.count += chunk.count
        self.size += chunk.size


@use_case("records:write")
def take_snapshot(actor: Actor, database: Database, collection: str, filter_: Filter | None = None) -> dict[str, Any]:
    """Take one: `{"id", "collection", "filter", "count", "bytes", "created_at", "created_by"}`; audited.

    The records are those of one moment, and memory stays flat however many they are. Raises Invalid `collection_invalid`, `filter_invalid`.
    """
    check_collection(collection)
    choices = check_filter(filter_)
    tally = _Tally()
    with database.reading() as reading:
        rows = repository.stream(reading, actor.tenant, collection, choices)
        for group in _grouped(chunked(rows)):
            with database.writing() as session:
                repository.add_chunks(session, actor.tenant, group)
            for chunk in group:
                tally.add(chunk)
    with database.writing() as session:
        row = _store(session, actor.tenant, snapshot_id(collection, _digests(tally)), collection, filter_, tally, actor.id)
        audit.record(session, actor, "snapshot.taken", row.id, "done", collection=collection, count=row.count)
        return shown(row)


def take(session: Session, tenant: str, collection: str, filter_: Filter | None, by: str, most: int = MOST_AT_ONCE) -> dict[str, Any]:
    """Take one in this transaction. Raises TooLarge `snapshot_too_large` beyond `most` records, and Invalid as `take_snapshot` does."""
    tally = _taken(session, tenant, collection, filter_, most)
    return shown(_store(session, tenant, snapshot_id(collection, _digests(tally)), collection, filter_, tally, by))


def take_as(session: Session, tenant: str, name: str, collection: str) -> None:
    """Take one under a name of the caller's choice: for the small worlds of examples, whose arguments are written beforehand."""
    _store(session, tenant, name, collection, None, _taken(session, tenant, collection, None, MOST_AT_ONCE), "example")


def page_of(
    session: Session, tenant: str, id_: str, collections: Iterable[str], filter_: Filter | None, cursor: str | None, limit: int
) -> Page:
    """One page of a snapshot of one of `collections`, like `reading.page`; with a filter it may be empty and yet have a next one.

    Raises NotFound `snapshot_not_found`, also for a snapshot of another collection, and Invalid for a wrong filter, cursor or limit.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid("limit_invalid", f"A page has 1 to {MAX_LIMIT} records.", fix="Ask for fewer and follow next_cursor.")
    choices = check_filter(filter_)
    found = repository.find_snapshot(session, tenant, id_) if _ID.match(id_) else None
    if found is None or found.collection not in set(collections):
        raise _unknown(id_)
    after = None if cursor is None else key_of(cursor)
    items: list[RecordView] = []
    size = 0
    parts = repository.parts_after(session, tenant, id_, after, _CHUNKS_A_PAGE + 1)
    for last_key, content in parts[:_CHUNKS_A_PAGE]:
        size += len(content)
        for record in records_in(content):
            if (after is not None and record["key"] <= after) or not matches(record["body"], choices):
                continue
            if len(items) == limit:
                return Page(items, cursor_of(items[-1].key))
            items.append(RecordView(record["key"], record["body"], record["version"], found.created_at))
        after = last_key
        if size > _PAGE_BYTES and items:
            break
    more = bool(parts) and after != parts[-1][0]
    return Page(items, cursor_of(after) if more and after is not None else None)


@use_case("records:read")
def list_snapshots(
    actor: Actor, database: Database, collection: str | None = None, cursor: str | None = None, limit: int = 50
) -> pages.Page:
    """Newest first, of one collection if told."""
    query = repository.snapshots_of(actor.tenant, collection)
    return pages.page(database, query, repository.SNAPSHOT_ORDER, shown, cursor=cursor, limit=limit, newest_first=True)


@use_case("records:read")
def read_snapshot(actor: Actor, database: Database, id_: str) -> dict[str, Any]:
    """What it is a snapshot of, and how many records it has. Raises NotFound `snapshot_not_found`."""
    with database.reading() as session:
        row = repository.find_snapshot(session, actor.tenant, id_)
    if row is None:
        raise _unknown(id_)
    return shown(row)


@use_case("records:read")
def list_snapshot_records(actor: Actor, database: Database, id_: str, cursor: str | None = None, limit: int = 100) -> Page:
    """One page of its records, by key. Raises NotFound `snapshot_not_found`."""
    with database.reading() as session:
        row = repository.find_snapshot(session, actor.tenant, id_)
        if row is None:
            raise _unknown(id_)
        return page_of(session, actor.tenant, id_, [row.collection], None, cursor, limit)


@use_case("records:write")
def delete_snapshot(actor: Actor, database: Database, id_: str) -> dict[str, Any]:
    """Forget one, and every chunk that no other holds; audited. Whoever refers to it is refused from now on."""
    with database.writing() as session:
        row = repository.find_snapshot(session, actor.tenant, id_)
        if row is None:
            raise _unknown(id_)
        was = shown(row)
        repository.forget_snapshot(session, actor.tenant, id_)
        audit.record(session, actor, "snapshot.deleted", id_, "done", collection=row.collection, count=row.count)
    return was


def shown(row: Snapshot) -> dict[str, Any]:
    """A snapshot as it is answered."""
    return {
        "id": row.id,
        "collection": row.collection,
        "filter": row.filter,
        "count": row.count,
        "bytes": row.bytes,
        "created_at": iso(row.created_at),
        "created_by": row.created_by,
    }


def _taken(session: Session, tenant: str, collection: str, filter_: Filter | None, most: int) -> _Tally:
    check_collection(collection)
    tally = _Tally()
    rows = _at_most(repository.stream(session, tenant, collection, check_filter(filter_)), most)
    for group in _grouped(chunked(rows)):
        repository.add_chunks(session, tenant, group)
        for chunk in group:
            tally.add(chunk)
    return tally


def _at_most(rows: Iterator[Row], most: int) -> Iterator[Row]:
    for count, row in enumerate(rows, start=1):
        if count > most:
            fix = "Narrow the filter, or take it with POST /api/v1/records/{collection}/snapshots, which has no such limit."
            raise TooLarge("snapshot_too_large", f"A snapshot that an effect takes has at most {most} records.", fix=fix)
        yield row


def _grouped(chunks: Iterator[Chunk]) -> Iterator[list[Chunk]]:
    group: list[Chunk] = []
    for chunk in chunks:
        group.append(chunk)
        if len(group) == _TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _digests(tally: _Tally) -> Iterator[str]:
    return (digest for _, digest in tally.parts)


def _store(session: Session, tenant: str, id_: str, collection: str, filter_: Filter | None, tally: _Tally, by: str) -> Snapshot:
    known = repository.find_snapshot(session, tenant, id_)
    if known is not None:
        return known
    row = Snapshot(
        tenant=tenant,
        id=id_,
        collection=collection,
        filter=dict(filter_ or {}),
        count=tally.count,
        bytes=tally.size,
        created_at=now(session),
        created_by=by,
    )
    if not repository.add_snapshot(session, row, tally.parts):
        fix = "Take it again."
        raise Conflict("snapshot_interrupted", "Another snapshot was deleted while this one was taken.", fix=fix, retryable=True)
    return row


def _unknown(id_: str) -> NotFound:
    fix = "Take one with POST /api/v1/records/{collection}/snapshots, of a collection that the tool may read."
    return NotFound("snapshot_not_found", f"There is no snapshot {id_[:80]!r} here.", fix=fix)
