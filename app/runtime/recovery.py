"""What is taken up again when its holder is gone: runs, effects in flight, and the jobs that would wake their work.

It needs nothing but the tables: all of Redis can be lost.

It refuses to be: a judge of what happened outside. What may have left the process becomes `unknown`.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import col, select

from app.core import owners
from app.core.db import Database, now
from app.core.models import Owner
from app.runtime.models import OPEN_RUNS, Run, is_open
from app.runtime.repository import runs as repository
from app.runtime.repository.flow import not_paused
from app.runtime.repository.recovery import held_by, recover

FORGET_OWNERS_MS = 3_600_000


def sweep(database: Database) -> list[str]:
    """Give up what gone owners held. Returns the ids of runs that are waiting and due, for the caller to have executed."""
    with database.writing() as session:
        gone = owners.gone(session)
        if gone:
            recover(session, held_by(gone))
            repository.abandon(session, gone)
            session.connection().execute(
                sa.delete(Owner).where(col(Owner.id).in_(gone), col(Owner.renewed_at) < now(session) - FORGET_OWNERS_MS)
            )
    return due_runs(database)


def due_runs(database: Database, limit: int = 100) -> list[str]:
    """Runs that wait and may be taken, oldest first."""
    waiting = select(Run.id).where(col(Run.state).in_(["available", "scheduled"]), Run.due_at <= database.clock.now())
    waiting = waiting.where(is_open("run", OPEN_RUNS), not_paused(repository.runs))
    with database.reading() as session:
        return list(session.exec(waiting.order_by(col(Run.id)).limit(limit)))
