"""Effects: planning with claim, guarded transitions, their events.

Every update is guarded by id, owner, fence and state; a row that does not match was fenced out, and the caller is told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session

from app.core.db import CHUNK, execute_many, insert_missing, now
from app.runtime.models import Effect, EffectEvent, Ledger, Sighting
from app.runtime.repository.journal import Journaled, write_journal
from app.runtime.state import NEW, Decision, Existing, Seat, check_effect, decide

effects: sa.Table = Effect.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model
events: sa.Table = EffectEvent.__table__  # type: ignore[attr-defined]  # as above
sightings: sa.Table = Sighting.__table__  # type: ignore[attr-defined]  # as above
ledgers: sa.Table = Ledger.__table__  # type: ignore[attr-defined]  # as above


@dataclass(frozen=True, slots=True)
class Intent:
    """One item that asks to become an effect: its identity, its key and canonical item as JSON text."""

    id: str
    position: int
    key: str
    item: str
    fingerprint: str
    group: str | None
    subject: str | None
    message_id: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A chunk of intents of one declared effect, sorted by the writer, claimed for `owner` where they are free.

    `journal` (steps and texts) becomes durable with the claims. `last`: what others hold now is not waited for any longer.
    """

    tenant: str
    tool: str
    version: int
    effect: str
    connector: str
    ledger: str | None
    retry_failed: bool
    on_unknown: str
    run_id: str
    step: int
    owner: str
    intents: Sequence[Intent]
    journal: Journaled = ((), ())
    last: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """What became of one intent: the decision, and the row as it is now."""

    decision: Decision
    fence: int
    attempts: int = 0
    receipt: str | None = None
    error: str | None = None
    differs: bool = False
    state: str = "claimed"


@dataclass(frozen=True, slots=True)
class Claim:
    """An effect that this process holds."""

    id: str
    owner: str
    fence: int


@dataclass(frozen=True, slots=True)
class Move:
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


@dataclass(slots=True)
class EventLog:
    """Events of one transaction, inserted together."""

    at: int
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, effect_id: str, before: str, after: str, fence: int, actor: str, detail: str | None = None) -> None:
        check_effect(before, after)
        self.rows.append(
            {
                "effect_id": effect_id,
                "before": before,
                "after": after,
                "at": self.at,
                "fence": fence,
                "actor": actor,
                "detail": detail,
            }
        )

    def write(self, session: Session) -> None:
        if self.rows:
            execute_many(session, "event", sa.insert(events), self.rows)


def plan_chunks(session: Session, plans: list[Plan]) -> list[list[Planned]]:
    """Plan and claim chunks of intents; one answer per intent, in its order."""
    return [_plan(session, plan) for plan in plans]


def _plan(session: Session, plan: Plan) -> list[Planned]:
    log = EventLog(now(session))
    write_journal(session, plan.journal, log.at)
    found = _existing(session, [intent.id for intent in plan.intents])
    fresh = sorted((intent for intent in plan.intents if intent.id not in found), key=lambda intent: intent.id)
    if fresh:
        rows = [_row(plan, intent, log.at) for intent in fresh]
        if insert_missing(session, effects, rows) != len(rows):  # another process was faster; PostgreSQL only
            late = _existing(session, [intent.id for intent in fresh])
            found |= {key: row for key, row in late.items() if (row.run_id, row.owner) != (plan.run_id, plan.owner)}
        for intent in fresh:
            if intent.id not in found:
                log.add(intent.id, NEW, "planned", 0, plan.run_id)
                log.add(intent.id, "planned", "claimed", 1, plan.run_id)
        _note_ledgers(session, plan, fresh, log.at)
    answers = _answers(session, plan, found, log)
    log.write(session)
    return answers


def _answers(session: Session, plan: Plan, found: dict[str, Any], log: EventLog) -> list[Planned]:
    seen = _sightings(session, plan.run_id, list(found))
    met: list[dict[str, Any]] = []
    taken: list[dict[str, Any]] = []
    answers: list[Planned] = []
    for intent in plan.intents:
        row = found.get(intent.id)
        if row is None:
            answers.append(Planned("claim", 1))
            continue
        seat = Seat(plan.run_id, plan.step, intent.position)
        existing = Existing(row.state, Seat(row.run_id, row.step, row.position), seen.get(intent.id))
        decision = decide(existing, seat, retry_failed=plan.retry_failed)
        fence = row.fence
        if decision == "claim":
            fence = row.fence + 1
            taken.append(_take(plan, intent, row, log))
        elif row.run_id != plan.run_id and existing.sighting is None and (decision != "wait" or plan.last):
            met.append({"run_id": plan.run_id, "effect_id": intent.id, "step": plan.step, "position": intent.position})
        differs = row.fingerprint != intent.fingerprint and decision in ("skipped", "duplicate")
        answers.append(Planned(decision, fence, row.attempts, row.receipt, row.error, differs, row.state))
    if met:
        insert_missing(session, sightings, sorted(met, key=lambda row: row["effect_id"]))
    if taken:
        session.connection().execute(_TAKE, taken)
    return answers


def _take(plan: Plan, intent: Intent, row: Any, log: EventLog) -> dict[str, Any]:
    if row.state != "planned":
        log.add(intent.id, row.state, "planned", row.fence, plan.run_id)
    log.add(intent.id, "planned", "claimed", row.fence + 1, plan.run_id)
    return {
        "b_id": intent.id,
        "b_fence": row.fence,
        "n_fence": row.fence + 1,
        "n_owner": plan.owner,
        "n_run": plan.run_id,
        "n_step": plan.step,
        "n_position": intent.position,
        "n_version": plan.version,
        "n_connector": plan.connector,
        "n_unknown": plan.on_unknown,
        "n_message": intent.message_id,
        "n_attempts": row.attempts if row.state == "planned" else 0,
        "n_item": intent.item,
        "n_fingerprint": intent.fingerprint,
        "n_at": log.at,
    }


