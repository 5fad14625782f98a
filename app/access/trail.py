"""Reading the audit trail, for those who may.

It refuses to be: the trail. That is kept, sealed and checked in `app.observability`, which knows no actors' rights.
"""

from __future__ import annotations

from app.access.permissions import use_case
from app.core.actor import Actor
from app.core.db import Database
from app.core.pages import Page
from app.observability import trail


@use_case("audit:read")
def read_audit(
    actor: Actor,
    database: Database,
    *,
    by: str | None = None,
    action: str | None = None,
    target: str | None = None,
    outcome: str | None = None,
    since: int | str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """A page of the actor's tenant, newest first; `by` is the id of the actor asked about. See `observability.trail.page`."""
    return trail.page(
        database, actor.tenant, actor=by, action=action, target=target, outcome=outcome, since=since, cursor=cursor, limit=limit
    )
