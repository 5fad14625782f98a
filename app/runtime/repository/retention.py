"""Pruning in small pieces: journals of runs that are over, their arguments and answers, identities that have expired.

Nothing here names the tables `effect` (but to leave their runs alone), `effect_event`, `audit_event` or `ledger`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session

from app.core.db import now
from app.core.indexes import in_index
from app.runtime.models import (
    OPEN_EFFECTS,
    OPEN_REPLAYS,
    PRUNABLE,
    STORED,
    Effect,
    LogLine,
    Payload,
    Replay,
    Run,
    RunIdentity,
    Sighting,
    Step,
)
from app.runtime.repository.journal import RESTORED_MS
from app.runtime.state import OPEN_RUNS

STEPS, LINES, RUNS = 100, 500, 50
"""Rows of one piece; an answer of a chunk of 500 items has some 60 kB, so there are fewer of those."""

GRACE_MS = 2 * RESTORED_MS
"""A text that was stored since may be on its way into a row that is not committed yet."""

_TURN = 7_140_013  # PostgreSQL: one process prunes at a time; on SQLite writers take turns anyway
_runs: sa.Table = Run.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model
_steps: sa.Table = Step.__table__  # type: ignore[attr-defined]  # as above
_lines: sa.Table = LogLine.__table__  # type: ignore[attr-defined]  # as above
_sightings: sa.Table = Sighting.__table__  # type: ignore[attr-defined]  # as above
_replays: sa.Table = Replay.__table__  # type: ignore[attr-defined]  # as above
_payloads: sa.Table = Payload.__table__  # type: ignore[attr-defined]  # as above
_identities: sa.Table = RunIdentity.__table__  # type: ignore[attr-defined]  # as above
_effects: sa.Table = Effect.__table__  # type: ignore[attr-defined]  # as above
Removed = Counter[str]


def our_turn(session: Session) -> bool:
    """Whether this transaction may prune; False while another process does."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.connection().exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({_TURN})").scalar_one())


def prunable(session: Session, before: int) -> list[str]:
    """The oldest runs that are over since before `before` whose journals nobody needs any more. Looking for them writes nothing, as it
    may pass over many.

    Left alone are those whose effects may still move (dead letters and unknowns too), whose answer may still be asked for by key, and
    that are being replayed.
    """
    moving = sa.select(_effects.c.run_id).where(in_index("effect", OPEN_EFFECTS))
    query = _over("all", before).where(_runs.c.id.not_in(moving), *_unneeded(now(session)))
    return list(session.connection().execute(query).scalars())


def begin_pruning(session: Session, run_ids: list[str]) -> Removed:
    """Say of these prunable runs that their journals are going; from now on nobody replays them.

    An effect of a run that is over never begins to move again under that run, so the effects are not looked at once more.
    """
    still = sa.and_(_runs.c.id.in_(run_ids), _runs.c.kept == "all", *_unneeded(now(session)))
    begun = session.connection().execute(sa.update(_runs).where(still).values(kept="pruning")).rowcount
    return Removed(journals=begun) if begun else Removed()


def _unneeded(at: int) -> tuple[Any, Any]:
    asked = sa.or_(_identities.c.expires_at.is_(None), _identities.c.expires_at > at)
    answering = sa.exists().where(_identities.c.run_id == _runs.c.id, asked)
    replaying = sa.exists().where(_replays.c.run_id == _runs.c.id, in_index("replay", OPEN_REPLAYS))
    return ~answering, ~replaying


def being_pruned(session: Session) -> list[str]:
    """Runs whose journals are going, oldest first; one that a pruner left in the middle is among them."""
    return list(session.connection().execute(_over("pruning", None)).scalars())


def _over(kept: str, before: int | None) -> Any:
    over = sa.and_(_runs.c.kept == kept, in_index("run", PRUNABLE), _runs.c.state.not_in(OPEN_RUNS))
    query = sa.select(_runs.c.id).where(over).order_by(_runs.c.finished_at).limit(RUNS)
    return query if before is None else query.where(_runs.c.finished_at < before)


