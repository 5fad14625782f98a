"""After an older backup was restored: nothing goes on by itself, since what was performed after it was taken is not known here.

Everything is paused. Runs that were under way are cancelled: they would perform again what they performed since. Their effects under
`hold`, and every other that waited, are unknown until somebody decides. What the replaced database knows to be done, if it is one that
came after this backup, is done here too, so that no later call does it again.

It refuses to be: a merge of two databases. Nothing but effects that are done is taken over.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.core.actor import SYSTEM, Actor
from app.core.clock import iso
from app.core.db import CHUNK, Database, now
from app.core.indexes import in_index
from app.observability import audit
from app.runtime.models import OPEN_EFFECTS, OPEN_RUNS, Effect, Run, RunIdentity
from app.runtime.repository import flow
from app.runtime.repository import restored as repository
from app.runtime.repository.recovery import cancel_open, doubt
from app.runtime.state import check_run

ACTOR = "restore"
LOCAL = "records.%"
"""Connectors whose effects are in this very database, so that it knows what became of them."""


@dataclass(frozen=True, slots=True)
class Held:
    """What was put on hold: runs cancelled, effects now unknown, tenants paused."""

    runs: int
    unknown: int
    paused: int


def hold(database: Database, taken_at: int) -> Held:
    """Put on hold what the backup of `taken_at` (ms) had under way. For a database that no process works on."""
    text = f"restored from a backup taken at {iso(taken_at)}"
    with database.writing() as session:
        before = _unknown(session)
        error = json.dumps({"code": "restored", "message": f"{text}; it may have been performed since"}, separators=(",", ":"))
        doubt(session, col(Effect.connector).not_like(LOCAL), ACTOR, text, error_code="restored", error=error)
        unknown = _unknown(session) - before
        runs = session.exec(select(Run).where(in_index("run", OPEN_RUNS))).all()
        for run in runs:
            _cancel(session, run, text)
        tenants = list(session.connection().exec_driver_sql("SELECT id FROM tenant").scalars())
        for tenant in tenants:
            reason = f"{text[0].upper()}{text[1:]}. Decide on the unknown effects and look at what was done since; then resume."
            flow.set_pause(session, Actor(SYSTEM.id, SYSTEM.name, tenant, frozenset()), "everything", "", reason)
    return Held(len(runs), unknown, len(tenants))


def _unknown(session: Session) -> int:
    query = select(sa.func.count()).select_from(Effect).where(Effect.state == "unknown", in_index("effect", OPEN_EFFECTS))
    return session.exec(query).one()


def _cancel(session: Session, run: Run, text: str) -> None:
    check_run(run.state, "cancelled")
    run.state, run.owner, run.identity, run.finished_at, run.fence = "cancelled", None, None, now(session), run.fence + 1
    run.error = {"code": "restored", "message": f"The database was {text}. Call again for what is still to be done."}
    session.connection().execute(sa.delete(RunIdentity).where(col(RunIdentity.run_id) == run.id))
    cancel_open(session, run.id)
    session.add(run)
    actor = Actor(SYSTEM.id, SYSTEM.name, run.tenant, frozenset())
    audit.record(session, actor, "run.cancelled", run.id, "done", code="restored")


def carry_over(database: Database, replaced: Path) -> int | None:
    """Take over what the `replaced` database knows to be done outside and `database` does not; returns how many effects.

    None where it cannot tell: it cannot be read, has another schema, or did not come after this backup.
    """
    try:
        with closing(sqlite3.connect(f"{replaced.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as old:
            old.row_factory = sqlite3.Row
            if not _descends(old, database):
                return None
            return sum(repository.take_over(database, part, ACTOR) for part in _done(old))
    except sqlite3.Error:
        return None


def _descends(old: sqlite3.Connection, database: Database) -> bool:
    """Whether the old database has this one's newest link of the audit chain, and its schema."""
    with database.reading() as session:
        connection = session.connection()
        head = connection.exec_driver_sql("SELECT seq, hash FROM audit_link ORDER BY seq DESC LIMIT 1").first()
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    same = old.execute("SELECT version_num FROM alembic_version").fetchone()[0] == revision
    known = head is not None and old.execute("SELECT 1 FROM audit_link WHERE seq = ? AND hash = ?", tuple(head)).fetchone() is not None
    return same and known and old.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"


def _done(old: sqlite3.Connection) -> Iterator[list[dict[str, Any]]]:
    """What is done outside the old database; what it did in itself (records, its outbox) has not happened in this one."""
    outside = "connector NOT LIKE ? AND COALESCE(receipt, '') NOT LIKE '{\"outbox_id\":%'"
    rows = old.execute(f"SELECT * FROM effect WHERE state = 'done' AND {outside} ORDER BY seq", (LOCAL,))  # noqa: S608  text of ours
    while part := rows.fetchmany(CHUNK):
        yield [dict(row) for row in part]
