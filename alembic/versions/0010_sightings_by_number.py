"""Sightings name their effect by its number: rows of a run that meets a finished ledger are appended, and take a third of the room.

Revision 0010, after 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision: str | None = "0009"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
    op.rename_table("sighting", "sighting_by_id")
    op.create_table(
        "sighting",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("effect_seq", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "effect_seq", name="sighting_by_number"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO sighting (run_id, effect_seq, step, position) SELECT s.run_id, effect.seq, s.step, s.position"
        " FROM sighting_by_id AS s JOIN effect ON effect.id = s.effect_id ORDER BY s.run_id, effect.seq"
    )
    op.drop_table("sighting_by_id")
