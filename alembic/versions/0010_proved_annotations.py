"""Hints that were proved by runs.

Revision 0010, after 0009.
"""

from __future__ import annotations

revision = "0010"
down_revision: str | None = "0009"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
