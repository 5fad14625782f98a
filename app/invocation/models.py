"""Idempotency of POSTs other than runs: the first answer for a caller's key."""

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
