"""All SQL of this room."""

from __future__ import annotations

from collections.abc import Iterator

from sqlmodel import Session, col, func, select

from app.spec.models import SpecRevision

_NUMBERS = 1 << 31  # what the column holds


def by_digest(session: Session, tenant: str, name: str, digest: str) -> SpecRevision | None:
    return session.exec(
        select(SpecRevision).where(SpecRevision.tenant == tenant, SpecRevision.name == name, SpecRevision.digest == digest)
    ).first()


def by_revision(session: Session, tenant: str, name: str, revision: int | None) -> SpecRevision | None:
    """One revision, or the latest where `revision` is None."""
    wanted = select(SpecRevision).where(SpecRevision.tenant == tenant, SpecRevision.name == name)
    if revision is not None and not 0 < revision < _NUMBERS:
        return None
    if revision is not None:
        wanted = wanted.where(SpecRevision.revision == revision)
    return session.exec(wanted.order_by(col(SpecRevision.revision).desc()).limit(1)).first()


def bodies(session: Session, tenant: str) -> Iterator[str]:
    """The text of every revision."""
    return iter(session.exec(select(SpecRevision.body).where(SpecRevision.tenant == tenant).execution_options(yield_per=20)))


def next_revision(session: Session, tenant: str, name: str) -> int:
    latest = session.exec(select(func.max(SpecRevision.revision)).where(SpecRevision.tenant == tenant, SpecRevision.name == name)).one()
    return (latest or 0) + 1


def revisions(session: Session, tenant: str, name: str) -> list[SpecRevision]:
    """All revisions of a name, the latest first."""
    wanted = select(SpecRevision).where(SpecRevision.tenant == tenant, SpecRevision.name == name)
    return list(session.exec(wanted.order_by(col(SpecRevision.revision).desc())).all())
