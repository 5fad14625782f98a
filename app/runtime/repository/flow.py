"""Flow control: pauses, circuits, places in time, shares of a limit. All but the reads are bulk writes for the group writer.

Time is the database server's (`lease_now`), so that processes with clocks of their own agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.core import feed
from app.core.actor import SYSTEM, Actor
from app.core.clock import Clock
from app.core.db import insert_missing, lease_now
from app.core.owners import gone
from app.observability import audit
from app.runtime.models import OpenCircuit, Pacing, Pause, Share

_pacings: sa.Table = Pacing.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model
_shares: sa.Table = Share.__table__  # type: ignore[attr-defined]  # as above
_pauses: sa.Table = Pause.__table__  # type: ignore[attr-defined]  # as above
_circuits: sa.Table = OpenCircuit.__table__  # type: ignore[attr-defined]  # as above
SLACK_US = 50_000
"""How far back a place may lie that nobody asked for in time: what a late commit cost is caught up within it."""

FORGET_US = 3_600_000_000
"""How long the row of a limit is kept that nobody asks for."""

PAUSES = "pause.changed"
CIRCUITS = "circuit.changed"
TURN_MS = 1000


@dataclass(frozen=True, slots=True)
class Places:
    """Places in time that now belong to one process: `count` of them, `step_ms` apart, from `first_ms` (its monotonic clock)."""

    first_ms: float
    step_ms: float
    count: int


@dataclass(frozen=True, slots=True)
class PlacesWanted:
    """A process asks for the next `count` places of the limit `name`, which come every `step_us`."""

    name: str
    step_us: int
    count: int


def take_places(session: Session, wanted: list[PlacesWanted]) -> list[Places]:
    """Give out places in time, each to one process only."""
    at_us = lease_now(session) * 1000
    offset_ms = _monotonic(session) - at_us / 1000
    given: dict[int, Places] = {}
    for index, ask in sorted(enumerate(wanted), key=lambda pair: pair[1].name):
        row = hold(session, ask.name)
        first = max(row.next_us, at_us - SLACK_US)
        row.next_us = first + ask.count * ask.step_us
        session.add(row)
        given[index] = Places(first / 1000 + offset_ms, ask.step_us / 1000, ask.count)
    return [given[index] for index in range(len(wanted))]


def _monotonic(session: Session) -> int:
    clock: Clock = session.info["clock"]
    return clock.monotonic()


def hold(session: Session, name: str) -> Pacing:
    """The row of a limit, locked until the end of this transaction; also what serialises a count on PostgreSQL."""
    locked = select(Pacing).where(Pacing.name == name).with_for_update()
    while True:
        insert_missing(session, _pacings, [{"name": name, "next_us": 0}])
        row = session.exec(locked).first()
        if row is not None:  # else it was forgotten while this waited for it
            return row


def forget_pacings(session: Session, most: int) -> int:
    """Forget at most so many limits that nobody has asked for in the last hour: there may be one for each domain that mail goes to."""
    old = sa.select(_pacings.c.name).where(_pacings.c.next_us.between(1, lease_now(session) * 1000 - FORGET_US)).limit(most)
    names = session.connection().execute(old.with_for_update(skip_locked=True)).scalars().all()
    return session.connection().execute(sa.delete(_pacings).where(_pacings.c.name.in_(names))).rowcount if names else 0


@dataclass(frozen=True, slots=True)
class ShareWanted:
    """The process `owner` would have `wanted` of the `limit` effects in flight that `name` allows, and has `held`."""

    name: str
    owner: str
    limit: int
    wanted: int
    held: int = 0


def take_shares(session: Session, wanted: list[ShareWanted]) -> list[int]:
    """Divide limits among the live processes that want a share. Returns how many each asker may have in flight from now on.

    What is granted and what is still held never exceed the limit together. Where there are fewer than one for each, a process that
    has had its turn hands over to one that waits. Who wants none gives its share back.
    """
    given = {index: _share(session, ask) for index, ask in sorted(enumerate(wanted), key=lambda pair: pair[1].name)}
    return [given[index] for index in range(len(wanted))]


def _share(session: Session, ask: ShareWanted) -> int:
    at = lease_now(session)
    hold(session, f"share {ask.name}").next_us = at * 1000  # on PostgreSQL two processes would each see the other's former share
    session.connection().execute(sa.delete(_shares).where(_shares.c.name == ask.name, _shares.c.owner.in_(gone(session))))
    if not ask.wanted:
        session.connection().execute(sa.delete(_shares).where(_shares.c.name == ask.name, _shares.c.owner == ask.owner))
        return 0
    rows = {row.owner: row for row in session.exec(select(Share).where(Share.name == ask.name))}
    mine = rows.pop(ask.owner, None) or Share(name=ask.name, owner=ask.owner, wanted=0, granted=0, since=at)
    allowed = _allowed(ask, mine, list(rows.values()), at)
    granted = max(allowed, ask.held)
    if bool(granted) != bool(mine.granted):
        mine.since = at
    mine.wanted, mine.granted = ask.wanted, granted
    session.add(mine)
    session.flush()
    return allowed


def _allowed(ask: ShareWanted, mine: Share, others: list[Share], at: int) -> int:
    starving = [row.since for row in others if not row.granted]
    if starving and ask.limit <= len(others):  # fewer than one for each
        if not mine.granted and min(starving) < mine.since:
            return 0
        if mine.granted and at - mine.since >= TURN_MS:
            return 0
    fair = max(1, ask.limit // (1 + len(others)))
    return max(0, min(ask.wanted, fair, ask.limit - sum(row.granted for row in others)))


@dataclass(frozen=True, slots=True, order=True)
class CircuitName:
    """Whose attempts one circuit guards: those of a tool through a connector (or one named connection of it)."""

    tenant: str
    connector: str
    tool: str

    @property
    def text(self) -> str:
        return f"{self.connector}/{self.tool}"


@dataclass(frozen=True, slots=True)
class Opened:
    """An open circuit as processes remember it. Times in ms of the database's clock."""

    error: str
    trials: int
    rest_ms: int
    trial_at: int
    opened_at: int


