"""Tables of flow control: pauses, open circuits, the places in time that limits a second give out, and shares of limits at once."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class Pause(SQLModel, table=True):
    """Something is paused. `scope` is `tool`, `connector` or `everything`, whose `name` is empty."""

    __tablename__ = "pause"
    tenant: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    reason: str
    actor: str
    at: int = Field(sa_type=sa.BigInteger)


class OpenCircuit(SQLModel, table=True):
    """What one tool does through one connector is not tried before `trial_at`; closed circuits have no row.

    `rest_ms` is how long it rests after a trial that fails, `trials` how many have, `error` why the last attempt failed.
    """

    __tablename__ = "open_circuit"
    tenant: str = Field(primary_key=True)
    connector: str = Field(primary_key=True)
    tool: str = Field(primary_key=True)
    error: str
    trials: int = 0
    rest_ms: int
    trial_at: int = Field(sa_type=sa.BigInteger)
    opened_at: int = Field(sa_type=sa.BigInteger)


class Pacing(SQLModel, table=True):
    """A limit a second: `next_us` is the next place in time that nobody has taken, in microseconds of the database's clock."""

    __tablename__ = "pacing"
    name: str = Field(primary_key=True)
    next_us: int = Field(sa_type=sa.BigInteger)


class Share(SQLModel, table=True):
    """How many of a limit at once a live process holds (`granted`), since when, and how many it would use (`wanted`)."""

    __tablename__ = "flow_share"
    name: str = Field(primary_key=True)
    owner: str = Field(primary_key=True)
    wanted: int
    granted: int
    since: int = Field(sa_type=sa.BigInteger)
