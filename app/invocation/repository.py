"""All SQL of this room. Private to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from app.core.db import insert_missing, now
from app.invocation.models import CallApproval, PostIdentity

_APPROVALS = SQLModel.metadata.tables[str(CallApproval.__tablename__)]
APPROVAL_ID = col(CallApproval.id)
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


def approval(session: Session, tenant: str, approval_id: str) -> CallApproval | None:
    return session.exec(select(CallApproval).where(CallApproval.id == approval_id, CallApproval.tenant == tenant)).first()


def approvals(tenant: str, actor: str | None, state: str | None, tool: str | None, at: int) -> Any:
    """The query of a list. `expired` is what may no longer be decided or used; the other states leave that out."""
    query = select(CallApproval).where(CallApproval.tenant == tenant)
    query = query.where(CallApproval.actor == actor) if actor is not None else query
    query = query.where(CallApproval.tool == tool) if tool else query
    if state is None:
        return query
    if state == "expired":
        return query.where(col(CallApproval.state).in_(("waiting", "approved")), col(CallApproval.expires_at) <= at)
    query = query.where(CallApproval.state == state)
    return query.where(col(CallApproval.expires_at) > at) if state in ("waiting", "approved") else query


def open_approval_of(session: Session, dry_run: str, at: int) -> CallApproval | None:
    """The approval of this dry run that can still be decided or used."""
    live = col(CallApproval.state).in_(("waiting", "approved")), col(CallApproval.expires_at) > at
    return session.exec(select(CallApproval).where(CallApproval.dry_run == dry_run, *live)).first()


def add_approval(session: Session, row: CallApproval) -> None:
    session.add(row)
    session.flush()


def settle_approval(session: Session, approval_id: str, before: tuple[str, ...], values: Mapping[str, Any]) -> bool:
    """Change an approval that is in one of these states and has not expired; False if it is not."""
    table = _APPROVALS.c
    guard = sa.and_(table.id == approval_id, table.state.in_(before), table.expires_at > now(session))
    return session.connection().execute(sa.update(_APPROVALS).where(guard).values(**values)).rowcount == 1
