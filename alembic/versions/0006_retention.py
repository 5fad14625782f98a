"""Retention and replay: what is kept of a run, who refers to a payload, and replays.

Revision 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
    op.add_column("run", sa.Column("kept", sa.String(), server_default="all", nullable=False))
    _partial("run_prunable", "run", "kept", "finished_at", where="kept <> 'nothing' AND finished_at IS NOT NULL")
    _partial("run_by_args", "run", "args", where="kept <> 'nothing'")
    _partial("run_by_result", "run", "result", where="kept <> 'nothing' AND result IS NOT NULL")
    _partial("run_by_plan", "run", "plan", where="kept <> 'nothing' AND plan IS NOT NULL")
    _partial("step_by_payload", "step", "payload", where="payload IS NOT NULL")
    op.create_index(op.f("ix_run_identity_expires_at"), "run_identity", ["expires_at"])
    op.create_table(
        "replay",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("trace_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("report", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_replay_run_id"), "replay", ["run_id"])
    _partial("replay_open", "replay", "state", "created_at", where="state IN ('waiting', 'replaying')")


def _partial(name: str, table: str, *columns: str, where: str) -> None:
    op.create_index(name, table, list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where))
