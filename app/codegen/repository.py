"""All SQL of the codegen room. Private to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.codegen.models import Generation, GenerationReply
from app.core import owners
from app.core.db import now

OPEN = ("queued", "writing")


def generation(session: Session, generation_id: str) -> Generation | None:
    return session.get(Generation, generation_id)


def open_of(session: Session, tenant: str) -> int:
    query = select(sa.func.count()).select_from(Generation).where(Generation.tenant == tenant, col(Generation.state).in_(OPEN))
    return session.exec(query).one()


def replies_of(session: Session, generation_id: str) -> dict[str, dict[str, Any]]:
    """Answers by stage."""
    rows = session.exec(select(GenerationReply).where(GenerationReply.generation_id == generation_id))
    return {row.stage: row.answer for row in rows}


def add(session: Session, row: Generation | GenerationReply) -> None:
    session.add(row)
    session.flush()


def change(session: Session, generation_id: str, values: Mapping[str, Any], *guards: sa.ColumnElement[bool]) -> bool:
    """Update one generation where all `guards` hold; says whether they did."""
    statement = sa.update(Generation).where(col(Generation.id) == generation_id, *guards).values(updated_at=now(session), **values)
    return session.connection().execute(statement).rowcount == 1


def release(session: Session, generation_id: str, owner: str, crashed: bool) -> bool:
    values = {"state": "queued", "owner": None, "crashes": col(Generation.crashes) + int(crashed)}
    return change(session, generation_id, values, held_by(owner))


def queued() -> sa.ColumnElement[bool]:
    return col(Generation.state) == "queued"


def deserted(session: Session) -> sa.ColumnElement[bool]:
    return sa.and_(col(Generation.state) == "writing", col(Generation.owner).in_(owners.gone(session)))


def held_by(owner: str) -> sa.ColumnElement[bool]:
    return sa.and_(col(Generation.state) == "writing", col(Generation.owner) == owner)


def waiting_ids(session: Session, queued_before: int) -> list[str]:
    lost = sa.and_(queued(), col(Generation.updated_at) < queued_before)
    return list(session.exec(select(Generation.id).where(sa.or_(deserted(session), lost)).order_by(col(Generation.id))))


def drop_replies(session: Session, before: int, most: int) -> int:
    """Delete the oldest replies of generations that have ended since before `before`; returns how many."""
    over = sa.and_(col(Generation.id) == col(GenerationReply.generation_id), col(Generation.state).not_in(["queued", "writing"]))
    old = sa.exists().where(over, col(Generation.updated_at) < before)
    some = sa.select(col(GenerationReply.generation_id)).where(old).order_by(col(GenerationReply.at)).limit(most)
    return session.connection().execute(sa.delete(GenerationReply).where(col(GenerationReply.generation_id).in_(some))).rowcount