def prune_journal(session: Session, run_id: str) -> Removed:
    """Remove the next piece of a run's journal; empty once there was nothing left, and the run says so."""
    steps = _piece(session, _steps, run_id, [_steps.c.step, _steps.c.chunk], STEPS, _steps.c.payload)
    if steps:
        return Removed(steps=len(steps), payloads=drop_payloads(session, (row.payload for row in steps if row.payload is not None)))
    for name, table, keys in (("log_lines", _lines, [_lines.c.id]), ("sightings", _sightings, [_sightings.c.effect_seq])):
        rows = _piece(session, table, run_id, keys, LINES, keys[0])
        if rows:
            return Removed({name: len(rows)})
    removed = session.connection().execute(sa.delete(_replays).where(_replays.c.run_id == run_id)).rowcount
    session.connection().execute(sa.update(_runs).where(_runs.c.id == run_id, _runs.c.kept == "pruning").values(kept="answers"))
    return Removed(replays=removed) if removed else Removed()


def _piece(session: Session, table: sa.Table, run_id: str, keys: list[Any], most: int, returned: Any) -> list[Any]:
    some = sa.select(*keys).where(table.c.run_id == run_id).order_by(*keys).limit(most)
    mine = sa.tuple_(*keys).in_(some) if len(keys) > 1 else keys[0].in_(some)
    statement = sa.delete(table).where(table.c.run_id == run_id, mine).returning(returned)
    return list(session.connection().execute(statement))


def prune_answers(session: Session, before: int) -> Removed:
    """Remove arguments, result and plan of the oldest runs without a journal; their digests stay in the rows."""
    run_ids = list(session.connection().execute(_over("answers", before)).scalars())
    if not run_ids:
        return Removed()
    columns = sa.select(_runs.c.args, _runs.c.result, _runs.c.plan).where(_runs.c.id.in_(run_ids))
    digests = {digest for row in session.connection().execute(columns) for digest in row if digest is not None}
    session.connection().execute(sa.update(_runs).where(_runs.c.id.in_(run_ids)).values(kept="nothing"))
    return Removed(answers=len(run_ids), payloads=drop_payloads(session, digests))


def drop_payloads(session: Session, digests: Iterable[str]) -> int:
    """Delete those of these texts that no row refers to any more; returns how many."""
    wanted = sorted(set(digests))
    if not wanted:
        return 0
    stored = in_index("run", STORED)
    live = (
        sa.exists().where(_steps.c.payload == _payloads.c.digest),
        sa.exists().where(_runs.c.args == _payloads.c.digest, stored),
        sa.exists().where(_runs.c.result == _payloads.c.digest, stored),
        sa.exists().where(_runs.c.plan == _payloads.c.digest, stored),
    )
    old = _payloads.c.created_at < now(session) - GRACE_MS
    doomed = sa.select(_payloads.c.digest).where(_payloads.c.digest.in_(wanted), old).order_by(_payloads.c.digest)
    if session.get_bind().dialect.name == "postgresql":
        wanted = list(session.connection().execute(doomed.with_for_update()).scalars())
    unused = sa.and_(_payloads.c.digest.in_(wanted), old, *(~one for one in live))
    return session.connection().execute(sa.delete(_payloads).where(unused)).rowcount


def expire_identities(session: Session) -> Removed:
    """Forget keys whose time is over, of runs that are over: the next call with such a key is a new run."""
    at = now(session)
    over = sa.exists().where(_runs.c.id == _identities.c.run_id, _runs.c.state.not_in(OPEN_RUNS))
    some = sa.select(_identities.c.id).where(_identities.c.expires_at <= at, over).order_by(_identities.c.expires_at).limit(LINES)
    gone = sa.delete(_identities).where(_identities.c.id.in_(some), _identities.c.expires_at <= at)
    removed = session.connection().execute(gone).rowcount
    return Removed(identities=removed) if removed else Removed()