_TAKE = (
    sa.update(effects)
    .where(effects.c.id == sa.bindparam("b_id"), effects.c.fence == sa.bindparam("b_fence"))
    .values(
        state="claimed",
        fence=sa.bindparam("n_fence"),
        owner=sa.bindparam("n_owner"),
        run_id=sa.bindparam("n_run"),
        step=sa.bindparam("n_step"),
        position=sa.bindparam("n_position"),
        version=sa.bindparam("n_version"),
        connector=sa.bindparam("n_connector"),
        on_unknown=sa.bindparam("n_unknown"),
        message_id=sa.bindparam("n_message"),
        attempts=sa.bindparam("n_attempts"),
        item=sa.bindparam("n_item"),
        fingerprint=sa.bindparam("n_fingerprint"),
        updated_at=sa.bindparam("n_at"),
        next_at=None,
        decision=None,
        error=None,
        error_code=None,
    )
)


def _row(plan: Plan, intent: Intent, at: int) -> dict[str, Any]:
    return {
        "id": intent.id,
        "tenant": plan.tenant,
        "tool": plan.tool,
        "version": plan.version,
        "effect": plan.effect,
        "connector": plan.connector,
        "key": intent.key,
        "run_id": plan.run_id,
        "step": plan.step,
        "position": intent.position,
        "ledger": plan.ledger,
        "ledger_group": intent.group,
        "subject": intent.subject,
        "item": intent.item,
        "fingerprint": intent.fingerprint,
        "on_unknown": plan.on_unknown,
        "state": "claimed",
        "owner": plan.owner,
        "fence": 1,
        "attempts": 0,
        "crashes": 0,
        "message_id": intent.message_id,
        "created_at": at,
        "updated_at": at,
    }


_KNOWN = sa.select(
    effects.c.id,
    effects.c.state,
    effects.c.run_id,
    effects.c.step,
    effects.c.position,
    effects.c.owner,
    effects.c.fence,
    effects.c.attempts,
    effects.c.receipt,
    effects.c.error,
    effects.c.fingerprint,
)


def _existing(session: Session, keys: Sequence[str]) -> dict[str, Any]:
    lock = session.get_bind().dialect.name == "postgresql"
    found: dict[str, Any] = {}
    for start in range(0, len(keys), CHUNK):
        query = _KNOWN.where(effects.c.id.in_(keys[start : start + CHUNK])).order_by(effects.c.id)
        for row in session.connection().execute(query.with_for_update() if lock else query):
            found[row.id] = row
    return found


def _sightings(session: Session, run_id: str, keys: Sequence[str]) -> dict[str, tuple[int, int]]:
    if not keys:
        return {}
    query = sa.select(sightings.c.effect_id, sightings.c.step, sightings.c.position)
    rows = session.connection().execute(query.where(sightings.c.run_id == run_id, sightings.c.effect_id.in_(keys)))
    return {row.effect_id: (row.step, row.position) for row in rows}


def _note_ledgers(session: Session, plan: Plan, intents: Iterable[Intent], at: int) -> None:
    if plan.ledger is None:
        return
    groups = sorted({intent.group or "" for intent in intents})
    rows = [{"tenant": plan.tenant, "name": plan.ledger, "group": group, "tool": plan.tool, "created_at": at} for group in groups]
    insert_missing(session, ledgers, rows)


_MOVE = (
    sa.update(effects)
    .where(
        effects.c.id == sa.bindparam("b_id"),
        effects.c.owner == sa.bindparam("b_owner"),
        effects.c.fence == sa.bindparam("b_fence"),
        effects.c.state == sa.bindparam("b_state"),
    )
    .values(
        state=sa.bindparam("n_state"),
        attempts=sa.bindparam("n_attempts"),
        receipt=sa.bindparam("n_receipt"),
        error_code=sa.bindparam("n_code"),
        error=sa.bindparam("n_error"),
        next_at=sa.bindparam("n_next"),
        updated_at=sa.bindparam("n_at"),
    )
)


def move(session: Session, moves: list[Move]) -> list[bool]:
    """Carry out guarded transitions; False where the caller was fenced out, which then changed nothing."""
    log = EventLog(now(session))
    values = [_bound(item, log.at) for item in moves]
    held = [True] * len(moves)
    if execute_many(session, "move", _MOVE, values) != len(moves):
        held = _who_holds(session, moves, log.at)
    for item, ok in zip(moves, held, strict=True):
        if ok:
            _log_move(log, item)
    log.write(session)
    return held


def _log_move(log: EventLog, item: Move) -> None:
    claim = item.claim
    if item.via is None:
        log.add(claim.id, item.before, item.after, claim.fence, claim.owner, item.error_code)
        return
    log.add(claim.id, item.before, item.via, claim.fence, claim.owner, item.error_code)
    log.add(claim.id, item.via, item.after, claim.fence, claim.owner, "policy retry")


def _bound(item: Move, at: int) -> dict[str, Any]:
    return {
        "b_id": item.claim.id,
        "b_owner": item.claim.owner,
        "b_fence": item.claim.fence,
        "b_state": item.before,
        "n_state": item.after,
        "n_attempts": item.attempts,
        "n_receipt": item.receipt,
        "n_code": item.error_code,
        "n_error": item.error,
        "n_next": item.next_at,
        "n_at": at,
    }


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
