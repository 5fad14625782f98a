"""Tables of tenants and API keys."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class Tenant(SQLModel, table=True):
    """Whose data it is. One, `default`, until there is a second."""

    __tablename__ = "tenant"
    id: str = Field(primary_key=True)
    created_at: int = Field(sa_type=sa.BigInteger)


class ApiKey(SQLModel, table=True):
    """An actor's key. Only the SHA-256 of its secret (32 random bytes) is kept."""

    __tablename__ = "api_key"
    id: str = Field(primary_key=True)
    tenant: str
    name: str
    digest: str = Field(unique=True)
    permissions: list[str] = Field(sa_type=sa.JSON)
    created_at: int = Field(sa_type=sa.BigInteger)
    created_by: str
    expires_at: int | None = Field(default=None, sa_type=sa.BigInteger)
    revoked_at: int | None = Field(default=None, sa_type=sa.BigInteger)
    last_used_at: int | None = Field(default=None, sa_type=sa.BigInteger)
