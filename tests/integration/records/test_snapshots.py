"""Snapshots on both databases: records as they were, shared where nothing changed, read page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlmodel import select

from app.core.actor import SYSTEM, Actor
from app.core.db import Database
from app.core.errors import Forbidden, Invalid, NotFound, TooLarge
from app.records.imports import import_records
from app.records.models import SnapshotChunk
from app.records.reading import RecordView
from app.records.snapshots import (
    delete_snapshot,
    list_snapshot_records,
    list_snapshots,
    page_of,
    read_snapshot,
    take,
    take_snapshot,
)
from app.records.writing import put_record

STRANGER = Actor("key_x", "x", "other", frozenset({"records:read", "records:write"}))


def fill(database: Database, count: int) -> None:
    lines = (json.dumps({"key": f"c{i:05}", "body": {"n": i, "even": i % 2 == 0}}).encode() + b"\n" for i in range(count))
    assert import_records(SYSTEM, database, "people", lines, "jsonl").imported == count


def pages_of(database: Database, name: str, limit: int = 100, **filter_: bool) -> Iterator[list[RecordView]]:
    cursor = None
    while True:
        with database.reading() as session:
            page = page_of(session, "default", name, ["people"], filter_ or None, cursor, limit)
        yield page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def chunks(database: Database) -> int:
    with database.reading() as session:
        return session.exec(select(sa.func.count()).select_from(SnapshotChunk)).one()


def test_a_snapshot_keeps_records_as_they_were_however_they_change(database: Database) -> None:
    fill(database, 3)
    taken = take_snapshot(SYSTEM, database, "people")
    assert (taken["count"], taken["collection"], taken["filter"], taken["created_by"]) == (3, "people", {}, "system")
    put_record(SYSTEM, database, "people", "c00001", {"n": "changed"})
    put_record(SYSTEM, database, "people", "c00009", {"n": "new"})
    page = list_snapshot_records(SYSTEM, database, taken["id"])
    assert [(view.key, view.body["n"], view.version) for view in page.items] == [("c00000", 0, 1), ("c00001", 1, 1), ("c00002", 2, 1)]
    assert page.next_cursor is None
    assert read_snapshot(SYSTEM, database, taken["id"]) == taken


def test_the_same_records_are_the_same_snapshot_and_cost_nothing(database: Database) -> None:
    fill(database, 1200)
    first = take_snapshot(SYSTEM, database, "people")
    before = chunks(database)
    assert take_snapshot(SYSTEM, database, "people") == first
    assert chunks(database) == before
    put_record(SYSTEM, database, "people", "c00700", {"n": "changed"})
    second = take_snapshot(SYSTEM, database, "people")
    assert second["id"] != first["id"]
    assert chunks(database) == before + 1  # all the others are shared
    assert [item["id"] for item in list_snapshots(SYSTEM, database, "people")["items"]] == [second["id"], first["id"]]


def test_pages_meet_each_record_once_with_a_filter_or_without(database: Database) -> None:
    fill(database, 1200)
    name = take_snapshot(SYSTEM, database, "people")["id"]
    for limit in (1000, 77):
        keys = [view.key for page in pages_of(database, name, limit) for view in page]
        assert keys == [f"c{i:05}" for i in range(1200)]
    evens = [view.body["n"] for page in pages_of(database, name, 100, even=True) for view in page]
    assert evens == list(range(0, 1200, 2))


def test_a_filter_decides_what_is_kept(database: Database) -> None:
    fill(database, 10)
    taken = take_snapshot(SYSTEM, database, "people", {"even": True})
    assert (taken["count"], taken["filter"]) == (5, {"even": True})
    with pytest.raises(Invalid, match="filter_invalid"):
        take_snapshot(SYSTEM, database, "people", {"even": {"no": "object"}})  # type: ignore[dict-item]  # what callers may send


def test_an_empty_collection_has_a_snapshot_too(database: Database) -> None:
    taken = take_snapshot(SYSTEM, database, "nobody")
    assert (taken["count"], list_snapshot_records(SYSTEM, database, taken["id"]).items) == (0, [])


def test_what_one_snapshot_alone_holds_goes_with_it(database: Database) -> None:
    fill(database, 600)
    first = take_snapshot(SYSTEM, database, "people")
    put_record(SYSTEM, database, "people", "c00300", {"n": "changed"})
    second = take_snapshot(SYSTEM, database, "people")
    both = chunks(database)
    delete_snapshot(SYSTEM, database, second["id"])
    assert chunks(database) == both - 1
    assert sum(len(page) for page in pages_of(database, first["id"])) == 600
    delete_snapshot(SYSTEM, database, first["id"])
    assert chunks(database) == 0
    with pytest.raises(NotFound, match="snapshot_not_found"):
        read_snapshot(SYSTEM, database, first["id"])


def test_a_snapshot_is_its_tenants_and_its_collections(database: Database) -> None:
    fill(database, 2)
    name = take_snapshot(SYSTEM, database, "people")["id"]
    for attempt in (read_snapshot, delete_snapshot, list_snapshot_records):
        with pytest.raises(NotFound, match="snapshot_not_found"):
            attempt(STRANGER, database, name)
    with database.reading() as session, pytest.raises(NotFound, match="snapshot_not_found"):
        page_of(session, "default", name, ["other"], None, None, 10)
    with pytest.raises(Forbidden, match="records:write"):
        take_snapshot(Actor("key_r", "r", "default", frozenset({"records:read"})), database, "people")


def test_one_that_is_taken_in_a_transaction_is_bounded_and_falls_with_it(database: Database) -> None:
    fill(database, 300)
    with pytest.raises(TooLarge, match="snapshot_too_large"), database.writing() as session:
        take(session, "default", "people", None, "tool", most=200)
    assert chunks(database) == 0
    with database.writing() as session:
        name = take(session, "default", "people", None, "tool", most=300)["id"]
    assert read_snapshot(SYSTEM, database, name)["count"] == 300
