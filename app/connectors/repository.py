"""All SQL over the built-in outbox and the connections. Private to this room.

It refuses to be: a mailbox. Rows are written once and read back.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.connectors.models import Connection, OutboxEmail
from app.core.db import now


def add_email(session: Session, row: dict[str, Any]) -> int:
    """Keep one e-mail; returns its id. By Core, since a campaign keeps thousands in one transaction."""
    inserted = session.connection().execute(sa.insert(OutboxEmail).values(row).returning(sa.column("id", sa.Integer)))
    return inserted.scalar_one()


def email_of(session: Session, effect_id: str) -> int | None:
    """The id of an effect's e-mail, if it is there."""
    return session.exec(select(OutboxEmail.id).where(OutboxEmail.effect_id == effect_id)).first()


def newest_emails(session: Session, tenant: str, before: int | None, limit: int, recipient: str | None) -> list[OutboxEmail]:
    """At most `limit` e-mails with ids under `before`, newest first."""
    query = select(OutboxEmail).where(OutboxEmail.tenant == tenant).order_by(col(OutboxEmail.id).desc()).limit(limit)
    if before is not None:
        query = query.where(col(OutboxEmail.id) < before)
    if recipient is not None:
        query = query.where(OutboxEmail.recipient == recipient)
    return list(session.exec(query))


def drop_emails(session: Session, before: int, most: int) -> int:
    """Delete those of the `most` oldest e-mails that are older than `before`; returns how many."""
    oldest = select(OutboxEmail.id).order_by(col(OutboxEmail.id)).limit(most)
    which = (col(OutboxEmail.id).in_(oldest), col(OutboxEmail.at) < before)
    return session.connection().execute(sa.delete(OutboxEmail).where(*which)).rowcount


def find_connection(session: Session, tenant: str, name: str, *, lock: bool = False) -> Connection | None:
    """One connection or None; with `lock` it stays as it is until the end of this transaction."""
    return session.get(Connection, (tenant, name), with_for_update=lock)


def add_connection(session: Session, tenant: str, name: str, kind: str, config: dict[str, Any], secret: str | None, by: str) -> Connection:
    """Keep a new connection; `secret` as it is stored."""
    at = now(session)
    row = Connection(
        tenant=tenant,
        name=name,
        kind=kind,
        config=config,
        secret=secret,
        created_at=at,
        created_by=by,
        updated_at=at,
        updated_by=by,
    )
    session.add(row)
    return row


def connections_of(tenant: str) -> Any:
    """The query of a tenant's connections, for a page of them."""
    return select(Connection).where(Connection.tenant == tenant)


def count_connections(session: Session, tenant: str) -> int:
    """How many a tenant has."""
    return session.exec(select(sa.func.count()).select_from(Connection).where(Connection.tenant == tenant)).one()


def kinds_of(session: Session, tenant: str, names: set[str]) -> dict[str, str]:
    """The kind of each of these connections that exists."""
    query = select(Connection.name, Connection.kind).where(Connection.tenant == tenant, col(Connection.name).in_(names))
    return dict(session.exec(query).all())


def note_test(session: Session, tenant: str, name: str, version: int, ok: bool, text: str) -> None:
    """Keep how the last test of this version went."""
    where = (col(Connection.tenant) == tenant, col(Connection.name) == name, col(Connection.version) == version)
    values = {"tested_at": now(session), "tested_ok": ok, "tested_text": text}
    session.connection().execute(sa.update(Connection).where(*where).values(values))