@dataclass(frozen=True, slots=True)
class CircuitMove:
    """What a process asks of a circuit: `open` it, take the `trial` that is due, note that the trial `failed`, or `close` it.

    `rest_ms` is the rest after an opening, `longest_ms` the most that it grows to; of a trial, `rest_ms` is its time.
    """

    name: CircuitName
    what: str
    error: str = ""
    rest_ms: int = 0
    longest_ms: int = 0


def move_circuits(session: Session, moves: list[CircuitMove]) -> list[bool]:
    """Whether each move was made; a trial that another process has taken, or an opening that is older, was not."""
    done = {index: _move_circuit(session, item) for index, item in sorted(enumerate(moves), key=lambda pair: pair[1].name)}
    return [done[index] for index in range(len(moves))]


def _move_circuit(session: Session, item: CircuitMove) -> bool:
    at = lease_now(session)
    made = {
        "open": _open,
        "trial": _take_trial,
        "failed": _note_failed_trial,
        "close": _close,
    }[item.what](session, item, at)
    if made:
        feed.announce(session, CIRCUITS, item.name.text, item.name.tenant, what=item.what)
    return made


def _one(name: CircuitName) -> sa.ColumnElement[bool]:
    return sa.and_(_circuits.c.tenant == name.tenant, _circuits.c.connector == name.connector, _circuits.c.tool == name.tool)


def _audit(session: Session, name: CircuitName, verb: str, **detail: Any) -> None:
    actor = Actor(SYSTEM.id, SYSTEM.name, name.tenant, frozenset())
    audit.record(session, actor, f"circuit.{verb}", name.text, "done", connector=name.connector, tool=name.tool, **detail)


