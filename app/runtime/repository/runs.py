"""Runs: begin with identity, claim, release, finish, and the journal's steps.

`begin`, `finish` and `release` are bulk writes for the group writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.core import feed, outbox
from app.core.actor import Actor
from app.core.db import insert_missing, now
from app.observability import audit
from app.runtime.models import Effect, EffectEvent, LogLine, Payload, Run, RunIdentity, Sighting, Step
from app.runtime.state import COUNTED, MAX_CRASHES, OPEN_RUNS, check_effect, check_run

runs: sa.Table = Run.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model
steps: sa.Table = Step.__table__  # type: ignore[attr-defined]  # as above
payloads: sa.Table = Payload.__table__  # type: ignore[attr-defined]  # as above
log_lines: sa.Table = LogLine.__table__  # type: ignore[attr-defined]  # as above


@dataclass(frozen=True, slots=True)
class Identity:
    """The natural or given key of a call: `id` is its digest, `ttl_ms` how long the first answer is replayed (None: always)."""

    id: str
    fingerprint: str
    ttl_ms: int | None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to begin. `row` holds the columns of `run` but for times; `args` is canonical JSON, stored by `row['args']`."""

    actor: Actor
    row: dict[str, Any]
    args: str
    identity: Identity | None


Begin = Literal["begun", "replay", "in_flight", "conflict"]


@dataclass(frozen=True, slots=True)
class Begun:
    """What became of a call: a run of its own, or the one that answers for its identity."""

    how: Begin
    run_id: str


def begin(session: Session, wanted: list[NewRun]) -> list[Begun]:
    """Insert runs that are new by their identity; name the run that answers for the others."""
    return [_begin(session, item) for item in wanted]


def _begin(session: Session, wanted: NewRun) -> Begun:
    at = now(session)
    row = wanted.row
    if wanted.identity is not None:
        answered = _answered(session, wanted.identity, at)
        if answered is not None:
            return answered
        expires = None if wanted.identity.ttl_ms is None else at + wanted.identity.ttl_ms
        fingerprint = wanted.identity.fingerprint
        session.merge(RunIdentity(id=wanted.identity.id, run_id=row["id"], fingerprint=fingerprint, expires_at=expires))
        session.flush()
    check_run("new", row["state"])
    insert_missing(session, payloads, [{"digest": row["args"], "body": wanted.args, "created_at": at}])
    identity = wanted.identity.id if wanted.identity else None
    session.connection().execute(sa.insert(runs), {**row, "identity": identity, "created_at": at})
    if row["state"] == "available":
        outbox.enqueue(session, "execute_run", row["id"])
    detail = {"tool": row["tool"], "version": row["version"], "dry_run": row["dry_run"]}
    audit.record(session, wanted.actor, "run.started", row["id"], "done", trace_id=row["trace_id"], **detail)
    return Begun("begun", row["id"])


def _answered(session: Session, identity: Identity, at: int) -> Begun | None:
    query = select(RunIdentity).where(RunIdentity.id == identity.id)
    known = session.exec(query.with_for_update()).first()
    if known is None or (known.expires_at is not None and known.expires_at <= at):
        return None
    if known.fingerprint != identity.fingerprint:
        return Begun("conflict", known.run_id)
    state = session.exec(select(Run.state).where(Run.id == known.run_id)).first()
    if state == "completed":
        return Begun("replay", known.run_id)
    return Begun("in_flight", known.run_id) if state in OPEN_RUNS else None


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a run: its final state with what it leaves, under the guard of owner and fence."""

    actor: Actor
    run_id: str
    owner: str
    fence: int
    state: str
    result: tuple[str, str] | None = None
    plan: tuple[str, str] | None = None
    error: dict[str, Any] | None = None
    effects: dict[str, Any] | None = None
    steps: Sequence[dict[str, Any]] = ()
    stored: Sequence[tuple[str, str]] = ()
    logs: Sequence[dict[str, Any]] = ()
    measured: dict[str, Any] = field(default_factory=dict)
    trace_id: str | None = None


def finish(session: Session, ends: list[Finish]) -> list[bool]:
    """End runs. False where another process has taken the run over; nothing is changed then."""
    return [_finish(session, end) for end in ends]


def _finish(session: Session, end: Finish) -> bool:
    at = now(session)
    check_run("executing", end.state)
    values: dict[str, Any] = {"state": end.state, "owner": None, "finished_at": at, "error": end.error, **end.measured}
    texts = [text for text in (end.result, end.plan, *end.stored) if text is not None]
    if end.result is not None:
        values["result"] = end.result[0]
    if end.plan is not None:
        values["plan"] = end.plan[0]
    if end.effects is not None:
        values["effects"] = end.effects
    released = end.state != "completed"
    if released:
        values["identity"] = None
    if not _guarded(session, end.run_id, end.owner, end.fence, values):
        return False
    store(session, texts, at)
    write_steps(session, end.steps)
    if end.logs:
        session.connection().execute(sa.insert(log_lines), list(end.logs))
    if released:
        session.connection().execute(sa.delete(RunIdentity).where(col(RunIdentity.run_id) == end.run_id))
        cancel_open_effects(session, end.run_id)
    code = {"code": end.error["code"]} if end.error else {}
    outcome = "done" if end.state == "completed" else "failed"
    audit.record(session, end.actor, f"run.{end.state}", end.run_id, outcome, trace_id=end.trace_id, **code)
    feed.announce(session, "run.finished", end.run_id, end.actor.tenant, state=end.state)
    return True


def _guarded(session: Session, run_id: str, owner: str, fence: int, values: dict[str, Any]) -> bool:
    guard = sa.and_(runs.c.id == run_id, runs.c.owner == owner, runs.c.fence == fence, runs.c.state == "executing")
    return session.connection().execute(sa.update(runs).where(guard).values(**values)).rowcount == 1


def store(session: Session, texts: Sequence[tuple[str, str]], at: int) -> None:
    """Keep texts by their digest, each once."""
    insert_missing(session, payloads, sorted(({"digest": d, "body": b, "created_at": at} for d, b in texts), key=lambda row: row["digest"]))


def write_steps(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Append journal rows; one that is there already (a resume that was cut short) stays as it was."""
    if rows:
        insert_missing(session, steps, list(rows))


