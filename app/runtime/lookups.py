"""Asking the provider: unknown effects whose connector can say afterwards what became of them.

What it says for certain decides as a person's verdict would, in the connector's name: done with its receipt, or planned again. As long
as it cannot say, it is asked again after a growing, capped delay; after the last time the unknown waits for a person alone.

It refuses to be: a vote against a person. A verdict that was given meanwhile stands.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.connectors.port import Connectors, Lookup, LookupEffect, is_lookup
from app.core import feed, outbox
from app.core.actor import Actor
from app.core.db import Database, now
from app.core.errors import ToolmintError
from app.core.faults import fault
from app.core.indexes import in_index
from app.observability import audit, metrics
from app.runtime.broker import make_request
from app.runtime.models import UNKNOWN_EFFECTS, Effect
from app.runtime.performing import EFFECT_TIMEOUT_MS, error_text, receipt_text
from app.runtime.process import Runtime
from app.runtime.program import Program
from app.runtime.repository.bulk import shift
from app.runtime.repository.effects import effects
from app.runtime.state import backoff_ms
from app.runtime.verdicts import BY_LOOKUP, resolved
from app.spec.model import Retry

ASKING = Retry(max_attempts=8, initial_delay_s=2, factor=4, max_delay_s=3600)
"""How often a provider is asked; the delays are full jitter, as those of retries."""

FIRST_MS = 2000
"""How long after the doubt it is asked first."""

SURE_MS = EFFECT_TIMEOUT_MS
"""How old a doubt must be for "not done" to count: the attempt may still be under way at a provider that does not know of it yet.

The doubt may begin long before the attempt is over: with a gateway that gave up, or with a holder that lost its lease. No attempt is
given more time than this for its answer; a provider that is at a request for longer must know of it from when it takes it on.
"""

ANSWER_S = 30.0
BATCH = 100
_NOBODY = -1
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Doubt:
    """An unknown effect that this process is about to ask for; `lookups` counts this time too."""

    id: str
    tenant: str
    tool: str
    version: int
    effect: str
    connector: str
    item: str
    message_id: str | None
    fence: int
    attempts: int
    lookups: int
    since: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What the provider said of a doubt; `next_at` None: it is not asked again; `spent`: the effect has no attempts left."""

    doubt: Doubt
    lookup: Lookup
    next_at: int | None
    spent: bool


def answering(connectors: Connectors) -> list[str]:
    """The connectors that may be asked, by name."""
    offered = itertools.chain(connectors.effects.items(), connectors.connected.items())
    return sorted({name for name, port in offered if is_lookup(port)})


def any_due(database: Database, connectors: Connectors) -> bool:
    """Whether somebody should be asked now."""
    names = answering(connectors)
    if not names:
        return False
    with database.reading() as session:
        return session.exec(select(Effect.seq).where(_due(database.clock.now(), names)).limit(1)).first() is not None


def _due(at: int, names: Sequence[str]) -> sa.ColumnElement[bool]:
    columns = effects.c
    first = sa.and_(columns.lookups == 0, columns.next_at.is_(None), columns.updated_at <= at - FIRST_MS)
    return sa.and_(in_index("effect", UNKNOWN_EFFECTS), columns.connector.in_(names), sa.or_(first, columns.next_at <= at))


async def look_up_due(runtime: Runtime, limit: int = BATCH) -> int:
    """Ask for what is due, at most `limit` unknowns; returns how many. A process that dies meanwhile costs one question of each."""
    names = answering(runtime.connectors)
    if runtime.leaving or not names:
        return 0
    doubts = await asyncio.to_thread(_take, runtime.database, names, limit)
    for (tenant, tool, version, effect), found in itertools.groupby(doubts, lambda one: (one.tenant, one.tool, one.version, one.effect)):
        group = list(found)
        try:
            program = await asyncio.to_thread(runtime.load, tenant, tool, version)
        except ToolmintError as error:
            log.warning("unknowns of %s %s are asked for later: %s", tool, version, error.code)
            continue
        heard = await _ask(runtime, program, effect, group)
        fault("lookup.answered")
        await asyncio.to_thread(_note, runtime.database, heard)
    return len(doubts)


def _take(database: Database, names: Sequence[str], limit: int) -> list[Doubt]:
    """Count the question before it is asked; should the answer never be noted, it is asked again after its time."""
    at = database.clock.now()
    order = (col(Effect.tool), col(Effect.version), col(Effect.effect), col(Effect.tenant), col(Effect.seq))
    with database.writing() as session:
        query = select(Effect).where(_due(at, names)).order_by(*order).limit(limit)
        rows = session.exec(query.with_for_update(skip_locked=True)).all()
        for row in rows:
            row.lookups += 1
            row.next_at = at + round(ANSWER_S * 2000)
            session.add(row)
        return [_doubt(row) for row in rows]


