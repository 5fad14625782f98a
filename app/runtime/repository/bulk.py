"""Effects that a decision is about, whoever made it: what matches, and moving what still does, with its events.

What matches is pinned by a mark: an effect that has moved since is another matter, even if it is in the same state again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session

from app.core.db import CHUNK, now
from app.core.indexes import in_index
from app.runtime.models import QUEUED_EFFECTS
from app.runtime.repository.effects import EventLog, effects, events

NO_CODE = "none"
"""How a cause without an error code is called."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Effects of a tenant in a queue's `state`, narrowed by what is not None, none of whose events is newer than `mark`."""

    tenant: str
    state: str
    mark: int
    tool: str | None = None
    effect: str | None = None
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class Shift:
    """What is done to each effect: from `before` to `after` in the name of `actor`, with these values of its row."""

    before: str
    after: str
    actor: str
    detail: str
    values: Mapping[str, Any] = field(default_factory=dict)


def newest_event(session: Session) -> int:
    """The mark of the present."""
    return session.connection().execute(sa.select(sa.func.max(events.c.seq))).scalar() or 0


def has_code(error_code: str) -> sa.ColumnElement[bool]:
    """Rows of one cause; `none` are those without a code."""
    return effects.c.error_code.is_(None) if error_code == NO_CODE else effects.c.error_code == error_code


def matching(wanted: Wanted) -> sa.ColumnElement[bool]:
    """The condition on rows of `effect`."""
    # Looked up by the effect, row by row: a planner that counts on few events after the mark would read all of those for each row;
    # and `< 1`, since it takes an equality for rare and then sorts all that match.
    later = sa.and_(events.c.effect_seq == effects.c.seq, events.c.seq + 0 > wanted.mark)
    newer = sa.select(sa.func.count()).select_from(events).where(later).correlate(effects).scalar_subquery()
    given: list[Any] = [effects.c.tenant == wanted.tenant, effects.c.state == wanted.state, in_index("effect", QUEUED_EFFECTS), newer < 1]
    if wanted.tool is not None:
        given.append(effects.c.tool == wanted.tool)
    if wanted.effect is not None:
        given.append(effects.c.effect == wanted.effect)
    if wanted.error_code is not None:
        given.append(has_code(wanted.error_code))
    return sa.and_(*given)


def named(tenant: str, state: str, ids: Sequence[str]) -> sa.ColumnElement[bool]:
    """The condition on those of some effects that are in `state`."""
    return sa.and_(effects.c.tenant == tenant, effects.c.state == state, effects.c.id.in_(ids))


def count(session: Session, wanted: Wanted) -> int:
    """How many match."""
    number: int = session.connection().execute(sa.select(sa.func.count()).select_from(effects).where(matching(wanted))).scalar_one()
    return number


def kinds(session: Session, which: sa.ColumnElement[bool]) -> list[tuple[str, str, str]]:
    """The distinct (tool, effect, connector) of some effects, sorted."""
    columns = (effects.c.tool, effects.c.effect, effects.c.connector)
    return [
        (row[0], row[1], row[2]) for row in session.connection().execute(sa.select(*columns).where(which).distinct().order_by(*columns))
    ]


def described(session: Session, which: sa.ColumnElement[bool]) -> dict[str, Any]:
    """The distinct `releases` (tool, version) of some effects, and the `subjects` of the first ten."""
    columns = (effects.c.tool, effects.c.version)
    releases = session.connection().execute(sa.select(*columns).where(which).distinct().order_by(*columns).limit(100)).all()
    first = sa.select(effects.c.id, effects.c.subject).where(which).order_by(effects.c.seq).limit(10)
    subjects = [{"effect_id": row.id, "subject": row.subject} for row in session.connection().execute(first)]
    return {"releases": [(row.tool, row.version) for row in releases], "subjects": subjects}


def states_of(session: Session, tenant: str, ids: Sequence[str]) -> dict[str, str]:
    """The state of each of these effects that is there."""
    query = sa.select(effects.c.id, effects.c.state).where(effects.c.tenant == tenant, effects.c.id.in_(ids))
    return {row.id: row.state for row in session.connection().execute(query)}


def after(session: Session, wanted: Wanted, position: tuple[int, int]) -> list[tuple[int, int, str]]:
    """The next 500 (updated_at, seq, id) that match, in the order in which they came into the queue."""
    order = (effects.c.updated_at, effects.c.seq)
    query = sa.select(*order, effects.c.id).where(matching(wanted), sa.tuple_(*order) > sa.tuple_(*map(sa.literal, position)))
    return [(row[0], row[1], row[2]) for row in session.connection().execute(query.order_by(*order).limit(CHUNK))]


def shift(session: Session, keys: Sequence[str], move: Shift, still: sa.ColumnElement[bool] | None = None) -> int:
    """Move those of `keys` that are in `before` (and `still` what was asked for); returns how many. Whoever held them is fenced out."""
    moved = 0
    for start in range(0, len(keys), CHUNK):
        moved += _shift(session, sorted(keys[start : start + CHUNK]), move, sa.true() if still is None else still)
    return moved


def _shift(session: Session, keys: Sequence[str], move: Shift, still: sa.ColumnElement[bool]) -> int:
    log = EventLog(now(session))
    if session.get_bind().dialect.name == "postgresql":  # in the order in which plans lock them, or the two would deadlock
        session.connection().execute(sa.select(effects.c.id).where(effects.c.id.in_(keys)).order_by(effects.c.id).with_for_update())
    values = {**move.values, "state": move.after, "owner": None, "fence": effects.c.fence + 1, "lookups": 0, "updated_at": log.at}
    statement = sa.update(effects).where(effects.c.id.in_(keys), effects.c.state == move.before, still).values(**values)
    moved = session.connection().execute(statement.returning(effects.c.id, effects.c.fence)).all()
    for row in sorted(moved):
        log.add(row.id, move.before, move.after, row.fence, move.actor, move.detail)
    log.write(session)
    return len(moved)


def outcome(session: Session, decision_id: str) -> dict[str, int]:
    """What became of the effects that this decision was the last to send round, by state."""
    query = sa.select(effects.c.state, sa.func.count()).where(effects.c.decision == decision_id).group_by(effects.c.state)
    return {row[0]: row[1] for row in session.connection().execute(query)}
