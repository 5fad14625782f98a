"""The retry queue: effects that wait for another attempt, worked outside the run that planned them.

It refuses to be: Redis. What is due is a query over effect rows; a wake-up only makes it sooner.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.connectors.port import is_local, is_remote
from app.core import feed
from app.core.db import Database, now
from app.core.faults import fault
from app.observability import metrics
from app.runtime.broker import make_request
from app.runtime.models import Effect, EffectEvent
from app.runtime.performing import LocalBatch, Task, perform_local, perform_remote
from app.runtime.process import Runtime
from app.runtime.program import Program
from app.runtime.repository.effects import Claim
from app.runtime.state import check_effect

BATCH = 100


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
    fence: int
    attempts: int


async def work_queue(runtime: Runtime, limit: int = BATCH) -> int:
    """Perform what is due, at most `limit` effects; returns how many were claimed."""
    claimed = await asyncio.to_thread(_claim_due, runtime.database, runtime.owner, limit)
    fault("effect.retry.claimed")
    for (tenant, tool, version, effect), group in itertools.groupby(claimed, lambda due: (due.tenant, due.tool, due.version, due.effect)):
        program = await asyncio.to_thread(runtime.load, tenant, tool, version)
        await _perform(runtime, program, effect, list(group))
    if claimed:
        await asyncio.to_thread(_tell, runtime.database, claimed[0].tenant)
    return len(claimed)


async def _perform(runtime: Runtime, program: Program, effect_id: str, group: list[Due]) -> None:
    declared = program.rules[effect_id].declared
    port = runtime.connectors.effects[declared.connector]
    metrics.RETRIES.labels(declared.connector).inc(len(group))
    hands = runtime.engine.hands()
    tasks = [
        Task(
            Claim(due.id, runtime.owner, due.fence),
            due.attempts,
            make_request(due.tenant, due.tool, declared, due.id, due.item, due.message_id, hands, due.attempts + 1),
        )
        for due in group
    ]
    if is_remote(port):
        lanes = min(len(tasks), port.concurrency)
        await perform_remote(hands, port, declared, tasks, lanes=lanes, go_on=lambda: True)
    elif is_local(port):
        await runtime.writer.submit(perform_local, LocalBatch(port, tasks))


def _claim_due(database: Database, owner: str, limit: int) -> list[Due]:
    due = sa.and_(col(Effect.state).in_(["retry_wait", "planned"]), col(Effect.next_at) <= database.clock.now())
    with database.reading() as session:
        if session.exec(select(Effect.seq).where(due).limit(1)).first() is None:
            return []
    order = (col(Effect.tool), col(Effect.version), col(Effect.effect), col(Effect.seq))
    with database.writing() as session:
        rows = session.exec(select(Effect).where(due).order_by(*order).limit(limit).with_for_update(skip_locked=True)).all()
        return [_take(session, row, owner) for row in rows]


def _take(session: Session, row: Effect, owner: str) -> Due:
    for after in ("planned", "claimed") if row.state == "retry_wait" else ("claimed",):
        check_effect(row.state, after)
        row.fence += 1 if after == "claimed" else 0
        session.add(EffectEvent(effect_id=row.id, before=row.state, after=after, at=now(session), fence=row.fence, actor="queue"))
        row.state = after
    row.owner, row.next_at, row.updated_at = owner, None, now(session)
    session.add(row)
    return Due(row.id, row.tenant, row.tool, row.version, row.effect, row.item, row.message_id, row.fence, row.attempts)


def _tell(database: Database, tenant: str) -> None:
    with database.writing() as session:
        feed.announce(session, "effects.changed", "queue", tenant)


def next_due(database: Database) -> int | None:
    """When the next waiting effect is due (ms), for a wake-up; None if none waits."""
    waiting: Any = select(sa.func.min(col(Effect.next_at))).where(col(Effect.state).in_(["retry_wait", "planned"]))
    with database.reading() as session:
        found: int | None = session.exec(waiting).one()
        return found
