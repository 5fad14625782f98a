"""Tables of the connectors: the built-in outbox of e-mails."""

from __future__ import annotations

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