def _open(session: Session, item: CircuitMove, at: int) -> bool:
    name = item.name
    row = {"tenant": name.tenant, "connector": name.connector, "tool": name.tool, "error": item.error, "trials": 0}
    row |= {"rest_ms": item.rest_ms, "trial_at": at + item.rest_ms, "opened_at": at}
    if insert_missing(session, _circuits, [row]) == 0:
        return False
    _audit(session, name, "opened", error=item.error)
    return True


def _take_trial(session: Session, item: CircuitMove, at: int) -> bool:
    due = sa.and_(_one(item.name), _circuits.c.trial_at <= at)
    return session.connection().execute(sa.update(_circuits).where(due).values(trial_at=at + item.rest_ms)).rowcount == 1


def _note_failed_trial(session: Session, item: CircuitMove, at: int) -> bool:
    row = session.exec(select(OpenCircuit).where(_one(item.name)).with_for_update()).first()
    if row is None:
        return False
    row.rest_ms = min(item.longest_ms, row.rest_ms * 2)
    row.trials, row.trial_at, row.error = row.trials + 1, at + row.rest_ms, item.error
    session.add(row)
    return True


def _close(session: Session, item: CircuitMove, at: int) -> bool:
    row = session.exec(select(OpenCircuit).where(_one(item.name)).with_for_update()).first()
    if row is None:
        return False
    _audit(session, item.name, "closed", open_ms=at - row.opened_at, trials=row.trials)
    session.delete(row)
    return True


def circuits(session: Session) -> dict[CircuitName, Opened]:
    """Every open circuit."""
    return {
        CircuitName(row.tenant, row.connector, row.tool): Opened(row.error, row.trials, row.rest_ms, row.trial_at, row.opened_at)
        for row in session.exec(select(OpenCircuit))
    }


def pauses(session: Session) -> list[Pause]:
    """Every pause, oldest first."""
    return list(session.exec(select(Pause).order_by(col(Pause.at), col(Pause.scope), col(Pause.name))))


def set_pause(session: Session, actor: Actor, scope: str, name: str, reason: str) -> Pause:
    """Pause, or give a pause another reason; with audit, and a signal to every process."""
    named = {"tenant": actor.tenant, "scope": scope, "name": name}
    insert_missing(session, _pauses, [{**named, "reason": reason, "actor": actor.id, "at": lease_now(session)}])
    row = session.get_one(Pause, (actor.tenant, scope, name), with_for_update=True)
    row.reason, row.actor = reason, actor.id
    session.add(row)
    _tell(session, actor, scope, name, "paused", reason=reason)
    return row


def end_pause(session: Session, actor: Actor, scope: str, name: str) -> Pause | None:
    """End a pause and return it; None if there is none."""
    held = sa.and_(col(Pause.tenant) == actor.tenant, col(Pause.scope) == scope, col(Pause.name) == name)
    row = session.exec(select(Pause).where(held).with_for_update()).first()
    if row is not None:
        session.delete(row)
        _tell(session, actor, scope, name, "resumed", paused_by=row.actor, reason=row.reason)
    return row


def _tell(session: Session, actor: Actor, scope: str, name: str, verb: str, **detail: Any) -> None:
    audit.record(session, actor, f"{scope}.{verb}", name or scope, "done", **detail)
    feed.announce(session, PAUSES, name or scope, actor.tenant, scope=scope, verb=verb)


def not_paused(run: sa.Table) -> sa.ColumnElement[bool]:
    """Of a run that waits: neither everything, nor its tool, nor the connector that it waits for is paused; or it is to be cancelled."""
    pause = sa.alias(Pause.__table__)  # type: ignore[attr-defined]  # SQLModel adds it to every table model
    holds = sa.or_(
        pause.c.scope == "everything",
        sa.and_(pause.c.scope == "tool", pause.c.name == run.c.tool),
        sa.and_(pause.c.scope == "connector", pause.c.name == run.c.waits_for),
    )
    return sa.or_(run.c.cancel_at.is_not(None), ~sa.exists().where(pause.c.tenant == run.c.tenant, holds))
