"""Tables of the audit trail: events and the links of the chain over them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from app.core.indexes import partial
from app.core.models import Big

NOT_DONE = "outcome <> 'done'"


class AuditEvent(SQLModel, table=True):
    """One decision: who did what to which target with what outcome. `body` is erasable, its digest is not."""

    __tablename__ = "audit_event"
    __table_args__ = (partial("audit_event_not_done", "outcome", "id", where=NOT_DONE),)
    id: int | None = Field(default=None, primary_key=True, sa_type=Big)
    at: int = Field(sa_type=sa.BigInteger)
    tenant: str
    actor: str = Field(index=True)
    action: str = Field(index=True)
    target: str = Field(index=True)
    outcome: str
    trace_id: str | None = None
    body: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)
    body_digest: str
    link: int | None = Field(default=None, index=True)


class AuditLink(SQLModel, table=True):
    """One link of the chain: a digest over the events sealed with it and the hash of the link before."""

    __tablename__ = "audit_link"
    seq: int = Field(primary_key=True, sa_type=Big)
    at: int = Field(sa_type=sa.BigInteger)
    count: int
    digest: str
    previous: str
    hash: str
