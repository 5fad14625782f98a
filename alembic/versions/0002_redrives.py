"""redrives.

Revision 0002, after 0001.
"""

from __future__ import annotations

revision = "0002"
down_revision: str | None = "0001"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
