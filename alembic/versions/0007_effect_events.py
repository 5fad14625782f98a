"""Events are found by their effect's number: an index over ids, which are digests, made each event cost twice as much.

Revision 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels: None = None
depends_on: None = None

LINKED = "link IS NOT NULL"


def upgrade() -> None:
    """Apply."""
    op.add_column("effect_event", sa.Column("effect_seq", sa.BigInteger(), nullable=True))
    op.execute("UPDATE effect_event SET effect_seq = (SELECT seq FROM effect WHERE effect.id = effect_event.effect_id)")
    op.drop_index("ix_effect_event_effect_id", table_name="effect_event")
    op.drop_index("ix_effect_event_link", table_name="effect_event")
    with op.batch_alter_table("effect_event") as table:
        table.alter_column("effect_seq", existing_type=sa.BigInteger(), nullable=False)
    op.create_index(op.f("ix_effect_event_effect_seq"), "effect_event", ["effect_seq"])
    op.create_index("effect_event_linked", "effect_event", ["link"], sqlite_where=sa.text(LINKED), postgresql_where=sa.text(LINKED))
