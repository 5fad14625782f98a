"""The retry queue: effects that wait for another attempt, worked outside the run that planned them.

An effect that the queue holds keeps its `next_at`, so that it is due again if its holder is gone before it began.

It refuses to be: Redis. What is due is a query over effect rows; a wake-up only makes it sooner.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.connectors.port import is_local, is_remote
from app.core import feed
from app.core.db import Database, now
from app.core.errors import ToolmintError
from app.core.faults import fault
from app.core.indexes import in_index
from app.observability import metrics
from app.runtime.broker import make_request
from app.runtime.models import OPEN_EFFECTS, Effect, Run
from app.runtime.performing import Hands, Task, do_local, error_text, perform_remote
from app.runtime.process import Runtime
from app.runtime.repository.effects import Claim, EventLog, FencedOut, Move, move
from app.runtime.repository.recovery import drop_claims
from app.runtime.verdicts import BY_LOOKUP
from app.spec.model import Effect as Declared

BATCH = 100
LOAD_AGAIN_MS = 60_000
_WAITING = ("retry_wait", "planned")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """An effect that this process has just claimed from the queue."""

    id: str
    tenant: str
    tool: str
    version: int
    effect: str
    item: str
    message_id: str | None
    owner: str
    fence: int
    attempts: int

    @property
    def claim(self) -> Claim:
        return Claim(self.id, self.owner, self.fence)


async def work_queue(runtime: Runtime, limit: int = BATCH) -> int:
    """Perform what is due, at most `limit` effects; returns how many were claimed.

    If the caller is cancelled, what is in flight is awaited and the rest is given back.
    """
    if runtime.leaving:
        return 0
    stopped = asyncio.Event()
    work = asyncio.create_task(_work(runtime, limit, stopped), name="queue")
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait([work])
        raise


async def _work(runtime: Runtime, limit: int, stopped: asyncio.Event) -> int:
    claimed: list[Due] = []
    try:
        await asyncio.to_thread(_claim_due, runtime.database, runtime.owner, limit, claimed, workable(runtime))
        fault("effect.retry.claimed")
        await _carry_out(runtime, claimed, stopped)
    except Exception:
        # Whatever it was, and if it was the commit itself: this process lives on, and would hold for ever what it has claimed. What has
        # ended, or was not claimed after all, is not touched.
        await runtime.owe(drop_claims, [due.claim for due in claimed])
        raise
    if claimed:
        await asyncio.to_thread(_tell, runtime.database, {due.tenant for due in claimed})
    return len(claimed)


async def _carry_out(runtime: Runtime, claimed: Sequence[Due], stopped: asyncio.Event) -> None:
    for (tenant, tool, version, effect), found in itertools.groupby(claimed, lambda due: (due.tenant, due.tool, due.version, due.effect)):
        group = list(found)
        try:
            program = await asyncio.to_thread(runtime.load, tenant, tool, version)
            declared = program.rule(effect).declared
        except ToolmintError as error:
            log.warning("retries of %s %s wait: %s", tool, version, error.code)
            await _put_off(runtime, group, error)
        else:
            await _perform(runtime, declared, group, stopped)


async def _put_off(runtime: Runtime, group: Sequence[Due], error: ToolmintError) -> None:
    """A version that does not load holds up its own retries alone, and no attempt is counted."""
    again = runtime.database.clock.now() + LOAD_AGAIN_MS
    why = error_text(error.code, error.detail)
    moves = [Move(due.claim, "claimed", "planned", due.attempts, error_code=error.code, error=why, next_at=again) for due in group]
    await asyncio.gather(*(runtime.writer.put(move, item) for item in moves))


async def _perform(runtime: Runtime, declared: Declared, group: Sequence[Due], stopped: asyncio.Event) -> None:
    port = runtime.connectors.effect(declared.connector, declared.config)
    metrics.RETRIES.labels(declared.connector).inc(len(group))
    hands = runtime.engine.hands(group[0].owner)
    requests = [make_request(due.tenant, due.tool, declared, due.id, json.loads(due.item), due.message_id) for due in group]
    tasks = [Task(due.claim, due.attempts, request) for due, request in zip(group, requests, strict=True)]
    gate = runtime.engine.gate_of(group[0].tenant, group[0].tool, declared)
    go_on: Callable[[], bool] = lambda: not (stopped.is_set() or runtime.leaving or gate.paused() is not None)  # noqa: E731  # a value
    try:
        if is_remote(port):
            await perform_remote(hands, port, declared, tasks, go_on=go_on, gate=gate)
        elif is_local(port):
            await _one_by_one(hands, port, tasks, go_on)
    except FencedOut:
        log.warning("the lease ended while the queue was worked; what was not begun is due again")
    left = [task.claim for task in tasks if task.outcome is None]
    if left:
        await runtime.owe(drop_claims, left)


async def _one_by_one(hands: Hands, port: Any, tasks: Sequence[Task], go_on: Callable[[], bool]) -> None:
    for task in tasks:
        if not go_on():
            return
        try:
            await do_local(hands, port, [task])
        except FencedOut:
            task.fenced = True


def workable(runtime: Runtime) -> Any:
    """Which effects the queue may work: neither paused nor behind a circuit that rests. The others wait, and no attempt is counted."""
    return None if runtime.flow is None else runtime.flow.workable()


def _claim_due(database: Database, owner: str, limit: int, claimed: list[Due], which: Any = None) -> None:
    """Claim what is due. `claimed` names it before the commit, whose answer may be lost."""
    due = sa.and_(col(Effect.next_at) <= database.clock.now(), in_index("effect", OPEN_EFFECTS))
    due = due if which is None else sa.and_(due, which)
    with database.reading() as session:
        if session.exec(select(Effect.seq).where(due, col(Effect.state).in_(_WAITING)).limit(1)).first() is None:
            return
    with database.writing() as session:
        rows = sorted(_oldest(session, due, limit), key=lambda row: (row.tool, row.version, row.effect, row.tenant, row.seq))
        over = _cancelled_runs(session, {row.run_id for row in rows if _falls_with_its_run(row)})
        log = EventLog(now(session))
        found = [_take(session, row, owner, log, cancelled=_falls_with_its_run(row) and row.run_id in over) for row in rows]
        claimed += [due for due in found if due is not None]
        log.write(session)


def _oldest(session: Session, due: sa.ColumnElement[bool], limit: int) -> list[Effect]:
    """What has been due longest, in the index's own order: to sort a million that are due takes half a second of the only writer."""
    found: list[Effect] = []
    for state in _WAITING:
        query = select(Effect).where(due, Effect.state == state).order_by(col(Effect.next_at)).limit(limit)
        found += session.exec(query.with_for_update(skip_locked=True))
    return sorted(found, key=lambda row: row.next_at or 0)[:limit]


