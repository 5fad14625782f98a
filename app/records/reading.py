"""Reading records: use cases for the front doors, and `fetch` and `page` for whoever already has a session.

It refuses to be: a query language. A filter is equality on top-level fields; a page goes on after a key.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from app.access.permissions import use_case
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Invalid, NotFound, Problem
from app.records import repository
from app.records.documents import Filter, check_collection, check_filter, check_key

MAX_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class RecordView:
    """One record: `version` counts its writes from 1, `updated_at` is ms UTC."""

    key: str
    body: dict[str, Any]
    version: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Page:
    """Records by key in byte order; `next_cursor` is None on the last page."""

    items: list[RecordView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class CollectionView:
    """One collection and how many records it has."""

    name: str
    count: int


def fetch(session: Session, tenant: str, collection: str, key: str) -> RecordView | None:
    """One record, or None. Raises Invalid `collection_invalid` or `key_invalid`."""
    check_collection(collection)
    check_key(key)
    row = repository.find(session, tenant, collection, key)
    return None if row is None else RecordView(row.key, row.body, row.version, row.updated_at)


def page(session: Session, tenant: str, collection: str, filter_: Filter | None, cursor: str | None, limit: int) -> Page:
    """One page of 1 to 1000 records (fewer where bodies are large). Raises Invalid for a wrong name, filter, cursor or limit."""
    check_collection(collection)
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid("limit_invalid", f"A page has 1 to {MAX_LIMIT} records.", problems=[Problem("$.limit", f"must be 1 to {MAX_LIMIT}")])
    after = key_of(cursor) if cursor else None
    rows, more = repository.query_page(session, tenant, collection, check_filter(filter_), after, limit)
    items = [RecordView(row.key, row.body, row.version, row.updated_at) for row in rows]
    return Page(items, cursor_of(items[-1].key) if more else None)


@use_case("records:read")
def get_record(actor: Actor, database: Database, collection: str, key: str) -> RecordView:
    """One record. Raises NotFound `record_not_found`."""
    with database.reading() as session:
        view = fetch(session, actor.tenant, collection, key)
    if view is None:
        raise NotFound("record_not_found", f"The collection {collection} has no record with this key.", fix="Put or import it first.")
    return view


@use_case("records:read")
def list_records(
    actor: Actor, database: Database, collection: str, filter_: Filter | None = None, cursor: str | None = None, limit: int = 100
) -> Page:
    """One page of a collection; a collection without records is an empty page."""
    with database.reading() as session:
        return page(session, actor.tenant, collection, filter_, cursor, limit)


@use_case("records:read")
def collections(actor: Actor, database: Database) -> list[CollectionView]:
    """Every collection that has a record, by name."""
    with database.reading() as session:
        return [CollectionView(name, count) for name, count in repository.count_by_collection(session, actor.tenant)]


def cursor_of(key: str) -> str:
    """The cursor of what comes after this key."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def key_of(cursor: str) -> str:
    """The key in a cursor. Raises Invalid `cursor_invalid`."""
    try:
        key = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        check_key(key)
    except (binascii.Error, ValueError, Invalid):
        problems = [Problem("$.cursor", "is no cursor of this list")]
        raise Invalid("cursor_invalid", "This cursor is not one of ours.", fix="Pass next_cursor as it came.", problems=problems) from None
    return key
