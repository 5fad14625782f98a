"""Tables of the core: the outbox of jobs, the change feed, and the processes that own work.

It refuses to be: a place for business tables.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite autoincrements INTEGER keys only


class OutboxJob(SQLModel, table=True):
    """A wake-up that a transaction asked for; relayed to the queue after commit, then deleted. No id is ever given twice."""

    __tablename__ = "outbox_job"
    __table_args__ = {"sqlite_autoincrement": True}
    id: int | None = Field(default=None, primary_key=True, sa_type=Big)
    job: str
    subject: str
    due_at: int = Field(sa_type=sa.BigInteger, index=True)


class Change(SQLModel, table=True):
    """One line of the change feed; ids grow in commit order, also when all lines have expired."""

    __tablename__ = "change"
    __table_args__ = {"sqlite_autoincrement": True}
    id: int | None = Field(default=None, primary_key=True, sa_type=Big)
    at: int = Field(sa_type=sa.BigInteger, index=True)
    topic: str
    subject: str
    tenant: str
    data: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)


class Owner(SQLModel, table=True):
    """A live process that may own runs, effects and candidates. Its lease is `renewed_at + lease_ms`."""

    __tablename__ = "owner"
    id: str = Field(primary_key=True)
    role: str
    pid: int
    host: str
    started_at: int = Field(sa_type=sa.BigInteger)
    renewed_at: int = Field(sa_type=sa.BigInteger, index=True)
    lease_ms: int
    voided_at: int | None = Field(default=None, sa_type=sa.BigInteger)
