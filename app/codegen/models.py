"""Tables of generations and of what the model answered."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class Generation(SQLModel, table=True):
    """A model is asked to write a candidate. States: queued, writing, done, refused, error."""

    __tablename__ = "generation"
    id: str = Field(primary_key=True)
    tenant: str
    tool: str
    spec_revision: int
    model: str
    brief: str
    state: str = Field(index=True)
    author: str
    candidate_id: str | None = None
    error: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    owner: str | None = None
    crashes: int = 0
    trace_id: str
    created_at: int = Field(sa_type=sa.BigInteger)
    updated_at: int = Field(sa_type=sa.BigInteger)


class GenerationReply(SQLModel, table=True):
    """A call's answer (JSON), kept before the next one is made, so that nothing is paid for twice. `stage`: tests, code."""

    __tablename__ = "generation_reply"
    generation_id: str = Field(primary_key=True)
    stage: str = Field(primary_key=True)
    model: str
    answer: dict[str, Any] = Field(sa_type=sa.JSON)
    at: int = Field(sa_type=sa.BigInteger)
