"""Idempotency of POSTs other than runs: the first answer for a caller's key; approvals of calls."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class PostIdentity(SQLModel, table=True):
    """`(tenant, actor, method and path, Idempotency-Key)` digest → the answer; `answer` null while in flight."""

    __tablename__ = "post_identity"
    id: str = Field(primary_key=True)
    fingerprint: str
    status: int | None = None
    answer: str | None = None
    created_at: int = Field(sa_type=sa.BigInteger, index=True)


class CallApproval(SQLModel, table=True):
    """What one actor asked leave for: one call, as its dry run found it. States: waiting, approved, rejected, used.

    `digest` is the artifact's, `fingerprint` that of the arguments, `dry_run` the run whose plan was shown; `seed` and `as_of` (ms) are
    those of that run, so that the same comes of it. `policy`: the permissions that the actor holds for approved calls only. One that
    has expired keeps its state; `expires_at` says so. `run_id` is the run that used it.
    """

    __tablename__ = "call_approval"
    __table_args__ = (sa.Index("call_approval_by_state", "tenant", "state", "id"),)
    id: str = Field(primary_key=True)
    tenant: str
    state: str
    actor: str
    tool: str
    version: int
    digest: str
    dry_run: str = Field(index=True)
    fingerprint: str
    plan_digest: str
    policy: list[str] = Field(sa_type=sa.JSON)
    seed: str
    as_of: int = Field(sa_type=sa.BigInteger)
    note: str = ""
    decided_by: str | None = None
    decided_at: int | None = Field(default=None, sa_type=sa.BigInteger)
    reason: str | None = None
    run_id: str | None = None
    created_at: int = Field(sa_type=sa.BigInteger)
    expires_at: int = Field(sa_type=sa.BigInteger)
