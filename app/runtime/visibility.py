"""Who may see what ran: operators see all of their tenant; callers see what they hold every permission for.

What a version's spec asks of its callers is noted before its first run in each process, as the registry is a higher room.

It refuses to be: who may call. That is asked where a call is made.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.core.actor import Actor
from app.core.db import Database, insert_missing
from app.core.indexes import aside
from app.runtime.models import Requirement

CALL = "tools:call"
WATCHERS = ("effects:resolve", "tools:publish", "tools:rollback", "candidates:approve", "calls:approve", "audit:read")
"""With one of these an actor sees whatever ran in its tenant. With none, and without `tools:call`, nothing has ever run:
results, items and logs hold what tools were given and whom they wrote to."""
requirements: sa.Table = Requirement.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model


def note_requirements(database: Database, tenant: str, tool: str, version: int, permissions: tuple[str, ...]) -> None:
    """Keep what a version asks of its callers; again changes nothing."""
    rows = [{"tenant": tenant, "tool": tool, "version": version, "permission": name} for name in sorted(set(permissions))]
    with database.writing() as session:
        insert_missing(session, requirements, rows)


def seen_by(actor: Actor, table: Any, *, few: bool = False) -> sa.ColumnElement[bool]:
    """The condition on rows of `run`, `effect` or `ledger` that `actor` may see; `few`: of those that another condition finds by an index.

    A ledger belongs to all versions of its tool, so it takes what any version that ran here asks for.
    """
    columns = table.__table__.c
    own: sa.ColumnElement[bool] = (aside(columns.tenant) if few else columns.tenant) == actor.tenant
    if any(actor.may(permission) for permission in WATCHERS):
        return own
    if not actor.may_ask(CALL):
        return sa.false()
    lacking = [requirements.c.tenant == columns.tenant, requirements.c.tool == columns.tool]
    if "version" in columns:
        lacking.append(requirements.c.version == columns.version)
    lacking.append(requirements.c.permission.not_in(sorted(actor.reach)))
    return sa.and_(own, ~sa.exists().where(*lacking))
