"""Table of specs."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class SpecRevision(SQLModel, table=True):
    """An immutable spec. `body` is its canonical JSON (RFC 8785) with every default spelled out, `digest` the SHA-256 of it."""

    __tablename__ = "spec_revision"
    __table_args__ = (
        sa.UniqueConstraint("tenant", "name", "revision"),
        sa.UniqueConstraint("tenant", "name", "digest"),
    )
    id: str = Field(primary_key=True)
    tenant: str
    name: str
    revision: int
    digest: str
    body: str
    created_at: int = Field(sa_type=sa.BigInteger)
    created_by: str
