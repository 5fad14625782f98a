"""Jobs as rows: an enqueue is a row in the caller's transaction, relayed after commit. The database is the only truth.

A job carries a name and the id of its subject, never state: all of Redis can be lost at a cost in latency only.

It refuses to be: a queue. What is due is decided by the rooms' own tables; this is the wake-up.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.core.db import Database
from app.core.models import OutboxJob


@dataclass(frozen=True, slots=True)
class Job:
    """A wake-up on its way: `job` is the name of a worker function, `subject` the id that it is about."""

    id: int
    job: str
    subject: str
    due_at: int


def enqueue(session: Session, job: str, subject: str, due_at: int = 0) -> None:
    """Ask, in this transaction, that `job` be run for `subject` once it is `due_at` (ms; 0 = at once)."""
    session.add(OutboxJob(job=job, subject=subject, due_at=due_at))


def nothing_due(database: Database) -> bool:
    """Whether a glance shows that `pending` would be empty; False where it cannot tell."""
    return database.glance("SELECT 1 FROM outbox_job WHERE due_at <= ? LIMIT 1", database.clock.now()) is False


def pending(database: Database, limit: int = 200) -> list[Job]:
    """Jobs that are due, oldest first."""
    query = select(OutboxJob).where(col(OutboxJob.due_at) <= database.clock.now()).order_by(col(OutboxJob.id)).limit(limit)
    with database.reading() as session:
        return [Job(row.id or 0, row.job, row.subject, row.due_at) for row in session.exec(query)]


def delivered(database: Database, ids: list[int]) -> None:
    """Forget jobs that the queue has taken."""
    if ids:
        with database.writing() as session:
            session.connection().execute(sa.delete(OutboxJob).where(col(OutboxJob.id).in_(ids)))
