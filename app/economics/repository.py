"""All SQL of the economics room. Private to it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.economics.models import Usage


def add(session: Session, row: Usage) -> None:
    session.add(row)
    session.flush()


def of_subject(session: Session, tenant: str, subject: str) -> list[Usage]:
    """The metered calls made for one thing, oldest first."""
    return list(session.exec(select(Usage).where(Usage.tenant == tenant, Usage.subject == subject).order_by(col(Usage.id))))


def sums(session: Session, tenant: str) -> list[tuple[Any, ...]]:
    """Per tool, kind and model: the calls, those without a price, the sum in dollars (rounded by the database), the last time."""
    usd = sa.func.sum(sa.cast(col(Usage.usd), sa.Float))
    unpriced = sa.func.sum(sa.case((col(Usage.usd).is_(None), 1), else_=0))
    query = (
        sa.select(Usage.tool, Usage.kind, Usage.model, sa.func.count(), unpriced, usd, sa.func.max(Usage.at))  # type: ignore[call-overload]  # SQLModel types columns as values
        .where(col(Usage.tenant) == tenant)
        .group_by(col(Usage.tool), col(Usage.kind), col(Usage.model))
        .order_by(col(Usage.tool), col(Usage.kind), col(Usage.model))
    )
    return [tuple(row) for row in session.connection().execute(query)]
