"""Owners: live processes with a lease. Work belongs to an owner; when its lease ends, others may take the work over.

It refuses to be: a lock. Every write of an owner is guarded by its fence as well.
"""

from __future__ import annotations

import os
import socket

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.core import ids
from app.core.db import Database, lease_now
from app.core.models import Owner


def register(database: Database, role: str, lease_ms: int) -> str:
    """Make this process an owner of `role` (`web`, `worker`); returns the owner's id."""
    owner = ids.new("own")
    with database.writing() as session:
        at = lease_now(session)
        session.add(Owner(id=owner, role=role, pid=os.getpid(), host=socket.gethostname(), started_at=at, renewed_at=at, lease_ms=lease_ms))
    return owner


def renew(database: Database, owner: str) -> bool:
    """Renew the lease. False: it was voided or has ended, and this process must stop performing."""
    with database.writing() as session:
        at = lease_now(session)
        statement = sa.update(Owner).where(
            col(Owner.id) == owner, col(Owner.voided_at).is_(None), col(Owner.renewed_at) + col(Owner.lease_ms) >= at
        )
        return session.connection().execute(statement.values(renewed_at=at)).rowcount == 1


def void(database: Database, *, pid: int | None = None, owner: str | None = None) -> int:
    """End leases at once: of the process that a supervisor has reaped (`pid` on this host), or of one `owner`."""
    which = col(Owner.id) == owner if pid is None else sa.and_(col(Owner.pid) == pid, col(Owner.host) == socket.gethostname())
    with database.writing() as session:
        at = lease_now(session)
        return session.connection().execute(sa.update(Owner).where(which, col(Owner.voided_at).is_(None)).values(voided_at=at)).rowcount


def gone(session: Session) -> list[str]:
    """The owners whose lease has ended by now."""
    return list(session.exec(select(Owner.id).where(sa.not_(_live(lease_now(session))))))


def _live(at: int) -> sa.ColumnElement[bool]:
    return sa.and_(col(Owner.voided_at).is_(None), col(Owner.renewed_at) + col(Owner.lease_ms) >= at)


def alive(database: Database, role: str) -> int:
    """How many processes of `role` hold a lease."""
    with database.reading() as session:
        at = lease_now(session)
        return session.exec(select(sa.func.count()).select_from(Owner).where(_live(at), Owner.role == role)).one()
