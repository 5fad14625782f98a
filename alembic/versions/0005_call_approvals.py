"""call approvals.

Revision 0005, after 0004.
"""

from __future__ import annotations

revision = "0005"
down_revision: str | None = "0004"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
