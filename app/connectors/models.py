"""Tables of the connectors: the built-in outbox of e-mails, and the connections that operators name."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from app.core.models import Big


class OutboxEmail(SQLModel, table=True):
    """One e-mail that was "sent" where no SMTP server is configured: kept for people to look at."""

    __tablename__ = "outbox_email"
    __table_args__ = (sa.Index("outbox_email_newest", "tenant", "id"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=Big)
    tenant: str
    effect_id: str = Field(unique=True)
    message_id: str
    tool: str
    sender: str
    recipient: str = Field(index=True)
    subject: str
    text: str
    html: str | None = None
    at: int = Field(sa_type=sa.BigInteger)


class Connection(SQLModel, table=True):
    """A way to a service outside, by name. `secret` is sealed, or a reference (`env:NAME`, `file:NAME`); never its text.

    `version` counts its changes from 1. `tested_at`, `tested_ok` and `tested_text` are of the last test of this very version.
    """

    __tablename__ = "connection"
    tenant: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    kind: str
    config: dict[str, Any] = Field(sa_type=sa.JSON)
    secret: str | None = None
    version: int = 1
    created_at: int = Field(sa_type=sa.BigInteger)
    created_by: str
    updated_at: int = Field(sa_type=sa.BigInteger)
    updated_by: str
    tested_at: int | None = Field(default=None, sa_type=sa.BigInteger)
    tested_ok: bool | None = None
    tested_text: str | None = None
