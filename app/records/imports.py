"""Imports: JSONL or CSV bytes into a collection, in chunks of 500 records, each chunk a transaction.

An import is no transaction as a whole: what was read before it broke stays, and running it again does no harm, since a
record is replaced by key. Lines that are wrong are reported by number and left out.

It refuses to be: a converter. A CSV cell is text; the file is UTF-8 (a byte order mark is passed over).
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from app.access.permissions import use_case
from app.core.actor import Actor
from app.core.db import CHUNK, Database
from app.core.errors import Invalid, Problem
from app.observability import audit
from app.records import repository
from app.records.documents import MAX_BODY_BYTES, body_text, check_collection, key_problem

MAX_ERRORS = 100
MAX_LINE = 8 * MAX_BODY_BYTES
_NOT_UTF8 = re.compile(r"[\udc80-\udcff]")

Parsed = tuple[int, str, str]
"""Line number, key, body text."""


@dataclass(slots=True)
class ImportReport:
    """What came of an import: `imported` counts lines taken (of lines with one key the last wins), `failed` lines left out.

    `errors` names the first 100 of these: `{"line", "message"}`, lines counted from 1.
    """

    imported: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, line: int, message: str) -> None:
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"line": line, "message": message})


@use_case("records:write")
def import_records(
    actor: Actor,
    database: Database,
    collection: str,
    content: Iterable[bytes],
    kind: Literal["jsonl", "csv"],
    key_column: str | None = None,
) -> ImportReport:
    """Import `content` (bytes in pieces of any size) and audit it once.

    JSONL: one `{"key", "body"}` a line. CSV: a header line, `key_column` names the column that is the key; the body is the
    row by column names. Raises Invalid `collection_invalid`, `key_column_missing`, `csv_header_invalid`.
    """
    check_collection(collection)
    report = ImportReport()
    lines = _lines(content, report)
    parsed = _jsonl(lines, report) if kind == "jsonl" else _csv(lines, key_column, report)
    outcome = "failed"
    try:
        _write(actor, database, collection, parsed, report)
        outcome = "done"
    finally:
        with database.writing() as session:
            audit.record(
                session, actor, "records.imported", collection, outcome, format=kind, imported=report.imported, failed=report.failed
            )
    return report


def _write(actor: Actor, database: Database, collection: str, parsed: Iterator[Parsed], report: ImportReport) -> None:
    waiting: dict[str, str] = {}
    taken = 0

    def flush() -> None:
        with database.writing() as session:
            repository.upsert(session, actor.tenant, collection, waiting)
        report.imported += taken

    for _line, key, text in parsed:
        waiting[key] = text
        taken += 1
        if len(waiting) == CHUNK:
            flush()
            waiting.clear()
            taken = 0
    if waiting:
        flush()


def _lines(content: Iterable[bytes], report: ImportReport) -> Iterator[tuple[int, bytes]]:
    """Numbered lines with their ends. A line over 2 MiB is refused and passed over without being held."""
    rest, number, overlong = b"", 1, False
    for piece in content:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            if overlong or len(line) > MAX_LINE:
                report.refuse(number, f"the line is longer than {MAX_LINE} bytes")
                overlong = False
            else:
                yield number, line + b"\n"
            number += 1
        if len(rest) > MAX_LINE:
            rest, overlong = b"", True
    if overlong:
        report.refuse(number, f"the line is longer than {MAX_LINE} bytes")
    elif rest:
        yield number, rest


def _jsonl(lines: Iterator[tuple[int, bytes]], report: ImportReport) -> Iterator[Parsed]:
    for number, line in lines:
        stripped = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip()
        if not stripped:
            continue
        try:
            yield number, *_entry(stripped)
        except UnicodeDecodeError:
            report.refuse(number, "the line is not UTF-8")
        except json.JSONDecodeError as error:
            report.refuse(number, f"the line is no JSON: {error.msg} at column {error.colno}")
        except RecursionError:
            report.refuse(number, "the line is nested too deeply")
        except ValueError as error:
            report.refuse(number, str(error))


def _entry(line: bytes) -> tuple[str, str]:
    entry = json.loads(line.decode(), parse_constant=_no_constant)
    if not isinstance(entry, dict) or entry.keys() != {"key", "body"}:
        raise ValueError('the line must be {"key": …, "body": {…}} and nothing else')
    problem = key_problem(entry["key"])
    if problem:
        raise ValueError(problem)
    return entry["key"], body_text(entry["body"])


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _csv(lines: Iterator[tuple[int, bytes]], key_column: str | None, report: ImportReport) -> Iterator[Parsed]:
    position = [0, 0]  # line numbers: of the line handed to the reader last, and of the row's first

    def texts() -> Iterator[str]:
        for number, line in lines:
            position[0] = number
            position[1] = position[1] or number
            yield (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode(errors="surrogateescape")

    reader = csv.reader(texts(), strict=True)
    header = _header(reader, key_column)
    while True:
        position[1] = 0
        try:
            row = next(reader, None)
        except csv.Error as error:
            report.refuse(position[1] or position[0], f"the row is no CSV: {error}")
            continue
        if row is None:
            return
        if row:
            try:
                yield position[1], *_row(header, row, key_column or "")
            except ValueError as error:
                report.refuse(position[1], str(error))


def _header(reader: Iterator[list[str]], key_column: str | None) -> list[str]:
    try:
        header = next(reader, [])
    except csv.Error:
        header = []
    if not header or len(set(header)) != len(header) or "" in header or _NOT_UTF8.search("".join(header)):
        raise Invalid(
            "csv_header_invalid",
            "The first line must name every column, once each, in UTF-8.",
            problems=[Problem("$.header", "is unusable")],
        )
    if key_column not in header:
        raise Invalid(
            "key_column_missing",
            "The column that holds the keys is not in the header." if key_column else "No column is named as the key.",
            fix=f"Pass ?key= with one of: {', '.join(header[:20])}.",
        )
    return header


def _row(header: list[str], row: list[str], key_column: str) -> tuple[str, str]:
    if len(row) != len(header):
        raise ValueError(f"the row has {len(row)} cells, the header {len(header)}")
    if any(_NOT_UTF8.search(cell) for cell in row):
        raise ValueError("the row is not UTF-8")
    body = dict(zip(header, row, strict=True))
    problem = key_problem(body[key_column])
    if problem:
        raise ValueError(problem)
    return body[key_column], body_text(body)
