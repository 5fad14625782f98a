"""Imports of JSONL and CSV: wrong lines are named and left out, right ones are there, whatever the pieces they come in."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import select

from app.core.actor import SYSTEM, Actor
from app.core.db import Database
from app.core.errors import Forbidden, Invalid
from app.observability.models import AuditEvent
from app.records.imports import import_records
from app.records.reading import collections, get_record, list_records


def jsonl(*entries: Any) -> bytes:
    return b"".join(json.dumps(entry, ensure_ascii=False).encode() + b"\n" for entry in entries)


def body_of(database: Database, key: str) -> dict[str, Any]:
    return get_record(SYSTEM, database, "c", key).body


def audits(database: Database) -> list[tuple[str, str, dict[str, Any] | None]]:
    with database.reading() as session:
        return [(event.action, event.outcome, event.body) for event in session.exec(select(AuditEvent))]


def test_a_large_import_arrives_whole_in_pieces_of_any_size(database: Database) -> None:
    random_ = random.Random(3)
    content = jsonl(*({"key": f"k{i:05}", "body": {"n": i, "name": "Zoë " * random_.randint(0, 20)}} for i in range(2345)))

    def pieces() -> Iterator[bytes]:
        start = 0
        while start < len(content):
            size = random_.choice([1, 7, 100, 5000, 65536])
            yield content[start : start + size]
            start += size

    report = import_records(SYSTEM, database, "c", pieces(), "jsonl")
    assert (report.imported, report.failed, report.errors) == (2345, 0, [])
    assert [(view.name, view.count) for view in collections(SYSTEM, database)] == [("c", 2345)]
    assert body_of(database, "k02344")["n"] == 2344
    assert audits(database) == [("records.imported", "done", {"format": "jsonl", "imported": 2345, "failed": 0})]


def test_each_wrong_line_is_named_and_the_rest_is_taken(database: Database) -> None:
    lines = [
        b"\xef\xbb\xbf" + jsonl({"key": "a", "body": {"n": 1}}).strip(),
        b"",
        b"{nonsense",
        b'{"key": "b", "body": {"n": "\xff"}}',
        jsonl({"key": "c"}).strip(),
        jsonl({"key": "d", "body": [], "x": 1}).strip(),
        jsonl({"key": "", "body": {}}).strip(),
        jsonl({"key": 7, "body": {}}).strip(),
        b'{"key": "e", "body": {"n": NaN}}',
        b'{"key": "f", "body": ' + b'{"x":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        jsonl({"key": "g", "body": {"x": "y" * 300_000}}).strip(),
        jsonl({"key": "h", "body": {"x": "\x00"}}).strip(),
        b"[1]",
        b'{"key": "z", "body": {"n": 2}}\r',
    ]
    report = import_records(SYSTEM, database, "c", [b"\n".join(lines)], "jsonl")
    assert (report.imported, report.failed) == (2, 11)
    assert [error["line"] for error in report.errors] == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    assert all(error["message"] and "\n" not in error["message"] for error in report.errors)
    assert [view.key for view in list_records(SYSTEM, database, "c").items] == ["a", "z"]


def test_of_lines_with_one_key_the_last_wins(database: Database) -> None:
    content = jsonl(*({"key": f"k{i % 3}", "body": {"n": i}} for i in range(1600)))
    assert import_records(SYSTEM, database, "c", [content], "jsonl").imported == 1600
    assert [body_of(database, f"k{i}")["n"] for i in range(3)] == [1599, 1597, 1598]


def test_an_import_may_be_run_again(database: Database) -> None:
    content = jsonl({"key": "a", "body": {"n": 1}})
    for _ in range(2):
        import_records(SYSTEM, database, "c", [content], "jsonl")
    assert get_record(SYSTEM, database, "c", "a").version == 2


def test_errors_are_counted_beyond_the_hundred_that_are_named(sqlite_database: Database) -> None:
    report = import_records(SYSTEM, sqlite_database, "c", [b"x\n" * 250], "jsonl")
    assert (report.imported, report.failed, len(report.errors)) == (0, 250, 100)


def test_a_line_without_end_is_passed_over_without_being_held(sqlite_database: Database) -> None:
    def pieces() -> Iterator[bytes]:
        yield jsonl({"key": "a", "body": {}})
        for _ in range(100):
            yield b"x" * 65_536
        yield b"\n"
        yield jsonl({"key": "b", "body": {}})
        for _ in range(40):
            yield b"y" * 65_536

    report = import_records(SYSTEM, sqlite_database, "c", pieces(), "jsonl")
    assert (report.imported, [error["line"] for error in report.errors]) == (2, [2, 4])


def test_a_stream_that_breaks_leaves_whole_chunks_and_an_audit_event_that_says_so(sqlite_database: Database) -> None:
    def pieces() -> Iterator[bytes]:
        yield jsonl(*({"key": f"k{i:04}", "body": {}} for i in range(700)))
        raise ConnectionResetError("the caller has gone")

    with pytest.raises(ConnectionResetError):
        import_records(SYSTEM, sqlite_database, "c", pieces(), "jsonl")
    assert collections(SYSTEM, sqlite_database)[0].count == 500
    assert audits(sqlite_database) == [("records.imported", "failed", {"format": "jsonl", "imported": 500, "failed": 0})]


def test_csv_rows_become_records_of_texts(database: Database) -> None:
    content = '\ufeffemail,name,note\r\na@x.org,Ann,"says ""hi"",\nin two lines"\r\nb@x.org,Zoë,\r\n'.encode()
    report = import_records(SYSTEM, database, "c", [content[:40], content[40:]], "csv", "email")
    assert (report.imported, report.errors) == (2, [])
    assert body_of(database, "a@x.org") == {"email": "a@x.org", "name": "Ann", "note": 'says "hi",\nin two lines'}
    assert body_of(database, "b@x.org") == {"email": "b@x.org", "name": "Zoë", "note": ""}


def test_each_wrong_row_of_a_csv_is_named(database: Database) -> None:
    rows = [b"id,name", b"1,ok", b"2", b"3,x,y", b"4,\xff", b",nokey", b'5,"a', b'b"', b"6,ok", b'7,"x"y', b"", b"8,ok"]
    report = import_records(SYSTEM, database, "c", [b"\n".join(rows)], "csv", "id")
    assert [error["line"] for error in report.errors] == [3, 4, 5, 6, 10]
    assert [view.key for view in list_records(SYSTEM, database, "c").items] == ["1", "5", "6", "8"]
    assert report.imported == 4


@pytest.mark.parametrize(
    ("content", "key", "code"),
    [
        (b"a,b\n1,2\n", None, "key_column_missing"),
        (b"a,b\n1,2\n", "c", "key_column_missing"),
        (b"a,a\n1,2\n", "a", "csv_header_invalid"),
        (b"a,\n1,2\n", "a", "csv_header_invalid"),
        (b"a,\xff\n1,2\n", "a", "csv_header_invalid"),
        (b"", "a", "csv_header_invalid"),
    ],
)
def test_a_csv_without_a_usable_header_is_refused(sqlite_database: Database, content: bytes, key: str | None, code: str) -> None:
    with pytest.raises(Invalid, match=code):
        import_records(SYSTEM, sqlite_database, "c", [content], "csv", key)
    assert [outcome for _, outcome, _ in audits(sqlite_database)] == ["failed"]


def test_an_import_needs_the_permission_to_write(sqlite_database: Database) -> None:
    with pytest.raises(Forbidden):
        import_records(Actor("a", "a", "default", frozenset({"records:read"})), sqlite_database, "c", [], "jsonl")


def test_a_collection_name_that_is_none_is_refused_before_anything_is_read(sqlite_database: Database) -> None:
    with pytest.raises(Invalid, match="collection_invalid"):
        import_records(SYSTEM, sqlite_database, "C", iter([]), "jsonl")
