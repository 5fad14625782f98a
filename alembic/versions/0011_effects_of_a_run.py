"""Effects are found by run, state and name: what a run has done is counted from the index alone, and without sorting its rows.

Revision 0011, after 0010.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision: str | None = "0010"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
    op.create_index("effect_by_run", "effect", ["run_id", "state", "effect"])
    op.drop_index("ix_effect_run_id", "effect")
