"""All SQL of the access room. Private to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from app.access.models import ApiKey, Tenant
from app.core.db import insert_missing, now

KEY_ID = col(ApiKey.id)
_TENANTS = SQLModel.metadata.tables[str(Tenant.__tablename__)]


def key_by_digest(session: Session, digest: str) -> ApiKey | None:
    return session.exec(select(ApiKey).where(ApiKey.digest == digest)).one_or_none()


def key_by_id(session: Session, key_id: str) -> ApiKey | None:
    return session.get(ApiKey, key_id)


def add_key(session: Session, key: ApiKey) -> None:
    session.add(key)
    session.flush()


def keys_of(tenant: str) -> Any:
    """The query of a tenant's keys."""
    return select(ApiKey).where(ApiKey.tenant == tenant)


def change_key(session: Session, key_id: str, values: Mapping[str, Any]) -> None:
    session.connection().execute(sa.update(ApiKey).where(col(ApiKey.id) == key_id).values(**values))


def touch_key(session: Session, key_id: str, older_than: int) -> bool:
    """Stamp the last use, unless another process has done so since `older_than`."""
    stale = sa.or_(col(ApiKey.last_used_at).is_(None), col(ApiKey.last_used_at) < older_than)
    statement = sa.update(ApiKey).where(col(ApiKey.id) == key_id, stale).values(last_used_at=now(session))
    return session.connection().execute(statement).rowcount == 1


def add_tenant(session: Session, tenant: str) -> None:
    insert_missing(session, _TENANTS, [{"id": tenant, "created_at": now(session)}])
