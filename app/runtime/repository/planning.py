"""Planning: chunks of intents become effects that this process holds, or meet those that are there already.

It refuses to be: the table of decisions. That is `state.decide`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session

from app.core.bulk import Bulk
from app.core.db import insert_missing, now
from app.runtime.models import Ledger
from app.runtime.repository.effects import EventLog, FencedOut
from app.runtime.repository.journal import Journaled, write_journal
from app.runtime.state import NEW, Decision, Place, decide

ledgers: sa.Table = Ledger.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model


class Intent(NamedTuple):
    """One item that asks to become an effect: its identity, its key and canonical item as JSON text, and that item as a value.

    All but the value, in this order, is what a new row holds of it.
    """

    id: str
    position: int
    key: str
    group: str | None
    subject: str | None
    item: str
    fingerprint: str
    message_id: str | None
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A chunk of intents of one declared effect, sorted by the writer, claimed for `owner` where they are free, while it holds the run.

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
    fence: int
    intents: Sequence[Intent]
    journal: Journaled = ((), ())
    last: bool = False


class Planned(NamedTuple):
    """What became of one intent: the decision, and the row as it is now."""

    decision: Decision
    fence: int
    attempts: int = 0
    receipt: str | None = None
    error: str | None = None
    differs: bool = False
    state: str = "claimed"


def plan_chunks(session: Session, plans: list[Plan]) -> list[list[Planned]]:
    """Plan and claim chunks of intents; one answer per intent, in its order. Raises FencedOut, and then nothing happened."""
    return [_plan(session, plan) for plan in plans]


def _plan(session: Session, plan: Plan) -> list[Planned]:
    log = EventLog(now(session))
    write_journal(session, plan.journal, log.at)
    found = _existing(session, plan, plan.intents)
    fresh = [intent for intent in plan.intents if intent.id not in found]
    if fresh:
        if _insert(session, plan, fresh, log.at) != len(fresh):  # another process was faster; PostgreSQL only
            late = _existing(session, plan, fresh)
            found |= {
                key: row for key, row in late.items() if not isinstance(row, Found) or (row.run_id, row.owner) != (plan.run_id, plan.owner)
            }
        for intent in fresh:
            if intent.id not in found:
                log.add(intent.id, NEW, "planned", 0, plan.run_id)
                log.add(intent.id, "planned", "claimed", 1, plan.run_id)
        _note_ledgers(session, plan, fresh, log.at)
    answers = _answers(session, plan, found, log) if found else [_FRESH] * len(plan.intents)
    log.write(session)
    return answers


_FRESH = Planned("claim", 1)


def _answers(session: Session, plan: Plan, found: dict[str, Found | Short], log: EventLog) -> list[Planned]:
    met: list[tuple[Any, ...]] = []
    taken: list[tuple[Any, ...]] = []
    lost: list[tuple[Any, ...]] = []
    answers: list[Planned] = []
    for intent in plan.intents:
        row = found.get(intent.id)
        if row is None:
            answers.append(_FRESH)
            continue
        if not isinstance(row, Found):  # what `decide` says of it, without being asked each time
            _, seq, fence, attempts, receipt, fingerprint = row
            met.append((seq, intent.position, None))
            answers.append(_planned(("skipped", fence, attempts, receipt, None, fingerprint != intent.fingerprint, "done")))
            continue
        mine = row.run_id == plan.run_id
        here = (plan.step, intent.position)
        decision = decide(row.state, here, row.asked(here, mine), mine=mine, retry_failed=plan.retry_failed)
        fence = row.fence
        if decision == "claim":
            fence = row.fence + 1
            taken.append(_take(intent, row, plan.run_id, log))
            if not mine:
                lost.append((row.run_id, row.seq, row.step, row.position, row.state))
        elif not mine and decision != "duplicate" and (decision != "wait" or plan.last):
            told = None if row.state == "done" else row.state
            if row.seen_step is None or row.seen_state != told:
                met.append((row.seq, intent.position, told))
        differs = row.fingerprint != intent.fingerprint and decision in ("skipped", "duplicate")
        answers.append(Planned(decision, fence, row.attempts, row.receipt, row.error, differs, row.state))
    if met:
        _MEET.execute(session, sorted(met), run=plan.run_id, step=plan.step)
    if lost:
        _LOSE.execute(session, sorted(lost))
    if taken:
        _TAKE.execute(session, taken, **_of_plan(plan, log.at))
    return answers


_MEET = Bulk(
    "seq bigint, position bigint, state text",
    """INSERT INTO sighting (run_id, effect_seq, step, position, state)
    SELECT :run, r.seq, :step, r.position, r.state FROM {rows} WHERE true {in_order}
    ON CONFLICT (run_id, effect_seq) DO UPDATE SET state = excluded.state""",
)


_LOSE = Bulk(
    "run text, seq bigint, step bigint, position bigint, state text",
    """INSERT INTO sighting (run_id, effect_seq, step, position, state)
    SELECT r.run, r.seq, r.step, r.position, r.state FROM {rows}
    WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.id = r.run AND run.kept <> 'all') {in_order}
    ON CONFLICT (run_id, effect_seq) DO UPDATE SET state = excluded.state""",
)


def _take(intent: Intent, row: Found, run_id: str, log: EventLog) -> tuple[Any, ...]:
    if row.state != "planned":
        log.add(intent.id, row.state, "planned", row.fence, run_id)
    log.add(intent.id, "planned", "claimed", row.fence + 1, run_id)
    attempts = row.attempts if row.state == "planned" else 0
    return intent.id, row.fence, intent.position, attempts, intent.item, intent.fingerprint, intent.message_id


_TAKE = Bulk(
    "id text, fence bigint, position bigint, attempts bigint, item text, fingerprint text, message_id text",
    """UPDATE effect SET state = 'claimed', fence = r.fence + 1, owner = :owner, run_id = :run, step = :step, position = r.position,
    version = :version, connector = :connector, on_unknown = :on_unknown, message_id = r.message_id, attempts = r.attempts,
    item = r.item, fingerprint = r.fingerprint, updated_at = :at, decision = NULL,
    next_at = CASE WHEN effect.state = 'planned' THEN effect.next_at END, error = NULL, error_code = NULL
    FROM {rows} WHERE effect.id = r.id AND effect.fence = r.fence""",
)
"""What the queue was to try again stays due until it is begun: whoever takes it may lose it, and his run may never come by again."""


def _of_plan(plan: Plan, at: int) -> dict[str, Any]:
    return {
        "owner": plan.owner,
        "run": plan.run_id,
        "step": plan.step,
        "version": plan.version,
        "connector": plan.connector,
        "on_unknown": plan.on_unknown,
        "at": at,
    }


def _insert(session: Session, plan: Plan, intents: Sequence[Intent], at: int) -> int:
    """Insert what is not there yet, claimed; returns how many that were.

    Two sessions that insert the same ids in different orders deadlock on PostgreSQL, so they are sorted there. SQLite has one
    writer; rows in the order in which they will be performed share their pages.
    """
    if session.get_bind().dialect.name == "postgresql":
        intents = sorted(intents, key=lambda intent: intent.id)
    rows = [each[:-1] for each in intents]
    named = {"tenant": plan.tenant, "tool": plan.tool, "effect": plan.effect, "ledger": plan.ledger}
    return _INSERT.execute(session, rows, **_of_plan(plan, at), **named).rowcount


_INSERT = Bulk(
    "id text, position bigint, key text, grouped text, subject text, item text, fingerprint text, message_id text",
    """INSERT INTO effect (tenant, tool, version, effect, connector, run_id, step, ledger, on_unknown, owner, created_at, updated_at,
    state, fence, attempts, crashes, id, position, key, ledger_group, subject, item, fingerprint, message_id)
    SELECT :tenant, :tool, CAST(:version AS bigint), :effect, :connector, :run, CAST(:step AS bigint), CAST(:ledger AS text), :on_unknown,
    :owner, CAST(:at AS bigint), CAST(:at AS bigint), 'claimed', 1, 0, 0,
    r.id, r.position, r.key, r.grouped, r.subject, r.item, r.fingerprint, r.message_id
    FROM {rows} WHERE true {in_order} ON CONFLICT DO NOTHING""",
)


class Found(NamedTuple):
    """What is there already of the effect that the intent of this `number` asks for, and where the planning run has met it before.

    Of what another run has done it does not matter which run that was.
    """

    number: int
    seq: int
    state: str
    run_id: str | None
    step: int
    position: int
    owner: str | None
    fence: int
    attempts: int
    receipt: str | None
    error: str | None
    fingerprint: str
    seen_step: int | None
    seen_position: int
    seen_state: str | None

    def asked(self, here: Place, mine: bool) -> Place | None:
        """Where the planning run has asked for it, elsewhere than `here` if anywhere; `mine`: it is that run's."""
        if mine and (self.step, self.position) != here:
            return self.step, self.position
        if self.seen_step is not None:
            return self.seen_step, self.seen_position
        return here if mine else None


