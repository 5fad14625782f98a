"""What is counted of a run or a ledger is counted from an index alone, without reading or sorting rows; lists of runs are read in order.

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
    op.drop_index("effect_by_ledger", "effect")
    op.create_index("effect_by_ledger", "effect", ["tenant", "ledger", "ledger_group", "seq", "state"])
    op.create_index("run_by_tenant", "run", ["tenant", "id"])
    op.create_index("run_by_state", "run", ["tenant", "state", "id"])
