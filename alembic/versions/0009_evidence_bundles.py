"""Signed evidence of what was published.

Revision 0009, after 0008.
"""

from __future__ import annotations

revision = "0009"
down_revision: str | None = "0008"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
