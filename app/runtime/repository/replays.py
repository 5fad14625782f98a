"""Replays: asked for, claimed, ended; and what the ledger still says of the places where a run's effects were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.core import owners
from app.core.db import CHUNK, now
from app.core.indexes import in_index
from app.core.models import Owner
from app.runtime.models import OPEN_REPLAYS, Effect, Replay, Sighting
from app.runtime.repository.effects import effects

sightings: sa.Table = Sighting.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model
OPEN = ("waiting", "replaying")


@dataclass(frozen=True, slots=True)
class Seated:
    """An effect as the ledger knows it: `place` is where the run asked for it first (step, index), None where that is not noted."""

    key: str
    place: tuple[int, int] | None


def under_way(session: Session, run_id: str) -> Replay | None:
    """The replay of this run that is not over."""
    query = select(Replay).where(Replay.run_id == run_id, col(Replay.state).in_(OPEN), in_index("replay", OPEN_REPLAYS))
    return session.exec(query).first()


def asked_by(session: Session, tenant: str, actor: str) -> int:
    """How many replays of an actor are not over."""
    query = select(sa.func.count()).select_from(Replay).where(Replay.tenant == tenant, Replay.actor == actor)
    return session.exec(query.where(in_index("replay", OPEN_REPLAYS))).one()


def deserted(session: Session) -> list[str]:
    """Replays that wait, and those whose worker is gone, oldest first."""
    query = select(Replay).where(in_index("replay", OPEN_REPLAYS)).order_by(col(Replay.created_at)).limit(100)
    rows = list(session.exec(query))
    lost = _lost(session, {row.owner for row in rows if row.owner is not None})
    return [row.id for row in rows if row.owner is None or row.owner in lost]


def claim(session: Session, replay_id: str, owner: str) -> Replay | None:
    """waiting (or given up by a worker that is gone) → replaying for `owner`; None if somebody else has it, or it is over."""
    row = session.exec(select(Replay).where(Replay.id == replay_id).with_for_update()).first()
    if row is None or row.state not in OPEN or (row.owner is not None and not _lost(session, {row.owner})):
        return None
    row.state, row.owner, row.attempts = "replaying", owner, row.attempts + 1
    session.add(row)
    return row


def finish(session: Session, replay_id: str, owner: str, state: str, report: dict[str, Any]) -> bool:
    """End a replay that `owner` holds; False if it holds it no more."""
    mine = sa.and_(col(Replay.id) == replay_id, col(Replay.owner) == owner, col(Replay.state) == "replaying")
    values = {"state": state, "report": report, "owner": None, "finished_at": now(session)}
    return session.connection().execute(sa.update(Replay).where(mine).values(**values)).rowcount == 1


def seated(session: Session, run_id: str, identities: Sequence[str]) -> dict[str, Seated]:
    """Those of these effects that the ledger has, with where this run asked for each."""
    found: dict[str, Seated] = {}
    own = effects.c.id, effects.c.key, effects.c.run_id, effects.c.step, effects.c.position
    met = sa.and_(sightings.c.run_id == run_id, sightings.c.effect_seq == effects.c.seq)
    query = sa.select(*own, sightings.c.step.label("met_step"), sightings.c.position.label("met_position"))
    query = query.outerjoin_from(effects, sightings, met)
    for start in range(0, len(identities), CHUNK):
        for row in session.connection().execute(query.where(effects.c.id.in_(identities[start : start + CHUNK]))):
            seen = None if row.met_step is None else (row.met_step, row.met_position)
            found[row.id] = Seated(row.key, (row.step, row.position) if row.run_id == run_id else seen)
    return found


def at_places(session: Session, run_id: str, step: int, first: int, count: int) -> dict[int, Effect]:
    """What the run asked for at these indexes of a step, as far as the ledger notes it."""
    within = sa.and_(col(Effect.run_id) == run_id, col(Effect.step) == step, col(Effect.position).between(first, first + count - 1))
    found = {row.position: row for row in session.exec(select(Effect).where(within))}
    met = sa.and_(col(Sighting.run_id) == run_id, col(Sighting.step) == step, col(Sighting.position).between(first, first + count - 1))
    query = select(Sighting.position, Effect).join(Effect, col(Effect.seq) == col(Sighting.effect_seq)).where(met)
    met_rows: list[tuple[int, Effect]] = list(session.exec(query))
    return dict(met_rows) | found


def _lost(session: Session, held_by: set[str]) -> set[str]:
    known = set(session.exec(select(Owner.id).where(col(Owner.id).in_(held_by))))
    return (held_by - known) | (held_by & set(owners.gone(session)))
