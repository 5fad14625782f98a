"""Effects that another copy of this database knows to be done, made done here."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Session

from app.core.db import Database, insert_missing, now
from app.runtime.models import Ledger
from app.runtime.repository.effects import EventLog, effects
from app.runtime.state import NEW

_WAYS = {
    "planned": ("claimed", "performing", "done"),
    "claimed": ("performing", "done"),
    "performing": ("done",),
    "retry_wait": ("planned", "claimed", "performing", "done"),
    "unknown": ("done",),
    "dead": ("planned", "claimed", "performing", "done"),
    "failed": ("planned", "claimed", "performing", "done"),
    "abandoned": ("planned", "claimed", "performing", "done"),
    "cancelled": ("planned", "claimed", "performing", "done"),
}
_TAKEN = ("run_id", "step", "position", "version", "item", "fingerprint", "receipt", "attempts", "message_id", "updated_at")
_ledgers: sa.Table = Ledger.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model


def take_over(database: Database, rows: list[dict[str, Any]], actor: str) -> int:
    """Make these effects, all done elsewhere, done here, each by the moves that it must have made; returns how many were not."""
    with database.writing() as session:
        query = sa.select(effects.c.id, effects.c.state).where(effects.c.id.in_([row["id"] for row in rows]))
        here = {row.id: row.state for row in session.connection().execute(query)}
        fresh = [row for row in rows if row["id"] not in here]
        moved = [row for row in rows if here.get(row["id"], "done") != "done"]
        _insert(session, fresh)
        for row in moved:
            values = {name: row[name] for name in _TAKEN} | {
                "state": "done",
                "owner": None,
                "next_at": None,
                "error": None,
                "error_code": None,
            }
            session.connection().execute(sa.update(effects).where(effects.c.id == row["id"]).values(fence=effects.c.fence + 1, **values))
        log = EventLog(now(session))
        for row in (*fresh, *moved):
            before = here.get(row["id"], NEW)
            for after in _WAYS.get(before, ("planned", *_WAYS["planned"])):
                log.add(row["id"], before, after, row["fence"], actor, "done in the replaced database")
                before = after
        log.write(session)
        return len(fresh) + len(moved)


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    insert_missing(session, effects, [{name: value for name, value in row.items() if name != "seq"} for row in rows])
    named = {(row["tenant"], row["ledger"], row["ledger_group"] or ""): row for row in rows if row["ledger"] is not None}
    made = [
        {"tenant": tenant, "name": name, "group": group, "tool": row["tool"], "created_at": row["created_at"]}
        for (tenant, name, group), row in sorted(named.items(), key=lambda pair: pair[0])
    ]
    insert_missing(session, _ledgers, made)
