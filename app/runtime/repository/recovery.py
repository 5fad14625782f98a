"""Effects that lose their holder or their run: recovered or cancelled in bulk, with flat memory whatever their number.

What a sweep finds locked is left to the next sweep. What a run or a process that lives on gives back is waited for instead: a plan that
is just looking at it changes nothing, and nobody would come by again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session

from app.core.db import CHUNK, now
from app.core.indexes import in_index
from app.runtime.models import OPEN_EFFECTS
from app.runtime.repository.effects import Claim, EventLog, Move, effects, move


class Held(NamedTuple):
    """What an execution that ends leaves behind: `claims`, and `places` (step, effect id) that a commit may have claimed unsaid."""

    claims: Sequence[Claim] = ()
    places: Sequence[tuple[int, str]] = ()


NOTHING_HELD = Held()
NEVER_LEFT = "never left"
BY_NOTE = "departures"
"""Who records what a process was answered and could not record any more."""


def cancel_open(session: Session, run_id: str) -> None:
    """planned, claimed and retry_wait → cancelled: nothing of this run will be performed any more."""
    mine = effects.c.run_id == run_id
    for before in ("retry_wait", "planned", "claimed"):  # in the order in which the queue may move them on meanwhile
        _shift(session, mine, before, ("cancelled",), actor=run_id, wait=True, next_at=None)


def recover(session: Session, which: sa.ColumnElement[bool], *, wait: bool = False) -> None:
    """Held effects whose holder is gone: claimed → planned (nothing left), performing → unknown (nobody can know).

    Under the policy `retry` an unknown is planned again at once, for the queue. `which` must name held effects of that holder only.
    Without `wait`, rows that are locked are passed over.
    """
    died: dict[str, Any] = {"error_code": "holder_died", "error": _HOLDER_DIED, "crashes": effects.c.crashes + 1}
    policy = effects.c.on_unknown
    again = {**died, "next_at": now(session)}
    _shift(session, which, "claimed", ("planned",), detail="holder gone", wait=wait)
    _shift(session, which & (policy != "retry"), "performing", ("unknown",), detail="holder gone", wait=wait, **died)
    _shift(session, which & (policy == "retry"), "performing", ("unknown", "planned"), detail="holder gone", wait=wait, **again)


def recover_noted(session: Session, owner: str, left: Mapping[tuple[str, int], Move | None]) -> None:
    """What this owner, who is gone, had begun: performing → what it was answered, if that was noted; → planned, if it has not `left`.

    The attempt of what has not left does not count, and the queue goes on with what no run comes by again.
    """
    held = held_by([owner]) & (effects.c.state == "performing")
    begun = [(row.id, row.fence) for row in session.connection().execute(sa.select(effects.c.id, effects.c.fence).where(held))]
    ends = [end for each in begun if (end := left.get(each)) is not None]
    for start in range(0, len(ends), CHUNK):
        move(session, ends[start : start + CHUNK], BY_NOTE)
    unsent = [effect_id for effect_id, fence in begun if (effect_id, fence) not in left]
    again: dict[str, Any] = {"attempts": effects.c.attempts - 1, "next_at": now(session)}
    for start in range(0, len(unsent), CHUNK):
        _shift(session, held & effects.c.id.in_(unsent[start : start + CHUNK]), "performing", ("planned",), detail=NEVER_LEFT, **again)


def doubt(session: Session, which: sa.ColumnElement[bool], actor: str, detail: str, **values: Any) -> None:
    """Effects under `hold` that may have been performed without this database knowing: planned, claimed, performing, retry_wait → unknown.

    Each goes the way that it would have gone if it was.
    """
    which = which & (effects.c.on_unknown != "retry") & in_index("effect", OPEN_EFFECTS)
    ways = {
        "performing": ("unknown",),
        "claimed": ("performing", "unknown"),
        "planned": ("claimed", "performing", "unknown"),
        "retry_wait": ("planned", "claimed", "performing", "unknown"),
    }
    for before, path in ways.items():
        _shift(session, which, before, path, actor=actor, detail=detail, next_at=None, **values)


def held_by(owners: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whatever these owners hold."""
    return sa.and_(effects.c.owner.in_(owners), in_index("effect", OPEN_EFFECTS))


def recover_claims(session: Session, claims: Sequence[Claim]) -> None:
    """`recover` for claims that their own process drops, and for nothing else that it holds."""
    for start in range(0, len(claims), CHUNK):
        held = [(claim.id, claim.owner, claim.fence) for claim in claims[start : start + CHUNK]]
        named = effects.c.id.in_([claim[0] for claim in held])  # SQLite reads the whole table for a list of rows alone
        recover(session, named & sa.tuple_(effects.c.id, effects.c.owner, effects.c.fence).in_(held), wait=True)


def recover_held(session: Session, run_id: str, owner: str, held: Held) -> None:
    """`recover` for what an execution of this run leaves. Who else of its process has claimed at one of the places is fenced out."""
    recover_claims(session, held.claims)
    for start in range(0, len(held.places), CHUNK):
        here = sa.tuple_(effects.c.step, effects.c.id).in_(list(held.places[start : start + CHUNK]))
        _shift(session, sa.and_(effects.c.run_id == run_id, effects.c.owner == owner, here), "claimed", ("planned",), wait=True)


def drop_claims(session: Session, dropped: list[Sequence[Claim]]) -> list[None]:
    """`recover_claims` as a write of the group writer."""
    for claims in dropped:
        recover_claims(session, claims)
    return [None] * len(dropped)


_HOLDER_DIED = '{"code":"holder_died","message":"the process died between doing and recording"}'


def _shift(
    session: Session,
    which: sa.ColumnElement[bool],
    before: str,
    path: tuple[str, ...],
    *,
    actor: str = "recovery",
    detail: str | None = None,
    wait: bool = False,
    **values: Any,
) -> None:
    """Move all that `which` names from `before` along `path`, 500 rows at a time, so that memory stays flat."""
    log = EventLog(now(session))
    some = sa.select(effects.c.seq).where(which, effects.c.state == before).limit(CHUNK)
    if wait and session.get_bind().dialect.name == "postgresql":  # in the order in which plans lock them, or the two would deadlock
        some = some.order_by(effects.c.id).with_for_update()
    else:
        some = some.with_for_update(skip_locked=True)
    values |= {"state": path[-1], "owner": None, "fence": effects.c.fence + 1, "updated_at": log.at}
    while found := session.connection().execute(some).scalars().all():
        statement = sa.update(effects).where(effects.c.seq.in_(found), effects.c.state == before).values(**values)
        moved = session.connection().execute(statement.returning(effects.c.id, effects.c.fence)).all()
        for row in moved:
            for source, target in zip((before, *path), path, strict=False):
                log.add(row.id, source, target, row.fence, actor, detail)
        log.write(session)
        log.rows.clear()
