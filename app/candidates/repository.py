"""All SQL of the candidates' room. Private to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.candidates.models import Approval, Candidate, CandidateFile, GateResult
from app.core import owners
from app.core.db import now


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


def page(session: Session, tenant: str, equal: Mapping[str, Any], before: str | None, limit: int) -> list[Candidate]:
    """Newest first, after the candidate with the id `before`; `equal` names columns and their values."""
    query = select(Candidate).where(Candidate.tenant == tenant)
    for column, value in equal.items():
        query = query.where(getattr(Candidate, column) == value)
    if before is not None:
        query = query.where(col(Candidate.id) < before)
    return list(session.exec(query.order_by(col(Candidate.id).desc()).limit(limit)))


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


def forget_gates(session: Session, candidate_id: str) -> None:
    session.connection().execute(sa.delete(GateResult).where(col(GateResult.candidate_id) == candidate_id))


def add(session: Session, rows: Sequence[Candidate | CandidateFile | Approval | GateResult]) -> None:
    session.add_all(rows)
    session.flush()
