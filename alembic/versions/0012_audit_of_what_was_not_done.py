"""What was refused or has failed is found in the audit trail without reading what was done.

Revision 0012, after 0011.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision: str | None = "0011"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
    rare = sa.text("outcome <> 'done'")
    op.create_index("audit_event_not_done", "audit_event", ["outcome", "id"], sqlite_where=rare, postgresql_where=rare)
