"""How many calls are open: runs that wait or are under way, by tool or by actor. What limits of calls are judged by.

It refuses to be: a view. It shows nothing, so it asks nobody who may see what.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import col, select

from app.core.db import Database
from app.core.indexes import aside, in_index
from app.runtime.models import OPEN_RUNS, Run


def count_open(database: Database, tenant: str, *, tool: str | None = None, actor: str | None = None) -> int:
    """Of a tenant, over all processes; only those of a tool, or begun by an actor, where one is named."""
    query = select(sa.func.count()).select_from(Run).where(in_index("run", OPEN_RUNS), aside(col(Run.tenant)) == tenant)
    if tool is not None:
        query = query.where(col(Run.tool) == tool)
    if actor is not None:
        query = query.where(col(Run.actor) == actor)
    with database.reading() as session:
        return session.exec(query).one()
