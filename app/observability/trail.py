"""Pages of the audit trail, newest first.

It refuses to be: a use case. `app.access.trail` asks for the permission.
"""

from __future__ import annotations

from typing import Any

from app.core import clock
from app.core.db import Database
from app.core.errors import Invalid, Problem
from app.observability import repository
from app.observability.models import AuditEvent

MOST_PAGE = 500


def page(
    database: Database,
    tenant: str,
    *,
    actor: str | None = None,
    action: str | None = None,
    target: str | None = None,
    outcome: str | None = None,
    since: int | str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """`{"items": [{"id", "at", "actor", "action", "target", "outcome", "trace_id", "detail", "sealed"}], "next_cursor"}`.

    `action` may be a noun alone (`candidate`); `since` is an RFC 3339 instant or ms; `detail` is null once erased.
    Raises Invalid `filter_invalid`.
    """
    given = {"actor": actor, "action": action, "target": target, "outcome": outcome, "since": _instant(since)}
    wanted = {name: value for name, value in given.items() if value is not None}
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise _wrong("$.cursor", "is not one that this list gave", "Pass next_cursor of the page before, or none.")
    size = max(1, min(limit, MOST_PAGE))
    with database.reading() as session:
        rows = repository.page_of_events(session, tenant, wanted, int(cursor) if cursor else None, size + 1)
    return {"items": [_shown(row) for row in rows[:size]], "next_cursor": str(rows[size - 1].id) if len(rows) > size else None}


def _instant(since: int | str | None) -> int | None:
    try:
        return clock.from_iso(since) if isinstance(since, str) else since
    except ValueError:
        raise _wrong("$.since", "is no RFC 3339 instant with a time zone", "Write it as 2030-01-31T12:00:00Z.") from None


def _wrong(path: str, message: str, fix: str) -> Invalid:
    return Invalid("filter_invalid", "This list cannot be filtered so.", problems=[Problem(path, message, fix)])


def _shown(row: AuditEvent) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": clock.iso(row.at),
        "actor": row.actor,
        "action": row.action,
        "target": row.target,
        "outcome": row.outcome,
        "trace_id": row.trace_id,
        "detail": row.body,
        "sealed": row.link is not None,
    }
