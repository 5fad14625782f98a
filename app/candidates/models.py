"""Tables of candidates, their gate results, what is kept of those, reports and approvals."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class Candidate(SQLModel, table=True):
    """Files submitted for a spec revision. States: queued, verifying, passed, refused, published, cancelled, error."""

    __tablename__ = "candidate"
    __table_args__ = (sa.Index("candidate_by_tool", "tenant", "tool", "id"), sa.Index("candidate_by_state", "state"))
    id: str = Field(primary_key=True)
    tenant: str
    tool: str
    spec_revision: int
    spec_digest: str
    digest: str
    state: str
    approval: str
    author: str
    notes: str = ""
    full_report: bool = False
    generation_id: str | None = None
    version: int | None = None
    error: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    report: str | None = None
    report_digest: str | None = None
    owner: str | None = None
    crashes: int = 0
    trace_id: str
    created_at: int = Field(sa_type=sa.BigInteger)
    updated_at: int = Field(sa_type=sa.BigInteger)


class CandidateFile(SQLModel, table=True):
    """One file of a candidate: `tool.py` or `test_tool.py`."""

    __tablename__ = "candidate_file"
    candidate_id: str = Field(primary_key=True)
    path: str = Field(primary_key=True)
    content: str
    digest: str


class GateResult(SQLModel, table=True):
    """What one gate saw. Status: running, passed, failed, skipped. `evidence` are the measured facts.

    `kept` says of which verification and when, where the result was not computed anew.
    """

    __tablename__ = "gate_result"
    candidate_id: str = Field(primary_key=True)
    gate: str = Field(primary_key=True)
    position: int
    status: str
    duration_ms: int = 0
    findings: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    evidence: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    kept: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    updated_at: int = Field(sa_type=sa.BigInteger)


class KeptResult(SQLModel, table=True):
    """A gate's result by the digest of all that it depends on. `result` is its JSON text; None where it was red, so that none answers."""

    __tablename__ = "kept_result"
    key: str = Field(primary_key=True)
    tenant: str
    gate: str
    candidate_id: str
    result: str | None
    at: int = Field(index=True, sa_type=sa.BigInteger)


class Approval(SQLModel, table=True):
    """A decision of another actor than the author."""

    __tablename__ = "approval"
    id: str = Field(primary_key=True)
    candidate_id: str = Field(index=True)
    actor: str
    decision: str
    reason: str
    at: int = Field(sa_type=sa.BigInteger)
