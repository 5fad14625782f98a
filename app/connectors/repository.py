"""All SQL over the built-in outbox. Private to this room.

It refuses to be: a mailbox. Rows are written once and read back.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.connectors.models import OutboxEmail


def add_email(session: Session, row: dict[str, Any]) -> int:
    """Keep one e-mail; returns its id. By Core, since a campaign keeps thousands in one transaction."""
    inserted = session.connection().execute(sa.insert(OutboxEmail).values(row).returning(sa.column("id", sa.Integer)))
    return inserted.scalar_one()


def newest_emails(session: Session, tenant: str, before: int | None, limit: int, recipient: str | None) -> list[OutboxEmail]:
    """At most `limit` e-mails with ids under `before`, newest first."""
    query = select(OutboxEmail).where(OutboxEmail.tenant == tenant).order_by(col(OutboxEmail.id).desc()).limit(limit)
    if before is not None:
        query = query.where(col(OutboxEmail.id) < before)
    if recipient is not None:
        query = query.where(OutboxEmail.recipient == recipient)
    return list(session.exec(query))