def cancel_open_effects(session: Session, run_id: str) -> None:
    """planned, claimed and retry_wait → cancelled: nothing of this run will be performed any more."""
    query = select(Effect).where(Effect.run_id == run_id, col(Effect.state).in_(["planned", "claimed", "retry_wait"]))
    for effect in session.exec(query).all():
        check_effect(effect.state, "cancelled")
        session.add(
            EffectEvent(effect_id=effect.id, before=effect.state, after="cancelled", at=now(session), fence=effect.fence + 1, actor=run_id)
        )
        effect.state, effect.owner, effect.next_at, effect.updated_at = "cancelled", None, None, now(session)
        effect.fence += 1
        session.add(effect)


@dataclass(frozen=True, slots=True)
class Release:
    """A process gives a run back: for a worker at once (`available`), or after a crash of its own (`scheduled`)."""

    actor: Actor
    run_id: str
    owner: str
    fence: int
    delay_ms: int = 0
    crashed: bool = False
    reason: str = ""
    steps: Sequence[dict[str, Any]] = ()
    stored: Sequence[tuple[str, str]] = ()
    logs: Sequence[dict[str, Any]] = ()
    trace_id: str | None = None


def release(session: Session, releases: list[Release]) -> list[bool]:
    """executing → available (or scheduled after a crash), with the journal so far; wakes a worker."""
    return [_release(session, item) for item in releases]


def _release(session: Session, item: Release) -> bool:
    at = now(session)
    state = "scheduled" if item.crashed else "available"
    check_run("executing", state)
    values: dict[str, Any] = {"state": state, "owner": None, "due_at": at + item.delay_ms}
    if item.crashed:
        values["crashes"] = runs.c.crashes + 1
    if not _guarded(session, item.run_id, item.owner, item.fence, values):
        return False
    store(session, item.stored, at)
    write_steps(session, item.steps)
    if item.logs:
        session.connection().execute(sa.insert(log_lines), list(item.logs))
    recover_effects(session, [item.run_id])
    outbox.enqueue(session, "execute_run", item.run_id, at + item.delay_ms)
    detail = {"reason": item.reason, "crashed": item.crashed}
    audit.record(session, item.actor, "run.released", item.run_id, "done", trace_id=item.trace_id, **detail)
    return True


def recover_effects(session: Session, run_ids: Sequence[str]) -> None:
    """Effects of runs that nobody executes: claimed → planned (nothing left), performing → unknown (nobody can know)."""
    held = select(Effect).where(col(Effect.run_id).in_(run_ids), col(Effect.state).in_(["claimed", "performing"]))
    for effect in session.exec(held).all():
        recover_effect(session, effect)


