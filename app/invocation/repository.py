"""All SQL of this room. Private to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from app.core.db import insert_missing, now
from app.invocation.models import PostIdentity

_POSTS = SQLModel.metadata.tables[str(PostIdentity.__tablename__)]


def claim(session: Session, post_id: str, fingerprint: str) -> bool:
    """Insert the identity; False if it is there already."""
    row = {"id": post_id, "fingerprint": fingerprint, "status": None, "answer": None, "created_at": now(session)}
    return insert_missing(session, _POSTS, [row]) == 1


def held(session: Session, post_id: str) -> PostIdentity:
    """The row, locked until the end of the transaction."""
    return session.exec(select(PostIdentity).where(PostIdentity.id == post_id).with_for_update()).one()


def change(session: Session, post_id: str, fingerprint: str, values: Mapping[str, Any]) -> None:
    guard = sa.and_(col(PostIdentity.id) == post_id, col(PostIdentity.fingerprint) == fingerprint)
    session.connection().execute(sa.update(PostIdentity).where(guard).values(**values))


def forget(session: Session, post_id: str, fingerprint: str) -> None:
    """Remove an identity that has no answer."""
    guard = sa.and_(col(PostIdentity.id) == post_id, col(PostIdentity.fingerprint) == fingerprint, col(PostIdentity.answer).is_(None))
    session.connection().execute(sa.delete(PostIdentity).where(guard))


def expire(session: Session, before: int) -> int:
    return session.connection().execute(sa.delete(PostIdentity).where(col(PostIdentity.created_at) < before)).rowcount
