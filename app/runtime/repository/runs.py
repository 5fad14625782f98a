"""Runs: begin with identity, claim, release, finish.

`begin`, `finish` and `release` are bulk writes for the group writer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.core import feed, outbox
from app.core.actor import Actor
from app.core.db import execute_many, insert_missing, insert_rows, now
from app.core.indexes import in_index
from app.observability import audit
from app.runtime.models import OPEN_RUNS as RUNS_OPEN
from app.runtime.models import Effect, Run, RunBound, RunIdentity, Sighting
from app.runtime.plans import Proviso
from app.runtime.repository.crossing import crosses_run
from app.runtime.repository.flow import hold, not_paused
from app.runtime.repository.journal import store, write_journal, write_logs
from app.runtime.repository.recovery import NOTHING_HELD, Held, cancel_open, recover_held
from app.runtime.state import COUNTED, MAX_CRASHES, OPEN_RUNS

runs: sa.Table = Run.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model
COME_AGAIN_MS = 500
PART = 10_000
"""How many effects of others are counted in one piece."""

identities: sa.Table = RunIdentity.__table__  # type: ignore[attr-defined]  # as above


@dataclass(frozen=True, slots=True)
class Identity:
    """The natural or given key of a call: `id` is its digest, `ttl_ms` how long the first answer is replayed (None: always)."""

    id: str
    fingerprint: str
    ttl_ms: int | None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to begin. `row` holds the columns of `run` but for times; `args` is canonical JSON, stored by `row['args']`.

    `proviso` may still refuse it, by raising, unless another run answers for it; `marks` are all that it may perform.
    """

    actor: Actor
    row: dict[str, Any]
    args: str
    identity: Identity | None
    proviso: Proviso | None = None
    marks: bytes | None = None


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
        answered = _answered(session, wanted.identity, row["id"], at)
        if answered is not None:
            return answered
    if wanted.proviso is not None:
        wanted.proviso(session, row["id"])
    crosses_run(session, "new", row["state"])
    store(session, [(row["args"], wanted.args)], at)
    identity = wanted.identity.id if wanted.identity else None
    insert_rows(session, runs, [{**row, "identity": identity, "created_at": row["started_at"] or at}])
    if wanted.marks is not None:
        session.add(RunBound(run_id=row["id"], marks=wanted.marks))
    if row["state"] == "available":
        outbox.enqueue(session, "execute_run", row["id"])
    detail = {"tool": row["tool"], "version": row["version"], "dry_run": row["dry_run"]}
    if row["approval"] is not None:
        detail["approval"] = row["approval"]
    audit.record(session, wanted.actor, "run.started", row["id"], "done", trace_id=row["trace_id"], **detail)
    return Begun("begun", row["id"])


def _answered(session: Session, identity: Identity, run_id: str, at: int) -> Begun | None:
    """The run that answers for this identity; None if `run_id` now does. Two processes at once: one waits for the other."""
    expires = None if identity.ttl_ms is None else at + identity.ttl_ms
    row = {"id": identity.id, "run_id": run_id, "fingerprint": identity.fingerprint, "expires_at": expires}
    while insert_missing(session, identities, [row]) == 0:
        known = session.exec(select(RunIdentity).where(RunIdentity.id == identity.id).with_for_update()).first()
        if known is None:  # a run that failed has just given it back
            continue
        state = session.exec(select(Run.state).where(Run.id == known.run_id)).first()
        expired = known.expires_at is not None and known.expires_at <= at
        if state in OPEN_RUNS or (state == "completed" and not expired):
            how: Begin = "conflict" if known.fingerprint != identity.fingerprint else "in_flight" if state in OPEN_RUNS else "replay"
            return Begun(how, known.run_id)
        session.connection().execute(sa.update(identities).where(identities.c.id == identity.id).values(**row))
        return None
    return None


