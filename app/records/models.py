"""Tables of records."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class Record(SQLModel, table=True):
    """A JSON document in a collection. `version` counts its writes from 1."""

    __tablename__ = "record"
    tenant: str = Field(primary_key=True)
    collection: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    body: dict[str, Any] = Field(sa_type=sa.JSON)
    version: int = 1
    updated_at: int = Field(sa_type=sa.BigInteger)
