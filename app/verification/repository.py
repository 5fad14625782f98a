"""Reading private databases after a run: its effects, its records, its row, its audit events. All SQL of this room, and none of it writes.

It refuses to be: a view for people; those are in the rooms whose tables these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.observability.models import AuditEvent
from app.records.models import Record
from app.runtime.models import Effect, LogLine, Run, Step


def effects(session: Session) -> Sequence[Effect]:
    """Every effect of this database, in the order of planning."""
    return session.exec(select(Effect).order_by(col(Effect.seq))).all()


def records(session: Session) -> dict[tuple[str, str], Any]:
    """Every record's body by collection and key."""
    return {(row.collection, row.key): row.body for row in session.exec(select(Record))}


def run(session: Session, run_id: str) -> Run | None:
    return session.get(Run, run_id)


def log_lines(session: Session, run_id: str) -> Sequence[LogLine]:
    """What the tool logged, in order."""
    return session.exec(select(LogLine).where(LogLine.run_id == run_id).order_by(col(LogLine.id))).all()


def audit_events(session: Session) -> Sequence[AuditEvent]:
    """Every audit event, in order."""
    return session.exec(select(AuditEvent).order_by(col(AuditEvent.id))).all()


def journaled(session: Session, run_id: str) -> int:
    """How many steps of a run are in its journal."""
    return session.exec(select(sa.func.count()).select_from(Step).where(Step.run_id == run_id)).one()


def runs(session: Session) -> int:
    """How many runs there are."""
    return session.exec(select(sa.func.count()).select_from(Run)).one()
