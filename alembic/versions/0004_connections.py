"""connections.

Revision 0004, after 0003.
"""

from __future__ import annotations

revision = "0004"
down_revision: str | None = "0003"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
