"""Whether tools are being called, for work that has to leave them the machine while they are.

It refuses to be: a measure of load. One call in the last seconds counts as much as a thousand.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import col, select

from app.core import ids
from app.core.db import Database
from app.runtime.models import OPEN_RUNS, Run

RECENT_MS = 2_000


def in_demand(database: Database, recent_ms: int = RECENT_MS) -> bool:
    """Whether a run was begun in the last `recent_ms`, of whatever tenant, or is being executed."""
    with database.reading() as session:
        recent = select(Run.id).where(col(Run.id) >= ids.earliest("run", recent_ms))
        executing = select(Run.id).where(sa.text(OPEN_RUNS), col(Run.state) == "executing")
        return any(session.exec(query.limit(1)).first() is not None for query in (recent, executing))
