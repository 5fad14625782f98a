"""Ledgers: rows of effects in their groups, as pages or as CSV."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response, StreamingResponse

from app.api.callers import Caller
from app.api.services import House
from app.core.actor import Actor
from app.core.pages import Page
from app.invocation.parts import Services
from app.runtime.views import export_ledger, list_ledgers, read_ledger

router = APIRouter(tags=["ledgers"])
Format = Literal["json", "csv"]
COLUMNS = ("effect_id", "ledger", "group", "subject", "state", "run_id", "attempts", "receipt", "error", "created_at", "updated_at")
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@router.get("/ledgers", summary="List the ledger groups that have rows")
def get_ledgers(actor: Caller, house: House, cursor: str | None = None, limit: int = 50) -> Page:
    """`{"items": [{"ledger", "group", "tool", "created_at"}], "next_cursor"}`."""
    return list_ledgers(actor, house.database, cursor=cursor, limit=limit)


@router.get("/ledgers/{name}/{group:path}.csv", summary="A ledger group as CSV", response_class=StreamingResponse)
def get_ledger_csv(
    name: str,
    group: str,
    actor: Caller,
    house: House,
    state: str | None = None,
    subject: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
    format: Format | None = None,
) -> Response:
    """Streamed, all that the filters find; a cell that a spreadsheet would take for a formula begins with an apostrophe.

    With `format`, the group's own name ends in `.csv`, and `format` alone says what is answered.
    """
    if format is None:
        return _csv(actor, house, name, group, state, subject)
    whole = f"{group}.csv"
    if format == "csv":
        return _csv(actor, house, name, whole, state, subject)
    found = read_ledger(actor, house.database, name, whole, state=state, subject=subject, cursor=cursor, limit=limit)
    return JSONResponse(found)


@router.get("/ledgers/{name}/{group:path}", summary="A ledger group, in the order of planning", response_model=Page)
def get_ledger(
    name: str,
    group: str,
    actor: Caller,
    house: House,
    state: str | None = None,
    subject: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
    format: Format = "json",
) -> Any:
    """`group` is percent-encoded. `format=csv` is the same as `.csv` after the group."""
    if format == "csv":
        return _csv(actor, house, name, group, state, subject)
    return read_ledger(actor, house.database, name, group, state=state, subject=subject, cursor=cursor, limit=limit)


def _csv(actor: Actor, house: Services, name: str, group: str, state: str | None, subject: str | None) -> StreamingResponse:
    rows = export_ledger(actor, house.database, name, group, state=state, subject=subject)
    headers = {"content-disposition": 'attachment; filename="ledger.csv"'}
    return StreamingResponse(csv_lines(rows), media_type="text/csv; charset=utf-8", headers=headers)


def csv_lines(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """The rows as CSV text, some hundred at a time, with a header."""
    yield _lines([list(COLUMNS)])
    cells = ([_cell(row.get(column)) for column in COLUMNS] for row in rows)
    while part := list(itertools.islice(cells, 200)):
        yield _lines(part)


def _lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"'{text}" if text.startswith(_STARTS_A_FORMULA) else text