class RefusedItems(NamedTuple):
    """How many items of a run an effect (`tool/effect`) was refused for, by code."""

    effect: str
    code: str
    items: int


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
    plan_summary: dict[str, Any] | None = None
    bound: bool = False
    error: dict[str, Any] | None = None
    effects: dict[str, Any] | None = None
    steps: Sequence[dict[str, Any]] = ()
    stored: Sequence[tuple[str, str]] = ()
    logs: Sequence[dict[str, Any]] = ()
    refused: Sequence[RefusedItems] = ()
    measured: dict[str, Any] = field(default_factory=dict)
    trace_id: str | None = None


def finish(session: Session, ends: list[Finish]) -> list[bool]:
    """End runs. False where another process has taken the run over; nothing is changed then."""
    return [_finish(session, end) for end in ends]


def _finish(session: Session, end: Finish) -> bool:
    at = now(session)
    values: dict[str, Any] = {"state": end.state, "owner": None, "finished_at": at, "error": end.error, **end.measured}
    texts = [*end.stored, *(text for text in (end.result, end.plan) if text is not None)]
    if end.result is not None:
        values["result"] = end.result[0]
    if end.plan is not None:
        values |= {"plan": end.plan[0], "plan_summary": end.plan_summary}
    if end.effects is not None:
        values["effects"] = end.effects
    released = end.state != "completed"
    if released:
        values["identity"] = None
    if not _guarded(session, end.run_id, end.owner, end.fence, values):
        return False
    crosses_run(session, "executing", end.state)
    write_journal(session, (end.steps, texts), at)
    write_logs(session, end.logs)
    if released:
        session.connection().execute(sa.delete(RunIdentity).where(col(RunIdentity.run_id) == end.run_id))
        cancel_open(session, end.run_id)
    if end.bound:
        forget_bound(session, end.run_id)
    for effect, why, items in end.refused:
        audit.record(session, end.actor, "effect.refused", effect, "refused", trace_id=end.trace_id, code=why, run=end.run_id, items=items)
    code = {"code": end.error["code"]} if end.error else {}
    outcome = "done" if end.state == "completed" else "failed"
    audit.record(session, end.actor, f"run.{end.state}", end.run_id, outcome, trace_id=end.trace_id, **code)
    feed.announce(session, "run.finished", end.run_id, end.actor.tenant, state=end.state)
    return True


def _guard(run_id: Any, owner: Any, fence: Any) -> sa.ColumnElement[bool]:
    return sa.and_(runs.c.id == run_id, runs.c.owner == owner, runs.c.fence == fence, runs.c.state == sa.literal_column("'executing'"))


def _guarded(session: Session, run_id: str, owner: str, fence: int, values: dict[str, Any]) -> bool:
    given = {f"to_{name}": json.dumps(value) if isinstance(value, dict) else value for name, value in values.items()}
    bound = {"of_run": run_id, "of_owner": owner, "of_fence": fence} | given
    return execute_many(session, ("run", *values), _guarded_update(tuple(values)), [bound]) == 1


@cache
def _guarded_update(columns: tuple[str, ...]) -> sa.Update:
    """The update of these columns, made once for each set of them: making it costs more than running it."""
    guard = _guard(sa.bindparam("of_run"), sa.bindparam("of_owner"), sa.bindparam("of_fence"))
    return sa.update(runs).where(guard).values({name: sa.bindparam(f"to_{name}", type_=runs.c[name].type) for name in columns})


@dataclass(frozen=True, slots=True)
class Release:
    """A process gives a run back: for a worker at once (`available`), or after a crash of its own or while paused (`scheduled`).

    `held` is what it drops: what else of this run is held, by a retry queue, goes on.
    """

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
    held: Held = NOTHING_HELD
    paused: bool = False
    waits_for: str | None = None
    trace_id: str | None = None


def release(session: Session, releases: list[Release]) -> list[bool]:
    """executing → available (or, after a crash, scheduled or quarantined), with the journal so far; wakes a worker."""
    return [_release(session, item) for item in releases]


