"""Pages of the audit trail, newest first.

It refuses to be: a use case. `app.access.trail` asks for the permission.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.core import clock, pages
from app.core.db import Database
from app.core.errors import Invalid, Problem
from app.observability import repository
from app.observability.models import AuditEvent

OUTCOMES = ("done", "refused", "failed")


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
) -> pages.Page:
    """`{"items": [{"id", "at", "actor", "action", "target", "outcome", "trace_id", "detail", "sealed"}], "next_cursor"}`.

    `action` may be a noun alone (`candidate`); `since` is an RFC 3339 instant or ms; `detail` is null once erased.
    Raises Invalid `filter_invalid`, `cursor_invalid`, `limit_invalid`.
    """
    if outcome is not None and outcome not in OUTCOMES:
        raise _unfit(Problem("$.outcome", f"{outcome[:40]!r} is no outcome", f"Use one of {', '.join(OUTCOMES)}."))
    given = {"actor": actor, "action": action, "target": target, "outcome": outcome, "since": _instant(since)}
    wanted = {name: value for name, value in given.items() if value is not None}
    found = []
    for name in _actions(database, action):
        query = repository.events(tenant, wanted if name is None else {**wanted, "action": name})
        found.append(pages.page(database, query, [repository.EVENT_ID], _shown, cursor=cursor, limit=limit, newest_first=True))
    return found[0] if len(found) == 1 else _newest(found, limit)


def _actions(database: Database, action: str | None) -> Sequence[str | None]:
    """What is asked for one by one: each action has its events in order, and a noun's together would all be sorted."""
    if action is None or "." in action:
        return [action]
    with database.reading() as session:
        return repository.actions_of(session, action) or [action]


def _newest(found: Sequence[pages.Page], limit: int) -> pages.Page:
    """The first page of all that these pages begin."""
    items = sorted((item for each in found for item in each["items"]), key=lambda item: item["id"], reverse=True)
    more = len(items) > limit or any(each["next_cursor"] for each in found)
    return {"items": items[:limit], "next_cursor": pages.encode([items[limit - 1]["id"]]) if more else None}


def _instant(since: int | str | None) -> int | None:
    try:
        return clock.from_iso(since) if isinstance(since, str) else since
    except ValueError:
        problem = Problem("$.since", "is no RFC 3339 instant with a time zone", "Write it as 2030-01-31T12:00:00Z.")
        raise _unfit(problem) from None


def _unfit(problem: Problem) -> Invalid:
    return Invalid("filter_invalid", "This list cannot be filtered so.", problems=[problem])


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
