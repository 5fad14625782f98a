"""What happened, for people and programs: runs with their steps, ledgers, queues. Keyset pages throughout.

It refuses to be: a writer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.access.permissions import use_case
from app.core.actor import Actor
from app.core.clock import iso
from app.core.db import Database
from app.core.errors import Invalid, NotFound
from app.core.indexes import in_index
from app.core.pages import Page, page
from app.runtime.models import OPEN_EFFECTS, QUEUED_EFFECTS, Effect, EffectEvent, Ledger, LogLine, Run, Step
from app.runtime.models import OPEN_RUNS as RUNS_OPEN
from app.runtime.repository import runs as repository
from app.runtime.repository.bulk import has_code
from app.runtime.repository.journal import payload
from app.runtime.state import EFFECT_MOVES, OPEN_RUNS, RUN_MOVES
from app.runtime.visibility import seen_by

QUEUES = ("retry_wait", "dead", "unknown")
_COUNTED = ("dead", "retry_wait", "unknown", "planned", "claimed", "performing")


def run_row(session: Session, run: Run) -> dict[str, Any]:
    """A run as REST answers it, with the ledger's present counts; once its journal is pruned, with those of its end.

    `kept` is `all`, `answers` (the journal is pruned) or `nothing` (arguments, result and plan too). `waits_for` names a paused connector.
    `effects_changed`: whether the counts are not those of its end any more, as after a verdict, so that its result tells of what was then.
    """
    effects = _effects(session, run)
    shown: dict[str, Any] = {
        "id": run.id,
        "tool": run.tool,
        "version": run.version,
        "channel": run.channel,
        "channel_reason": run.reason,
        "state": run.state,
        "waits_for": run.waits_for,
        "dry_run": run.dry_run,
        "actor": run.actor,
        "source": run.source,
        "trace_id": run.trace_id,
        "kept": "answers" if run.kept == "pruning" else run.kept,
        "result": _kept(session, run, run.result),
        "error": run.error,
        "plan": _kept(session, run, run.plan),
        "plan_summary": run.plan_summary,
        "approval": run.approval,
        "effects": effects,
        "effects_changed": run.state not in OPEN_RUNS and not run.dry_run and run.effects is not None and effects != run.effects,
        "cancel_requested": run.cancel_at is not None,
        "progress": {"done": run.done, "total": run.total},
        "crashes": run.crashes,
        "steps": run.steps,
        "usage": {"cpu_ms": run.cpu_ms, "rss_kb": run.rss_kb, "bytes_in": run.bytes_in, "bytes_out": run.bytes_out},
        "created_at": iso(run.created_at),
        "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at),
        "duration_ms": run.finished_at - run.started_at if run.finished_at and run.started_at else None,
    }
    return shown


def _effects(session: Session, run: Run) -> dict[str, dict[str, int]]:
    """The ledger's present counts. They are those of the run's end where all was done by then: `done` is final, however many there are."""
    if run.effects is None or (run.kept == "all" and any(row["done"] + row["skipped"] < row["distinct"] for row in run.effects.values())):
        return repository.counts(session, run.id)
    return run.effects


def _kept(session: Session, run: Run, digest: str | None) -> Any:
    return json.loads(payload(session, digest)) if digest and run.kept != "nothing" else None


def run_summary(run: Run) -> dict[str, Any]:
    """A run as a line of a list: without result, plan and counts."""
    return {
        "id": run.id,
        "tool": run.tool,
        "version": run.version,
        "channel": run.channel,
        "state": run.state,
        "dry_run": run.dry_run,
        "actor": run.actor,
        "error": run.error,
        "crashes": run.crashes,
        "created_at": iso(run.created_at),
        "finished_at": iso(run.finished_at),
        "duration_ms": run.finished_at - run.started_at if run.finished_at and run.started_at else None,
        "trace_id": run.trace_id,
    }


@use_case(None)
def list_runs(
    actor: Actor, database: Database, *, tool: str | None = None, state: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page:
    """Runs of the tenant, newest first. Raises Invalid `state_unknown`, `cursor_invalid`."""
    _known(state, RUN_MOVES, "a run")
    query = select(Run).where(seen_by(actor, Run))
    query = query.where(Run.tool == tool) if tool else query
    query = query.where(Run.state == state) if state else query
    return page(database, query, [col(Run.id)], run_summary, cursor=cursor, limit=limit, newest_first=True)


@use_case(None)
def read_run(actor: Actor, database: Database, run_id: str) -> dict[str, Any]:
    """One run. Raises NotFound `run_not_found`."""
    with database.reading() as session:
        return run_row(session, _run(session, actor, run_id))


@use_case(None)
def read_arguments(actor: Actor, database: Database, run_id: str) -> dict[str, Any]:
    """`{"args"}`: what a run was called with; null once retention has taken it. Raises NotFound `run_not_found`."""
    with database.reading() as session:
        run = _run(session, actor, run_id)
        return {"args": _kept(session, run, run.args)}


@use_case(None)
def read_steps(actor: Actor, database: Database, run_id: str, *, cursor: str | None = None, limit: int = 100) -> Page:
    """The journal of a run, in order: what was asked, when, how long it took, how many items; answers only where they are small."""
    with database.reading() as session:
        trace = _run(session, actor, run_id).trace_id
    query = select(Step).where(Step.run_id == run_id)
    return page(database, query, [col(Step.step), col(Step.chunk)], lambda row: _step(row, trace), cursor=cursor, limit=limit)


@use_case(None)
def read_logs(actor: Actor, database: Database, run_id: str, *, cursor: str | None = None, limit: int = 100) -> Page:
    """What the tool logged during a run, in order."""
    with database.reading() as session:
        trace = _run(session, actor, run_id).trace_id
    query = select(LogLine).where(LogLine.run_id == run_id)
    return page(database, query, [col(LogLine.id)], lambda row: _log_line(row, trace), cursor=cursor, limit=limit)


def _run(session: Session, actor: Actor, run_id: str) -> Run:
    run = session.exec(select(Run).where(Run.id == run_id, seen_by(actor, Run))).first()
    if run is None:
        raise NotFound("run_not_found", f"There is no run {run_id!r}.", fix="Take the id from GET /runs.")
    return run


def _step(row: Step, trace: str) -> dict[str, Any]:
    return {
        "step": row.step,
        "chunk": row.chunk,
        "kind": row.kind,
        "name": row.name,
        "items": row.items,
        "request": row.request,
        "answer": json.loads(row.answer) if row.answer else None,
        "payload": row.payload,
        "at": iso(row.at),
        "duration_ms": row.duration_ms,
        "trace_id": trace,
    }


def _log_line(row: LogLine, trace: str) -> dict[str, Any]:
    return {"at": iso(row.at), "event": row.event, "fields": row.fields, "trace_id": trace}


def ledger_row(row: Effect) -> dict[str, Any]:
    """An effect as a line of its ledger, as REST answers it."""
    return {
        "effect_id": row.id,
        "ledger": row.ledger,
        "group": row.ledger_group,
        "subject": row.subject,
        "state": row.state,
        "run_id": row.run_id,
        "attempts": row.attempts,
        "receipt": json.loads(row.receipt) if row.receipt else None,
        "error": json.loads(row.error) if row.error else None,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def effect_row(row: Effect) -> dict[str, Any]:
    """An effect as a line of a queue."""
    more = {
        "tool": row.tool,
        "version": row.version,
        "effect": row.effect,
        "connector": row.connector,
        "key": json.loads(row.key),
        "next_at": iso(row.next_at),
        "message_id": row.message_id,
        "lookups": max(0, row.lookups),
    }
    return ledger_row(row) | more


@use_case(None)
def list_ledgers(actor: Actor, database: Database, *, cursor: str | None = None, limit: int = 50) -> Page:
    """Ledger groups that have rows, by name and group."""
    query = select(Ledger).where(seen_by(actor, Ledger))
    return page(database, query, [col(Ledger.name), col(Ledger.group)], _ledger, cursor=cursor, limit=limit)


def _ledger(row: Ledger) -> dict[str, Any]:
    return {"ledger": row.name, "group": row.group, "tool": row.tool, "created_at": iso(row.created_at)}


def _ledger_query(actor: Actor, name: str, group: str, state: str | None, subject: str | None) -> Any:
    _known(state, EFFECT_MOVES, "an effect")
    query = select(Effect).where(seen_by(actor, Effect), Effect.ledger == name, Effect.ledger_group == group)
    query = query.where(Effect.state == state) if state else query
    return query.where(Effect.subject == subject) if subject else query


@use_case(None)
def read_ledger(
    actor: Actor,
    database: Database,
    name: str,
    group: str,
    *,
    state: str | None = None,
    subject: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page:
    """Rows of one ledger group in the order of planning. Raises NotFound `ledger_not_found`."""
    with database.reading() as session:
        _ledger_exists(session, actor, name, group)
    query = _ledger_query(actor, name, group, state, subject)
    return page(database, query, [col(Effect.seq)], ledger_row, cursor=cursor, limit=limit)


def _ledger_exists(session: Session, actor: Actor, name: str, group: str) -> None:
    query = select(Ledger).where(Ledger.name == name, Ledger.group == group, seen_by(actor, Ledger))
    if session.exec(query).first() is None:
        raise NotFound("ledger_not_found", f"There is no ledger {name!r} with group {group!r}.", fix="See GET /ledgers.")


@use_case(None)
def count_ledger(actor: Actor, database: Database, name: str, group: str) -> dict[str, int]:
    """How many rows of a ledger group are in each state."""
    states = sorted(EFFECT_MOVES)
    each = [sa.func.count().filter(col(Effect.state) == state) for state in states]  # grouped, SQLite would keep a row for each
    query = sa.select(*each).where(seen_by(actor, Effect), col(Effect.ledger) == name, col(Effect.ledger_group) == group)
    with database.reading() as session:
        found = session.connection().execute(query).one()
    return {state: number for state, number in zip(states, found, strict=True) if number}


@use_case(None)
def export_ledger(
    actor: Actor, database: Database, name: str, group: str, *, state: str | None = None, subject: str | None = None
) -> Iterator[dict[str, Any]]:
    """Every row of a ledger group that its filters find, page by page: memory stays flat, and no read transaction stays open."""
    with database.reading() as session:
        _ledger_exists(session, actor, name, group)
    return _export(database, _ledger_query(actor, name, group, state, subject))


def _export(database: Database, query: Any) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        part = page(database, query, [col(Effect.seq)], ledger_row, cursor=cursor, limit=500)
        yield from part["items"]
        cursor = part["next_cursor"]
        if cursor is None:
            return


@use_case(None)
def list_effects(
    actor: Actor,
    database: Database,
    *,
    state: str,
    tool: str | None = None,
    effect: str | None = None,
    error_code: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """The retry queue, the dead letters or the unknowns, longest in the queue first; `error_code` "none" stands for those without one."""
    _known(state, dict.fromkeys(QUEUES), "a queue")
    query = select(Effect).where(seen_by(actor, Effect), Effect.state == state, in_index("effect", QUEUED_EFFECTS))
    query = query.where(Effect.tool == tool) if tool else query
    query = query.where(Effect.effect == effect) if effect else query
    query = query.where(has_code(error_code)) if error_code else query
    return page(database, query, [col(Effect.updated_at), col(Effect.seq)], effect_row, cursor=cursor, limit=limit)


@use_case(None)
def count_effects(actor: Actor, database: Database) -> list[dict[str, Any]]:
    """Effects that need somebody, grouped by state, tool and cause."""
    columns = (col(Effect.state), col(Effect.tool), col(Effect.error_code))
    waiting = sa.and_(col(Effect.state).in_(_COUNTED), in_index("effect", OPEN_EFFECTS))
    query = sa.select(*columns, sa.func.count()).where(seen_by(actor, Effect, few=True), waiting).group_by(*columns)
    with database.reading() as session:
        rows = session.connection().execute(query).all()
    return [{"state": state, "tool": tool, "error_code": code, "count": number} for state, tool, code, number in rows]


@use_case(None)
def read_effect(actor: Actor, database: Database, effect_id: str) -> dict[str, Any]:
    """One effect with its canonical item and every transition. Raises NotFound `effect_not_found`."""
    with database.reading() as session:
        row = session.exec(select(Effect).where(Effect.id == effect_id, seen_by(actor, Effect))).first()
        if row is None:
            raise NotFound("effect_not_found", f"There is no effect {effect_id!r}.", fix="Take the id from GET /effects, or from a ledger.")
        events = session.exec(select(EffectEvent).where(EffectEvent.effect_seq == row.seq).order_by(col(EffectEvent.seq))).all()
        history = [
            {"before": e.before, "after": e.after, "at": iso(e.at), "fence": e.fence, "actor": e.actor, "detail": e.detail} for e in events
        ]
        return effect_row(row) | {"item": json.loads(row.item), "history": history}


@use_case(None)
def open_runs(actor: Actor, database: Database) -> int:
    """How many runs of the tenant are not over."""
    query = select(sa.func.count()).select_from(Run).where(seen_by(actor, Run, few=True), in_index("run", RUNS_OPEN))
    with database.reading() as session:
        return session.exec(query).one()


def _known(state: str | None, names: Any, noun: str) -> None:
    if state is not None and state not in names:
        raise Invalid("state_unknown", f"{state!r} is no state of {noun}.", fix=f"Use one of {', '.join(sorted(names))}.")