def _release(session: Session, item: Release) -> bool:
    at = now(session)
    recover_held(session, item.run_id, item.owner, item.held)
    guard = _guard(item.run_id, item.owner, item.fence)
    run = session.exec(select(Run).where(guard).with_for_update()).first()
    if run is None:
        return False
    write_journal(session, (item.steps, item.stored), at)
    write_logs(session, item.logs)
    if item.crashed:
        _after_crash(session, run, at + item.delay_ms)
    elif item.paused:  # taken again once `not_paused` holds; the sweep looks each second
        _move(session, run, "scheduled")
        run.due_at, run.waits_for = at, item.waits_for
    else:
        _move(session, run, "available")
        run.due_at = at + item.delay_ms
        outbox.enqueue(session, "execute_run", run.id, run.due_at)
    detail = {"reason": item.reason, "crashed": item.crashed}
    audit.record(session, item.actor, "run.released", item.run_id, "done", trace_id=item.trace_id, **detail)
    return True


def _move(session: Session, run: Run, after: str) -> None:
    crosses_run(session, run.state, after)
    run.state, run.owner = after, None


def _after_crash(session: Session, run: Run, due_at: int) -> None:
    run.crashes += 1
    if run.crashes < MAX_CRASHES:
        _move(session, run, "scheduled")
        run.due_at = due_at
        outbox.enqueue(session, "execute_run", run.id, due_at)
        return
    _move(session, run, "quarantined")
    run.identity, run.finished_at = None, now(session)
    fix = "It is not tried again by itself. See the service's log; call again once the cause is gone: nothing is done twice."
    run.error = {"code": "run_quarantined", "message": f"the run ended its process {run.crashes} times", "fix": fix}
    session.connection().execute(sa.delete(RunIdentity).where(col(RunIdentity.run_id) == run.id))
    forget_bound(session, run.id)
    cancel_open(session, run.id)
    feed.announce(session, "run.finished", run.id, run.tenant, state=run.state)


def claim(session: Session, run_id: str, owner: str, most: Callable[[str], int | None] | None = None) -> Run | None:
    """available or scheduled and due → executing for `owner` with the next fence; None if somebody else has it, or it has to wait.

    `most` says how many runs of a tool may execute at once (None: any number); one too many comes again a little later.
    """
    at = now(session)
    if most is not None and _too_many(session, run_id, most, at):
        return None
    waiting = sa.and_(runs.c.id == run_id, runs.c.state.in_(["available", "scheduled"]), runs.c.due_at <= at, not_paused(runs))
    run = session.exec(select(Run).where(waiting).with_for_update()).first()
    if run is None:
        return None
    crosses_run(session, run.state, "executing")
    run.state, run.owner, run.fence, run.started_at, run.waits_for = "executing", owner, run.fence + 1, run.started_at or at, None
    session.add(run)
    return run


def _too_many(session: Session, run_id: str, most: Callable[[str], int | None], at: int) -> bool:
    tenant, tool = session.exec(select(Run.tenant, Run.tool).where(Run.id == run_id)).first() or ("", "")
    limit = most(tool)
    if limit is None:
        return False
    hold(session, f"runs {tenant} {tool}")
    executing = sa.and_(runs.c.state == "executing", in_index("run", RUNS_OPEN), runs.c.tenant == tenant, runs.c.tool == tool)
    if session.connection().execute(sa.select(sa.func.count()).select_from(runs).where(executing)).scalar_one() < limit:
        return False
    later = sa.and_(runs.c.id == run_id, runs.c.state.in_(["available", "scheduled"]), runs.c.due_at <= at)
    session.connection().execute(sa.update(runs).where(later).values(due_at=at + COME_AGAIN_MS))
    return True


