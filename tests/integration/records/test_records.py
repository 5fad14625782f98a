"""Records on both databases: pages, filters, versions, counts."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlmodel import select

from app.core.actor import SYSTEM, Actor
from app.core.db import Database
from app.core.errors import Conflict, Forbidden, Invalid, NotFound
from app.observability.models import AuditEvent
from app.records import reading, writing
from app.records.documents import Filter

OTHER = Actor("key_other", "other", "elsewhere", frozenset({"*"}))
READER = Actor("key_reader", "reader", "default", frozenset({"records:read"}))


def fill(database: Database, collection: str, bodies: dict[str, dict[str, Any]]) -> None:
    with database.writing() as session:
        writing.store_many(session, "default", collection, bodies)


def keys(database: Database, collection: str, filter_: Filter | None = None) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = reading.list_records(SYSTEM, database, collection, filter_, cursor, 3)
        found += [view.key for view in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


def test_a_record_is_read_as_it_was_put_with_a_version_that_counts_writes(database: Database) -> None:
    body = {"name": "Zoë", "n": 1, "x": 0.5, "flags": [True, None], "nested": {"é": "\u2028"}}
    assert writing.put_record(SYSTEM, database, "customers", "a/ü", body).version == 1
    assert writing.put_record(SYSTEM, database, "customers", "a/ü", {**body, "n": 2}).version == 2
    view = reading.get_record(SYSTEM, database, "customers", "a/ü")
    assert (view.body, view.version) == ({**body, "n": 2}, 2)
    with database.reading() as session:
        events = session.exec(select(AuditEvent).order_by(AuditEvent.id)).all()  # type: ignore[arg-type]  # a column to SQLAlchemy
    assert [(e.action, e.target, e.body) for e in events] == [
        ("record.put", "customers/a/ü", {"version": 1}),
        ("record.put", "customers/a/ü", {"version": 2}),
    ]


def test_a_missing_record_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="record_not_found"):
        reading.get_record(SYSTEM, database, "customers", "nobody")


def test_an_expected_version_that_is_not_there_writes_nothing(database: Database) -> None:
    assert writing.put_record(SYSTEM, database, "c", "k", {"n": 1}, 0).version == 1
    for wrong in (0, 2):
        with pytest.raises(Conflict, match="version_conflict"):
            writing.put_record(SYSTEM, database, "c", "k", {"n": 9}, wrong)
    assert writing.put_record(SYSTEM, database, "c", "k", {"n": 2}, 1).version == 2
    assert reading.get_record(SYSTEM, database, "c", "k").body == {"n": 2}
    with pytest.raises(Conflict):
        writing.put_record(SYSTEM, database, "c", "absent", {"n": 1}, 1)


def test_tenants_do_not_see_each_other(database: Database) -> None:
    fill(database, "c", {"k": {"n": 1}})
    assert reading.list_records(OTHER, database, "c").items == []
    assert reading.collections(OTHER, database) == []
    with pytest.raises(NotFound):
        reading.get_record(OTHER, database, "c", "k")


def test_writing_needs_its_permission_and_reading_its_own(database: Database) -> None:
    with pytest.raises(Forbidden, match="permission_denied"):
        writing.put_record(READER, database, "c", "k", {})
    with pytest.raises(Forbidden):
        reading.collections(Actor("a", "a", "default", frozenset({"records:write"})), database)


def test_pages_go_by_key_in_byte_order_and_meet_each_record_once(database: Database) -> None:
    names = ["a", "B", "Z", "é", "z", "a-b", "a_b", "aB", "10", "9", "🎈", "~", " x"]
    fill(database, "c", {name: {} for name in names})
    fill(database, "d", {"other": {}})
    assert keys(database, "c") == sorted(names, key=lambda name: name.encode())


def test_collections_are_listed_with_counts(database: Database) -> None:
    fill(database, "c", {str(i): {} for i in range(7)})
    fill(database, "b", {"x": {}})
    assert [(view.name, view.count) for view in reading.collections(SYSTEM, database)] == [("b", 1), ("c", 7)]


BODIES: dict[str, dict[str, Any]] = {
    "one": {"v": 1},
    "one_real": {"v": 1.0},
    "one_text": {"v": "1"},
    "true": {"v": True},
    "zero": {"v": 0},
    "false": {"v": False},
    "null": {"v": None},
    "absent": {"w": 1},
    "empty": {"v": ""},
    "list": {"v": [1]},
    "list_text": {"v": "[1]"},
    "object": {"v": {"a": 1}},
    "object_text": {"v": '{"a":1}'},
    "half": {"v": 0.5},
    "big": {"v": 2**53 - 1},
    "umlaut": {"v": "Zürich ß 🎈"},
    "quote": {"v": 'it\'s "so" \\ \n'},
    "injected": {"v": "' OR 1=1 --"},
}


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({"v": 1}, {"one", "one_real"}),
        ({"v": "1"}, {"one_text"}),
        ({"v": True}, {"true"}),
        ({"v": False}, {"false"}),
        ({"v": 0}, {"zero"}),
        ({"v": None}, {"null", "absent"}),
        ({"v": ""}, {"empty"}),
        ({"v": 0.5}, {"half"}),
        ({"v": 2**53 - 1}, {"big"}),
        ({"v": "[1]"}, {"list_text"}),
        ({"v": '{"a":1}'}, {"object_text"}),
        ({"v": "Zürich ß 🎈"}, {"umlaut"}),
        ({"v": 'it\'s "so" \\ \n'}, {"quote"}),
        ({"v": "' OR 1=1 --"}, {"injected"}),
        ({"v": [1, "1", None]}, {"one", "one_real", "one_text", "null", "absent"}),
        ({"v": None, "w": 1}, {"absent"}),
        ({"v') = 1 OR ('1": 1}, set()),
        ({}, set(BODIES)),
    ],
)
def test_a_filter_is_equality_by_json_type_on_both_databases(database: Database, filter_: Filter, expected: set[str]) -> None:
    fill(database, "c", BODIES)
    assert set(keys(database, "c", filter_)) == expected


def test_a_filter_finds_fields_of_any_name(database: Database) -> None:
    names = ["é", "a.b", "$", "[0]", "a b", "#-1", "🎈", "'", "%s", ":x", "?"]
    fill(database, "c", {f"k{i}": {name: i} for i, name in enumerate(names)})
    for i, name in enumerate(names):
        assert keys(database, "c", {name: i}) == [f"k{i}"], name


def test_random_filters_agree_with_a_plain_search(database: Database) -> None:
    random_ = random.Random(7)
    values = [None, True, False, 0, 1, 1.5, "a", "b", "0", "true", ""]
    bodies = {
        f"k{i:03}": {field: random_.choice(values) for field in random_.sample(["x", "y", "z"], random_.randint(0, 3))} for i in range(200)
    }
    fill(database, "c", bodies)

    def same(stored: Any, wanted: Any) -> bool:
        return stored == wanted and (isinstance(stored, bool) == isinstance(wanted, bool))

    for _ in range(40):
        wanted = {field: random_.sample(values, random_.randint(1, 3)) for field in random_.sample(["x", "y", "z"], random_.randint(1, 2))}
        expected = [k for k, b in bodies.items() if all(any(same(b.get(f), v) for v in vs) for f, vs in wanted.items())]
        assert keys(database, "c", wanted) == expected


def test_a_page_of_large_bodies_ends_early_and_goes_on(database: Database) -> None:
    fill(database, "c", {f"{i:02}": {"v": "x" * 200_000} for i in range(25)})
    page = reading.list_records(SYSTEM, database, "c", None, None, 1000)
    assert 1 <= len(page.items) < 25
    assert page.next_cursor is not None
    rest = reading.list_records(SYSTEM, database, "c", None, page.next_cursor, 1000)
    assert rest.items[0].key == f"{len(page.items):02}"


@pytest.mark.parametrize("cursor", ["*", "gA", "AAA", "ü"])
def test_a_cursor_that_is_not_ours_is_refused(sqlite_database: Database, cursor: str) -> None:
    with pytest.raises(Invalid, match="cursor_invalid"):
        reading.list_records(SYSTEM, sqlite_database, "c", None, cursor)


def test_an_empty_cursor_means_none(sqlite_database: Database) -> None:
    fill(sqlite_database, "c", {"a": {}, "b": {}})
    assert reading.list_records(SYSTEM, sqlite_database, "c", None, "", 1) == reading.list_records(
        SYSTEM, sqlite_database, "c", None, None, 1
    )


@pytest.mark.parametrize("limit", [0, 1001, -1])
def test_a_page_has_a_limit(sqlite_database: Database, limit: int) -> None:
    with pytest.raises(Invalid, match="limit_invalid"):
        reading.list_records(SYSTEM, sqlite_database, "c", None, None, limit)


def test_sessions_that_write_the_same_keys_in_other_orders_do_not_deadlock(database: Database) -> None:
    names = [f"k{i}" for i in range(120)]

    def write(seed: int) -> None:
        shuffled = random.Random(seed).sample(names, len(names))
        fill(database, "c", {name: {"by": seed} for name in shuffled})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(12)))
    assert {view.version for view in reading.list_records(SYSTEM, database, "c", limit=1000).items} == {12}
