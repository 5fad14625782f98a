"""Replays as callers see them: ask for one, wait for its report, read it later.

Who may see a run may have it replayed: it performs nothing. A worker does it; several wishes for one run share one replay.

It refuses to be: the replay itself.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from sqlmodel import Session, col, select

from app.access.permissions import use_case
from app.core import feed, ids, outbox
from app.core.actor import Actor
from app.core.clock import iso
from app.core.db import Database, now
from app.core.errors import Conflict, Limited, NotFound
from app.core.feed import Feed
from app.core.pages import Page, page
from app.observability import audit
from app.observability.traces import current_trace, new_trace
from app.runtime.models import Replay, Run
from app.runtime.replaying import pruned
from app.runtime.repository import replays as repository
from app.runtime.state import OPEN_RUNS
from app.runtime.visibility import seen_by

WAIT_S = 20.0
MOST_WAIT_S = 300.0
MOST_OPEN = 20
"""Replays of one actor that may wait at once: each is a run of a guest's."""

_LOOK_AGAIN_S = 0.5


@use_case(None)
def request_replay(actor: Actor, database: Database, run_id: str) -> dict[str, Any]:
    """Have a worker replay this run; returns the replay as it stands, which is the one under way if there is one.

    Raises NotFound `run_not_found`, Conflict `run_not_over`, `journal_pruned`, Limited `too_many_replays`.
    """
    with database.writing() as session:
        run = _run(session, actor, run_id)
        if run.state in OPEN_RUNS:
            raise Conflict("run_not_over", f"This run is {run.state}; its journal is not whole yet.", fix="Wait for its end.")
        if run.kept != "all":
            raise pruned(run.id)
        running = repository.under_way(session, run.id)
        if running is not None:
            return replay_row(running)
        if repository.asked_by(session, actor.tenant, actor.id) >= MOST_OPEN:
            raise Limited("too_many_replays", f"{MOST_OPEN} replays of yours are under way.", fix="Wait for some to end.")
        row = Replay(
            id=ids.new("rpl"),
            tenant=run.tenant,
            run_id=run.id,
            actor=actor.id,
            trace_id=current_trace() or new_trace(),
            state="waiting",
            created_at=now(session),
        )
        session.add(row)
        outbox.enqueue(session, "replay_run", row.id)
        audit.record(session, actor, "run.replay_requested", run.id, "done", replay=row.id)
        feed.announce(session, "run.replay", run.id, run.tenant)
        return replay_row(row)


@use_case(None)
async def replay_run(actor: Actor, database: Database, listening: Feed, run_id: str, *, wait_s: float = WAIT_S) -> dict[str, Any]:
    """`request_replay`, and wait at most `wait_s` for its end. Raises what it raises."""
    ends_at = asyncio.get_running_loop().time() + min(max(0.0, wait_s), MOST_WAIT_S)
    async with listening.listen(lambda signal: signal.subject == run_id and signal.topic == "run.replayed") as signals:
        found = await asyncio.to_thread(request_replay, actor, database, run_id)
        listening.nudge()
        while found["state"] in repository.OPEN and (left := ends_at - asyncio.get_running_loop().time()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(signals.get(), min(left, _LOOK_AGAIN_S))
            found = await asyncio.to_thread(read_replay, actor, database, run_id, found["id"])
    return found


@use_case(None)
def read_replay(actor: Actor, database: Database, run_id: str, replay_id: str) -> dict[str, Any]:
    """One replay with its report. Raises NotFound `run_not_found`, `replay_not_found`."""
    with database.reading() as session:
        run = _run(session, actor, run_id)
        row = session.exec(select(Replay).where(Replay.id == replay_id, Replay.run_id == run.id)).first()
        if row is None:
            raise NotFound("replay_not_found", f"This run has no replay {replay_id!r}.", fix="See GET /runs/{id}/replays.")
        return replay_row(row)


@use_case(None)
def list_replays(actor: Actor, database: Database, run_id: str, *, cursor: str | None = None, limit: int = 50) -> Page:
    """The replays of a run, newest first. Raises NotFound `run_not_found`."""
    with database.reading() as session:
        _run(session, actor, run_id)
    query = select(Replay).where(Replay.run_id == run_id)
    return page(database, query, [col(Replay.id)], replay_row, cursor=cursor, limit=limit, newest_first=True)


def waiting_replays(database: Database) -> list[str]:
    """For the sweeper: replays that no living worker has, oldest first."""
    if database.glance("SELECT 1 FROM replay WHERE state IN ('waiting', 'replaying') LIMIT 1") is False:
        return []
    with database.reading() as session:
        return repository.deserted(session)


def replay_row(row: Replay) -> dict[str, Any]:
    """A replay as REST answers it. `report` fields are null until there is one."""
    report = row.report or {}
    return {
        "id": row.id,
        "run_id": row.run_id,
        "state": row.state,
        "reached": report.get("reached"),
        "steps": report.get("steps"),
        "keys": report.get("keys"),
        "difference": report.get("difference"),
        "error": report.get("error"),
        "actor": row.actor,
        "created_at": iso(row.created_at),
        "finished_at": iso(row.finished_at),
        "duration_ms": row.finished_at - row.created_at if row.finished_at else None,
        "trace_id": row.trace_id,
    }


def _run(session: Session, actor: Actor, run_id: str) -> Run:
    run = session.exec(select(Run).where(Run.id == run_id, seen_by(actor, Run))).first()
    if run is None:
        raise NotFound("run_not_found", f"There is no run {run_id!r}.", fix="Take the id from GET /runs.")
    return run
