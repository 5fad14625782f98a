"""Ledgers: the list of groups, the rows of one group, and the same rows as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from app.runtime.views import count_ledger, export_ledger, list_ledgers, read_ledger
from app.web.addresses import segment
from app.web.desk import At
from app.web.formats import compact
from app.web.listing import PAGE, listing

router = APIRouter()
COLUMNS = ("effect_id", "ledger", "group", "subject", "state", "run_id", "attempts", "receipt", "error", "created_at", "updated_at")
ORDER = ("done", "planned", "claimed", "performing", "retry_wait", "unknown", "failed", "dead", "abandoned", "cancelled")
ROWS = 100
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")


@router.get("/ledgers")
def index(desk: At) -> Response:
    view = listing(desk, "/ledgers")
    found = list_ledgers(desk.actor, desk.database, cursor=view.cursor or None, limit=PAGE)
    return desk.show("ledgers/index.html", part="ledgers/_groups.html", view=view, found=found)


@router.get("/ledgers/{name}/{group:path}")
def show(desk: At, name: str, group: str) -> Response:
    view = listing(desk, f"/ledgers/{segment(name)}/{segment(group)}", "state", "subject")
    found = read_ledger(
        desk.actor,
        desk.database,
        name,
        group,
        state=view.given("state"),
        subject=view.given("subject"),
        cursor=view.cursor or None,
        limit=ROWS,
    )
    counts = {} if desk.partial else count_ledger(desk.actor, desk.database, name, group)
    ordered = {state: counts[state] for state in ORDER if state in counts}
    return desk.show("ledgers/page.html", part="ledgers/_rows.html", view=view, found=found, counts=ordered, name=name, group=group)


@router.get("/exports/ledgers/{name}/{group:path}")
def export(desk: At, name: str, group: str) -> Response:
    state, subject = desk.query("state") or None, desk.query("subject")[:300] or None
    rows = export_ledger(desk.actor, desk.database, name, group, state=state, subject=subject)
    headers = {"content-disposition": 'attachment; filename="ledger.csv"'}
    return StreamingResponse(_csv(rows), media_type="text/csv; charset=utf-8", headers=headers)


def _csv(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row[column]) for column in COLUMNS])
        if line.tell() > 60_000:
            yield line.getvalue()
            line.seek(0)
            line.truncate()
    yield line.getvalue()


def _cell(value: Any) -> str:
    """Text that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    text = "" if value is None else compact(value)
    return f"'{text}" if text.startswith(_RISKY) else text