def abandon(session: Session, owners: Sequence[str]) -> list[str]:
    """Runs of owners that are gone: executing → scheduled, or quarantined at the third crash. Returns their ids.

    Their effects are recovered before. Rows that another sweep has just locked are left to it.
    """
    held = select(Run).where(Run.state == "executing", in_index("run", RUNS_OPEN), col(Run.owner).in_(owners))
    lost = list(session.exec(held.with_for_update(skip_locked=True)).all())
    for run in lost:
        run.fence += 1
        _after_crash(session, run, now(session))
        actor = Actor(run.actor, run.actor, run.tenant, frozenset())
        audit.record(session, actor, f"run.{run.state}", run.id, "failed", trace_id=run.trace_id, crashes=run.crashes)
        session.add(run)
    return [run.id for run in lost]


def counts(session: Session, run_id: str, *, at_its_end: bool = False) -> dict[str, dict[str, int]]:
    """Distinct keys of a run by effect and state name, as they are at present: its own and those it met.

    `at_its_end`: what other runs hold counts as the run was last told of it, or as it left it to them.
    """
    own = sa.select(Effect.effect, Effect.state, sa.func.count()).where(col(Effect.run_id) == run_id).group_by(Effect.state, Effect.effect)  # type: ignore[call-overload]  # SQLModel's column types
    found: dict[str, dict[str, int]] = {}
    for rows, done in ((session.connection().execute(own), "done"), (_met(session, run_id, at_its_end=at_its_end), "skipped")):
        for effect, state, number in rows:
            tally = found.setdefault(effect, dict.fromkeys(("done", "skipped", "retrying", "failed", "unknown", "distinct"), 0))
            tally[done if state == "done" else COUNTED[state]] += number
            tally["distinct"] += number
    return found


def _met(session: Session, run_id: str, *, at_its_end: bool) -> Iterator[tuple[str, str, int]]:
    """Effects of others that a run has met, by effect and state; in parts, since SQLite keeps all the rows that it is to group."""
    state = sa.func.coalesce(col(Sighting.state), col(Effect.state)) if at_its_end else col(Effect.state)
    theirs = sa.select(Effect.effect, state.label("state"), Sighting.effect_seq).join(Effect, col(Effect.seq) == col(Sighting.effect_seq))  # type: ignore[call-overload]  # as above
    theirs = theirs.where(col(Sighting.run_id) == run_id, col(Effect.run_id) != run_id).order_by(Sighting.effect_seq).limit(PART)
    last, number = -1, PART
    while number == PART:
        part = theirs.where(col(Sighting.effect_seq) > last).subquery()
        query = sa.select(part.c.effect, part.c.state, sa.func.count(), sa.func.max(part.c.effect_seq))
        rows = session.connection().execute(query.group_by(part.c.effect, part.c.state)).all()
        yield from ((effect, state, count) for effect, state, count, _ in rows)
        number, last = sum(row[2] for row in rows), max((row[3] for row in rows), default=last)


def marks(session: Session, run_id: str) -> bytes | None:
    """All that an approved run may perform; None where it is not held to a plan."""
    return session.exec(select(RunBound.marks).where(RunBound.run_id == run_id)).first()


def forget_bound(session: Session, run_id: str) -> None:
    """A run that is over is held to nothing."""
    session.connection().execute(sa.delete(RunBound).where(col(RunBound.run_id) == run_id))


def answered(session: Session, identity: Identity) -> bool:
    """Whether some run answers for this identity at present."""
    known = session.exec(select(RunIdentity).where(RunIdentity.id == identity.id)).first()
    if known is None:
        return False
    state = session.exec(select(Run.state).where(Run.id == known.run_id)).first()
    return state in OPEN_RUNS or (state == "completed" and (known.expires_at is None or known.expires_at > now(session)))


def note_progress(session: Session, run_id: str, owner: str, fence: int, done: int, total: int | None) -> bool:
    """Keep the latest progress of a run. False where another process has it; nothing is changed then."""
    return _guarded(session, run_id, owner, fence, {"done": done, "total": total})