_whole: Callable[[Sequence[Any]], Found] = partial(tuple.__new__, Found)  # `Found._make` takes four times as long
_planned: Callable[[Sequence[Any]], Planned] = partial(tuple.__new__, Planned)
_FIELDS = len(Found._fields)

Short = list[Any]
"""What another run has done and the planning one has not met: number, seq, fence, attempts, receipt and fingerprint. All of a finished
campaign is this, so little is made of it; SQLite tells it so, PostgreSQL as Found."""

_SHORT = "state = 'done' AND run_id IS NULL AND seen_step IS NULL"


_KNOWN = Bulk(
    "id text",
    """SELECT r.n AS number, e.seq, e.state, CASE WHEN e.state <> 'done' OR e.run_id = :run THEN e.run_id END AS run_id, e.step, e.position,
    CASE WHEN e.state <> 'done' THEN e.owner END AS owner, e.fence, e.attempts, e.receipt, e.error, e.fingerprint,
    seen.step AS seen_step, seen.position AS seen_position, seen.state AS seen_state
    FROM {rows} JOIN effect AS e ON e.id = r.id LEFT JOIN sighting AS seen ON seen.run_id = :run AND seen.effect_seq = e.seq {locked}""",
    gives=f"""CASE WHEN {_SHORT} THEN json_array(number, seq, fence, attempts, receipt, fingerprint)
    ELSE json_array({", ".join(Found._fields)}) END""",
    guard="run WHERE run.id = :run AND run.owner = :owner AND run.fence = :fence AND run.state = 'executing'",
)


def _existing(session: Session, plan: Plan, intents: Sequence[Intent]) -> dict[str, Found | Short]:
    """What is there of these. The run stays with who plans until this is committed; raises FencedOut where it is another's already."""
    holder = {"run": plan.run_id, "owner": plan.owner, "fence": plan.fence}
    rows = _KNOWN.guarded(session, [intent.id for intent in intents], **holder)
    if rows is None:
        raise FencedOut
    return {intents[row[0]].id: row if isinstance(row, list) and len(row) != _FIELDS else _whole(row) for row in rows}


def _note_ledgers(session: Session, plan: Plan, intents: Iterable[Intent], at: int) -> None:
    if plan.ledger is None:
        return
    groups = sorted({intent.group or "" for intent in intents})
    rows = [{"tenant": plan.tenant, "name": plan.ledger, "group": group, "tool": plan.tool, "created_at": at} for group in groups]
    insert_missing(session, ledgers, rows)
