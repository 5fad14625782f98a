"""flow control.

Revision 0003, after 0002.
"""

from __future__ import annotations

revision = "0003"
down_revision: str | None = "0002"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
