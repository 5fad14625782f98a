"""flow control.

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: None = None
depends_on: None = None

TEXT = sa.String


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "pause",
        sa.Column("tenant", TEXT(), nullable=False),
        sa.Column("scope", TEXT(), nullable=False),
        sa.Column("name", TEXT(), nullable=False),
        sa.Column("reason", TEXT(), nullable=False),
        sa.Column("actor", TEXT(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "scope", "name"),
    )
    op.create_table(
        "open_circuit",
        sa.Column("tenant", TEXT(), nullable=False),
        sa.Column("connector", TEXT(), nullable=False),
        sa.Column("tool", TEXT(), nullable=False),
        sa.Column("error", TEXT(), nullable=False),
        sa.Column("trials", sa.Integer(), nullable=False),
        sa.Column("rest_ms", sa.Integer(), nullable=False),
        sa.Column("trial_at", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "connector", "tool"),
    )
    op.create_table(
        "pacing",
        sa.Column("name", TEXT(), nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "flow_share",
        sa.Column("name", TEXT(), nullable=False),
        sa.Column("owner", TEXT(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "owner"),
    )
    op.add_column("run", sa.Column("waits_for", TEXT(), nullable=True))