def _doubt(row: Effect) -> Doubt:
    return Doubt(
        id=row.id,
        tenant=row.tenant,
        tool=row.tool,
        version=row.version,
        effect=row.effect,
        connector=row.connector,
        item=row.item,
        message_id=row.message_id,
        fence=row.fence,
        attempts=row.attempts,
        lookups=row.lookups,
        since=row.updated_at,
    )


async def _ask(runtime: Runtime, program: Program, effect: str, group: Sequence[Doubt]) -> list[Heard]:
    declared = program.rules[effect].declared
    port = runtime.connectors.effect(declared.connector, declared.config)
    if not is_lookup(port) or not port.looks_up(declared.config):
        nobody = Lookup("unknown", code="nobody_to_ask", message="this connector cannot be asked under the effect's config")
        return [Heard(replace(doubt, lookups=_NOBODY), nobody, None, spent=False) for doubt in group]
    places = asyncio.Semaphore(port.concurrency)

    async def one(doubt: Doubt) -> Heard:
        async with places:
            lookup = await _answer(runtime, port, program, doubt)
        metrics.LOOKUPS.labels(doubt.connector, lookup.verdict).inc()
        return _judged(doubt, lookup, runtime.database.clock.now(), declared.retry.max_attempts, runtime.engine.jitter)

    return list(await asyncio.gather(*(one(doubt) for doubt in group)))


def _judged(doubt: Doubt, lookup: Lookup, at: int, attempts: int, jitter: random.Random) -> Heard:
    spent, sure_at = doubt.attempts >= attempts, doubt.since + SURE_MS
    if lookup.verdict == "not_done" and at < sure_at:
        return Heard(doubt, Lookup("unknown", code="too_early", message=lookup.message), sure_at, spent)
    last = lookup.verdict != "unknown" or doubt.lookups >= ASKING.max_attempts
    return Heard(doubt, lookup, None if last else at + backoff_ms(doubt.lookups, ASKING, jitter), spent)


async def _answer(runtime: Runtime, port: LookupEffect, program: Program, doubt: Doubt) -> Lookup:
    declared = program.rules[doubt.effect].declared
    request = make_request(doubt.tenant, doubt.tool, declared, doubt.id, json.loads(doubt.item), doubt.message_id)
    deadline = runtime.database.clock.monotonic() + round(ANSWER_S * 1000)
    try:
        async with asyncio.timeout(ANSWER_S):
            return await port.look_up(replace(request, attempt=doubt.attempts, deadline=deadline))
    except TimeoutError:
        return Lookup("unknown", code="lookup_timed_out", message=f"no answer within {ANSWER_S:.0f} s")
    except Exception as error:
        # A connector raises nothing for what the world does, so this is a bug of ours; it leaves the effect as unknown as it was.
        log.exception("connector %s could not look up", port.kind.name)
        return Lookup("unknown", code="connector_failed", message=type(error).__name__)


def _note(database: Database, heard: Sequence[Heard]) -> None:
    with database.writing() as session:
        for one in sorted(heard, key=lambda one: one.doubt.id):
            _settle(session, one)


def _settle(session: Session, heard: Heard) -> None:
    """Certain: as a verdict. Not done and out of attempts, or not known and asked for the last time: it waits for a person."""
    doubt, lookup = heard.doubt, heard.lookup
    actor = Actor(doubt.connector, doubt.connector, doubt.tenant, frozenset())
    mine = sa.and_(effects.c.fence == doubt.fence, effects.c.state == "unknown")
    verdict = {"done": "confirm_done", "not_done": "retry"}.get(lookup.verdict)
    if verdict is not None and not (verdict == "retry" and heard.spent):
        receipt = receipt_text(lookup.receipt)
        said = f"looked up: {lookup.verdict} {lookup.message}".strip()[:500]
        if not shift(session, [doubt.id], resolved(verdict, actor.id, BY_LOOKUP, said, now(session), receipt), mine):
            return
        audit.record(session, actor, "effect.resolved", doubt.id, "done", verdict=verdict, reason=said, lookups=doubt.lookups)
        feed.announce(session, "effects.changed", doubt.id, doubt.tenant)
        if verdict == "retry":
            outbox.enqueue(session, "work_queue", doubt.id)
        return
    values: dict[str, object] = {"next_at": heard.next_at, "lookups": doubt.lookups}
    if lookup.verdict == "not_done":
        message = f"the provider says that it did not happen, and its attempts are used up; {lookup.message}".rstrip("; ")
        values |= {"error_code": "not_done", "error": error_text("not_done", message), "updated_at": now(session)}
    update = sa.update(effects).where(effects.c.id == doubt.id, mine).values(**values)
    if session.connection().execute(update).rowcount and heard.next_at is None and doubt.lookups != _NOBODY:
        said = lookup.verdict
        audit.record(session, actor, "effect.looked_up", doubt.id, "failed", lookups=doubt.lookups, answer=said, code=lookup.code)
        feed.announce(session, "effects.changed", doubt.id, doubt.tenant)
