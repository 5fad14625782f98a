"""Effects: guarded transitions and their events.

Every update is guarded by id, owner, fence and state; a row that does not match was fenced out, and the caller is told so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session

from app.core.bulk import Bulk, parts
from app.core.db import CHUNK, now
from app.core.errors import Conflict
from app.runtime.models import Effect, EffectEvent
from app.runtime.repository.crossing import crosses_effects
from app.runtime.state import check_effect

effects: sa.Table = Effect.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model
events: sa.Table = EffectEvent.__table__  # type: ignore[attr-defined]  # as above


class FencedOut(Conflict):
    """Another process holds what this one thought it held; it must stop."""

    def __init__(self) -> None:
        super().__init__("fenced_out", "Another process has taken this work over.", retryable=True)


class Claim(NamedTuple):
    """An effect that this process holds."""

    id: str
    owner: str
    fence: int


class Move(NamedTuple):
    """A guarded transition of a held effect, perhaps through `via`. `attempts` is what the row shall show afterwards."""

    claim: Claim
    before: str
    after: str
    attempts: int
    receipt: str | None = None
    error_code: str | None = None
    error: str | None = None
    next_at: int | None = None
    via: str | None = None


class EventLog:
    """Events of one transaction, inserted together. Each effect must be there by then."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.rows: list[tuple[str, str, str, int, str, str | None]] = []

    def add(self, effect_id: str, before: str, after: str, fence: int, actor: str, detail: str | None = None) -> None:
        check_effect(before, after)
        self.rows.append((effect_id, before, after, fence, actor, detail))

    def write(self, session: Session) -> None:
        if self.rows:
            crosses_effects(session, ((row[1], row[2]) for row in self.rows))
            for part in parts(self.rows):
                _EVENTS.execute(session, part, at=self.at)


_EVENTS = Bulk(
    "id text, before text, after text, fence bigint, actor text, detail text",
    """INSERT INTO effect_event (effect_seq, effect_id, before, after, at, fence, actor, detail)
    SELECT effect.seq, r.id, r.before, r.after, :at, r.fence, r.actor, r.detail
    FROM {rows} CROSS JOIN effect WHERE effect.id = r.id {in_order}""",
)


_MOVE = Bulk(
    "id text, owner text, fence bigint, before text, after text, attempts bigint, receipt text, code text, error text, next_at bigint",
    """UPDATE effect SET state = r.after, attempts = r.attempts, receipt = r.receipt, error_code = r.code, error = r.error,
    next_at = r.next_at, updated_at = :at
    FROM {rows} WHERE effect.id = r.id AND effect.owner = r.owner AND effect.fence = r.fence AND effect.state = r.before""",
)


def move(session: Session, moves: list[Move], actor: str | None = None) -> list[bool]:
    """Carry out guarded transitions; False where the caller was fenced out, which then changed nothing. `actor`: who, if not the holder."""
    log = EventLog(now(session))
    held = [True] * len(moves)
    moved = sum(_MOVE.execute(session, part, at=log.at).rowcount for part in parts([_row(item) for item in moves]))
    if moved != len(moves):
        held = _who_holds(session, moves, log.at)
    for item, ok in zip(moves, held, strict=True):
        if ok:
            _log_move(log, item, actor or item.claim.owner)
    log.write(session)
    return held


def move_together(session: Session, batches: list[list[Move]]) -> list[list[bool]]:
    """`move` for callers that make several moves at once."""
    held = iter(move(session, [item for batch in batches for item in batch]))
    return [[next(held) for _ in batch] for batch in batches]


def _row(item: Move) -> tuple[Any, ...]:
    claim = item.claim
    return (
        claim.id,
        claim.owner,
        claim.fence,
        item.before,
        item.after,
        item.attempts,
        item.receipt,
        item.error_code,
        item.error,
        item.next_at,
    )


def _log_move(log: EventLog, item: Move, actor: str) -> None:
    claim = item.claim
    if item.via is None:
        log.add(claim.id, item.before, item.after, claim.fence, actor, item.error_code)
        return
    log.add(claim.id, item.before, item.via, claim.fence, actor, item.error_code)
    log.add(claim.id, item.via, item.after, claim.fence, actor, "policy retry")


def _who_holds(session: Session, moves: list[Move], at: int) -> list[bool]:
    found: dict[str, Any] = {}
    for start in range(0, len(moves), CHUNK):
        keys = [item.claim.id for item in moves[start : start + CHUNK]]
        query = sa.select(effects.c.id, effects.c.owner, effects.c.fence, effects.c.state, effects.c.updated_at)
        found |= {row.id: row for row in session.connection().execute(query.where(effects.c.id.in_(keys)))}
    return [
        (row := found.get(item.claim.id)) is not None
        and (row.owner, row.fence, row.state, row.updated_at) == (item.claim.owner, item.claim.fence, item.after, at)
        for item in moves
    ]
