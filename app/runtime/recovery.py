"""What is taken up again when its holder is gone: runs, effects in flight, and the jobs that would wake their work.

It needs nothing but the tables: all of Redis can be lost.

It refuses to be: a judge of what happened outside. What may have left the process becomes `unknown`.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.core import owners
from app.core.db import Database, now
from app.core.indexes import in_index
from app.core.models import Owner
from app.runtime import departures
from app.runtime.models import OPEN_EFFECTS, OPEN_RUNS, Run, Share
from app.runtime.repository import runs as repository
from app.runtime.repository.effects import effects
from app.runtime.repository.flow import not_paused
from app.runtime.repository.recovery import held_by, recover, recover_noted

FORGET_OWNERS_MS = 3_600_000


def enter(database: Database, role: str, lease_ms: int) -> str:
    """Make this process an owner; returns its id. Gives up what owners hold that are known no longer.

    A process may have slept until it was forgotten, have taken something as it woke, and have died before it noticed.
    """
    owner = owners.register(database, role, lease_ms)
    with database.writing() as session:
        _give_up(database, session, _forgotten(session))
    return owner


def sweep(database: Database) -> list[str]:
    """Give up what gone owners held. Returns the ids of runs that are waiting and due, for the caller to have executed."""
    with database.writing() as session:
        gone = owners.gone(session)
        _give_up(database, session, gone)
        forgotten = _forget(session, gone) if gone else []
    departures.forget(database, forgotten)
    return due_runs(database)


def _forget(session: Session, gone: Sequence[str]) -> list[str]:
    old = sa.delete(Owner).where(col(Owner.id).in_(gone), col(Owner.renewed_at) < now(session) - FORGET_OWNERS_MS)
    return list(session.connection().execute(old.returning(col(Owner.id))).scalars())


def _give_up(database: Database, session: Session, gone: Sequence[str]) -> None:
    for owner in gone:
        left = departures.closed(database, owner)
        if left is not None:
            recover_noted(session, owner, left)
    if gone:
        recover(session, held_by(gone))
        repository.abandon(session, gone)
        # before their owners are forgotten: nobody may ask for a limit for longer than that, such as a domain's
        shares = sa.select(col(Share.name), col(Share.owner)).where(col(Share.owner).in_(gone)).with_for_update(skip_locked=True)
        session.connection().execute(sa.delete(Share).where(sa.tuple_(col(Share.name), col(Share.owner)).in_(shares)))


def _forgotten(session: Session) -> list[str]:
    """Who holds something and has no row."""
    known = sa.select(col(Owner.id))
    taken = sa.select(effects.c.owner).where(effects.c.state.in_(("claimed", "performing")), in_index("effect", OPEN_EFFECTS))
    driven = sa.select(repository.runs.c.owner).where(repository.runs.c.state == "executing", in_index("run", OPEN_RUNS))
    shares = sa.select(col(Share.owner)).where(col(Share.owner).not_in(known))
    holding = sa.union(taken.where(effects.c.owner.not_in(known)), driven.where(repository.runs.c.owner.not_in(known)), shares)
    return list(session.connection().execute(holding).scalars())


def due_runs(database: Database, limit: int = 100) -> list[str]:
    """Runs that wait and may be taken, oldest first."""
    waiting = select(Run.id).where(col(Run.state).in_(["available", "scheduled"]), Run.due_at <= database.clock.now())
    waiting = waiting.where(in_index("run", OPEN_RUNS), not_paused(repository.runs))
    with database.reading() as session:
        return list(session.exec(waiting.order_by(col(Run.id)).limit(limit)))
