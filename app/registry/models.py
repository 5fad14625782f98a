"""Tables of tools, versions, their files, and channels."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class Tool(SQLModel, table=True):
    """A published name."""

    __tablename__ = "tool"
    tenant: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    created_at: int = Field(sa_type=sa.BigInteger)
    updated_at: int = Field(sa_type=sa.BigInteger)


class Version(SQLModel, table=True):
    """An immutable release. `digest` is the SHA-256 of the manifest, which pins the digest of every file."""

    __tablename__ = "version"
    tenant: str = Field(primary_key=True)
    tool: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    digest: str = Field(index=True)
    candidate_id: str
    spec_revision: int
    manifest: str
    evidence_digest: str
    state: str
    author: str
    published_by: str
    reason: str = ""
    created_at: int = Field(sa_type=sa.BigInteger)


class ArtifactFile(SQLModel, table=True):
    """A file of an artifact, by the manifest's digest."""

    __tablename__ = "artifact_file"
    digest: str = Field(primary_key=True)
    path: str = Field(primary_key=True)
    content: str


class EvidenceBundle(SQLModel, table=True):
    """The signed evidence of a version, written once, never changed. `content` is the file; one for each key that ever signed it."""

    __tablename__ = "evidence_bundle"
    tenant: str = Field(primary_key=True)
    tool: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    public_key: str = Field(primary_key=True)
    digest: str
    content: str
    created_at: int = Field(sa_type=sa.BigInteger)


class Channel(SQLModel, table=True):
    """A movable pointer with a weight: `stable` 100 → version 3. A channel may hold several versions by weight."""

    __tablename__ = "channel"
    tenant: str = Field(primary_key=True)
    tool: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    version: int
    weight: int = 100
    updated_at: int = Field(sa_type=sa.BigInteger)


class ChannelMove(SQLModel, table=True):
    """History of a channel: who moved it from which version to which, when and why."""

    __tablename__ = "channel_move"
    id: str = Field(primary_key=True)
    tenant: str = Field(index=True)
    tool: str = Field(index=True)
    channel: str
    before: int | None = None
    after: int
    verb: str
    reason: str
    actor: str
    at: int = Field(sa_type=sa.BigInteger)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