def _falls_with_its_run(row: Effect) -> bool:
    """What nobody has sent round again since goes with a run that was cancelled; a provider's answer is nobody's decision."""
    return row.decision == BY_LOOKUP or (row.state == "retry_wait" and row.decision is None)


def _cancelled_runs(session: Session, run_ids: set[str]) -> set[str]:
    """Runs that were cancelled while the queue was performing an effect of theirs: what it left waiting is cancelled now."""
    return set(session.exec(select(Run.id).where(col(Run.id).in_(run_ids), Run.state == "cancelled")))


def _take(session: Session, row: Effect, owner: str, log: EventLog, *, cancelled: bool) -> Due | None:
    path = ("cancelled",) if cancelled else ("planned", "claimed") if row.state == "retry_wait" else ("claimed",)
    row.fence += 1
    for after in path:
        log.add(row.id, row.state, after, row.fence, "queue")
        row.state = after
    row.owner, row.updated_at = None if cancelled else owner, log.at
    session.add(row)
    if cancelled:
        row.next_at = None
        return None
    return Due(row.id, row.tenant, row.tool, row.version, row.effect, row.item, row.message_id, owner, row.fence, row.attempts)


def _tell(database: Database, tenants: set[str]) -> None:
    with database.writing() as session:
        for tenant in sorted(tenants):
            feed.announce(session, "effects.changed", "queue", tenant)


def note_unknown(database: Database) -> int:
    """How many effects nobody can know of, in all tenants; shown as a metric."""
    query = select(sa.func.count()).select_from(Effect).where(Effect.state == "unknown", in_index("effect", OPEN_EFFECTS))
    with database.reading() as session:
        number = session.exec(query).one()
    metrics.UNKNOWN.set(number)
    return number


def next_due(database: Database, which: Any = None) -> int | None:
    """When the next waiting effect is due (ms), for a wake-up; None if none waits. `which`: only of those that are `workable`."""
    waiting: Any = select(sa.func.min(col(Effect.next_at))).where(col(Effect.state).in_(_WAITING), in_index("effect", OPEN_EFFECTS))
    waiting = waiting if which is None else waiting.where(which)
    with database.reading() as session:
        found: int | None = session.exec(waiting).one()
        return found