def recover_effect(session: Session, effect: Effect) -> None:
    """One effect whose holder is gone: back to planned, or unknown if its first byte may have left (`retry`: planned again)."""
    path = {"claimed": ("planned",), "performing": ("unknown", "planned") if effect.on_unknown == "retry" else ("unknown",)}
    for after in path[effect.state]:
        check_effect(effect.state, after)
        effect.fence += 1
        detail = "holder gone" if effect.state != "unknown" else "policy retry"
        event = EffectEvent(
            effect_id=effect.id, before=effect.state, after=after, at=now(session), fence=effect.fence, actor="recovery", detail=detail
        )
        session.add(event)
        if after == "unknown":
            effect.error_code, effect.error, effect.crashes = "holder_died", _HOLDER_DIED, effect.crashes + 1
        elif effect.state == "unknown":
            effect.next_at = now(session)
        effect.state = after
    effect.owner, effect.updated_at = None, now(session)
    session.add(effect)


_HOLDER_DIED = '{"code":"holder_died","message":"the process died between doing and recording"}'


def claim(session: Session, run_id: str, owner: str) -> Run | None:
    """available or scheduled and due → executing for `owner` with the next fence; None if somebody else has it."""
    at = now(session)
    waiting = sa.and_(runs.c.id == run_id, runs.c.state.in_(["available", "scheduled"]), runs.c.due_at <= at)
    started = sa.func.coalesce(runs.c.started_at, at)
    values = {"state": "executing", "owner": owner, "fence": runs.c.fence + 1, "started_at": started}
    if session.connection().execute(sa.update(runs).where(waiting).values(**values)).rowcount != 1:
        return None
    return session.exec(select(Run).where(Run.id == run_id)).one()


def abandon(session: Session, owners: Sequence[str]) -> list[str]:
    """Runs of owners that are gone: executing → scheduled, or quarantined at the third crash. Returns their ids."""
    query = select(Run).where(Run.state == "executing", col(Run.owner).in_(owners))
    lost = list(session.exec(query).all())
    for run in lost:
        run.crashes += 1
        after = "quarantined" if run.crashes >= MAX_CRASHES else "scheduled"
        check_run(run.state, after)
        run.state, run.owner = after, None
        run.fence += 1
        actor = Actor(run.actor, run.actor, run.tenant, frozenset())
        recover_effects(session, [run.id])
        if after == "quarantined":
            run.identity, run.finished_at = None, now(session)
            run.error = {"code": "run_quarantined", "message": f"the run ended its process {run.crashes} times"}
            session.connection().execute(sa.delete(RunIdentity).where(col(RunIdentity.run_id) == run.id))
            cancel_open_effects(session, run.id)
            feed.announce(session, "run.finished", run.id, run.tenant, state=after)
        else:
            run.due_at = now(session)
            outbox.enqueue(session, "execute_run", run.id)
        audit.record(session, actor, f"run.{after}", run.id, "failed", trace_id=run.trace_id, crashes=run.crashes)
        session.add(run)
    return [run.id for run in lost]


def step_at(session: Session, run_id: str, step: int, chunk: int) -> tuple[Step, str] | None:
    """A journaled step with its answer's text, or None."""
    row = session.get(Step, (run_id, step, chunk))
    if row is None:
        return None
    text = row.answer
    if text is None and row.payload is not None:
        text = session.exec(select(Payload.body).where(Payload.digest == row.payload)).one()
    return row, text or "null"


def last_step(session: Session, run_id: str) -> int:
    """The highest journaled step of a run; 0 if there is none."""
    return session.exec(select(sa.func.max(col(Step.step))).where(Step.run_id == run_id)).one() or 0


def payload(session: Session, digest: str) -> str:
    """The text stored by `digest`."""
    return session.exec(select(Payload.body).where(Payload.digest == digest)).one()


def counts(session: Session, run_id: str) -> dict[str, dict[str, int]]:
    """Distinct keys of a run by effect and state name, as they are at present: its own and those it met."""
    own = sa.select(Effect.effect, Effect.state, sa.func.count()).where(col(Effect.run_id) == run_id).group_by(Effect.effect, Effect.state)  # type: ignore[call-overload]  # SQLModel's column types
    met = (
        sa.select(Effect.effect, Effect.state, sa.func.count())  # type: ignore[call-overload]  # as above
        .join(Sighting, col(Sighting.effect_id) == col(Effect.id))
        .where(col(Sighting.run_id) == run_id, col(Effect.run_id) != run_id)
        .group_by(Effect.effect, Effect.state)
    )
    found: dict[str, dict[str, int]] = {}
    for query, done in ((own, "done"), (met, "skipped")):
        for effect, state, number in session.connection().execute(query):
            tally = found.setdefault(effect, dict.fromkeys(("done", "skipped", "retrying", "failed", "unknown", "distinct"), 0))
            tally[done if state == "done" else COUNTED[state]] += number
            tally["distinct"] += number
    return found


def note_progress(session: Session, run_id: str, done: int, total: int | None) -> None:
    """Keep the latest progress of a run that is being executed."""
    session.connection().execute(sa.update(runs).where(runs.c.id == run_id).values(done=done, total=total))
