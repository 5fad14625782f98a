"""Redrives and verdicts in bulk, look-ups of unknowns, and the indexes of the queues.

Revision 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: None = None
depends_on: None = None

QUEUED = "state IN ('retry_wait', 'dead', 'unknown')"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "bulk_decision",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("actor_name", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("ids", sa.Integer(), nullable=True),
        sa.Column("tool", sa.String(), nullable=True),
        sa.Column("effect", sa.String(), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("policies", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("moved", sa.Integer(), nullable=False),
        sa.Column("position_at", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_bulk_decision_tenant"), "bulk_decision", ["tenant"], unique=False)
    _partial("bulk_decision_open", "bulk_decision", ["id"], "state = 'running'")
    op.add_column("effect", sa.Column("lookups", sa.Integer(), server_default="0", nullable=False))
    op.add_column("effect", sa.Column("decision", sa.String(), nullable=True))
    _partial("effect_queued", "effect", ["tenant", "state", "updated_at", "seq"], QUEUED)
    _partial("effect_by_cause", "effect", ["tenant", "state", "tool", "effect", "error_code", "updated_at", "seq"], QUEUED)
    _partial("effect_unknown", "effect", ["connector", "next_at"], "state = 'unknown'")
    _partial("effect_decided", "effect", ["decision", "state"], "decision IS NOT NULL")


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, unique=False, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
