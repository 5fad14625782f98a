"""All SQL of the candidates' room. Private to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.candidates.models import Approval, Candidate, CandidateFile, GateResult, KeptResult
from app.core import owners
from app.core.db import insert_missing, now

CANDIDATE_ID = col(Candidate.id)
_kept: sa.Table = KeptResult.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model


def candidate(session: Session, candidate_id: str) -> Candidate | None:
    return session.get(Candidate, candidate_id)


def files_of(session: Session, candidate_id: str) -> list[CandidateFile]:
    return list(session.exec(select(CandidateFile).where(CandidateFile.candidate_id == candidate_id)))


def gates_of(session: Session, candidate_id: str) -> list[GateResult]:
    query = select(GateResult).where(GateResult.candidate_id == candidate_id)
    return list(session.exec(query.order_by(col(GateResult.position))))


def gate(session: Session, candidate_id: str, name: str) -> GateResult | None:
    return session.get(GateResult, (candidate_id, name))


def approvals_of(session: Session, candidate_id: str) -> list[Approval]:
    return list(session.exec(select(Approval).where(Approval.candidate_id == candidate_id).order_by(col(Approval.id))))


def listed(tenant: str, equal: Mapping[str, Any]) -> Any:
    """The query of a tenant's candidates; `equal` names columns and their values. Who waits for an approval can still get one."""
    query = select(Candidate).where(Candidate.tenant == tenant)
    query = query.where(Candidate.state != "refused") if equal.get("approval") == "waiting" else query
    for column, value in equal.items():
        query = query.where(getattr(Candidate, column) == value)
    return query


def change(session: Session, candidate_id: str, values: Mapping[str, Any], *guards: sa.ColumnElement[bool]) -> bool:
    """Update one candidate where all `guards` hold; says whether they did."""
    statement = sa.update(Candidate).where(col(Candidate.id) == candidate_id, *guards).values(updated_at=now(session), **values)
    return session.connection().execute(statement).rowcount == 1


def free(session: Session) -> sa.ColumnElement[bool]:
    """Waiting for a verifier: queued, or verifying by an owner whose lease has ended."""
    return sa.or_(col(Candidate.state) == "queued", deserted(session))


def deserted(session: Session) -> sa.ColumnElement[bool]:
    return sa.and_(col(Candidate.state) == "verifying", col(Candidate.owner).in_(owners.gone(session)))


def held_by(owner: str) -> sa.ColumnElement[bool]:
    return sa.and_(col(Candidate.state) == "verifying", col(Candidate.owner) == owner)


def in_state(*states: str) -> sa.ColumnElement[bool]:
    return col(Candidate.state).in_(states)


def approval_in(*approvals: str) -> sa.ColumnElement[bool]:
    return col(Candidate.approval).in_(approvals)


def waiting_ids(session: Session, queued_before: int) -> list[str]:
    """Candidates that a sweeper should wake: deserted ones, and those queued since before `queued_before`."""
    lost = sa.and_(col(Candidate.state) == "queued", col(Candidate.updated_at) < queued_before)
    return list(session.exec(select(Candidate.id).where(sa.or_(deserted(session), lost)).order_by(col(Candidate.id))))


def forget_gates(session: Session, candidate_id: str, status: str | None = None) -> None:
    """Delete what its gates said; with a status, those only that have it."""
    statement = sa.delete(GateResult).where(col(GateResult.candidate_id) == candidate_id)
    session.connection().execute(statement if status is None else statement.where(col(GateResult.status) == status))


def kept(session: Session, key: str) -> KeptResult | None:
    return session.get(KeptResult, key)


def keep(session: Session, row: KeptResult) -> KeptResult:
    """What is kept under the row's key: the row, unless another came before it."""
    insert_missing(session, _kept, [row.model_dump()])
    known = kept(session, row.key)
    assert known is not None  # noqa: S101  # it was there, or the line above inserted it, in this transaction
    return known


def forget_kept(session: Session, before: int, most: int) -> int:
    """Delete what was kept before `before`, and all but the `most` newest; returns how many."""
    newest = select(KeptResult.at).order_by(col(KeptResult.at).desc()).offset(most).limit(1)
    surplus = session.exec(newest).first()
    bound = before if surplus is None else max(before, surplus + 1)
    return session.connection().execute(sa.delete(KeptResult).where(col(KeptResult.at) < bound)).rowcount


def add(session: Session, rows: Sequence[Candidate | CandidateFile | Approval | GateResult | KeptResult]) -> None:
    session.add_all(rows)
    session.flush()
