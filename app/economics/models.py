"""The usage meter: raw, as the provider answered it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class Usage(SQLModel, table=True):
    """One metered call. `raw` is the provider's usage object; `usd` null means that the price is unknown."""

    __tablename__ = "usage"
    id: str = Field(primary_key=True)
    tenant: str
    kind: str
    subject: str = Field(index=True)
    tool: str = Field(index=True)
    model: str
    raw: dict[str, Any] = Field(sa_type=sa.JSON)
    usd: str | None = None
    prices: str = ""
    at: int = Field(sa_type=sa.BigInteger)
