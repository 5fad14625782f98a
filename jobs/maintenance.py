"""Chores of every worker process, from the tables alone: nothing here needs Redis.

Each runs for ever at its interval. Several workers may run the same chore at once; each is safe to repeat.

It refuses to be: a scheduler of business. What is due is a query of the room that owns it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.candidates import verifying
from app.candidates.keeping import prune_kept
from app.codegen import writing
from app.codegen.generation import expire_replies
from app.composition import CHAIN, Services
from app.connectors.outbox import expire_emails
from app.core import feed
from app.invocation.posts import expire_posts
from app.observability import metrics
from app.observability.sealing import seal
from app.registry import bundled
from app.runtime import lookups
from app.runtime.queue import next_due, note_unknown, workable
from app.runtime.recovery import sweep
from app.runtime.redrives import JOB, open_decisions
from app.runtime.replay import waiting_replays
from app.runtime.retention import Keep, prune
from jobs.floor import Floor

logger = logging.getLogger(__name__)
SLOWER_S = 2.0
Wanted = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Chore:
    """`look` is asked every `every_s` seconds; it returns the (job, subject) pairs that this worker should take up."""

    name: str
    every_s: float
    look: Callable[[Services], Awaitable[Wanted]]


def _in_thread(look: Callable[[Services], Wanted]) -> Callable[[Services], Awaitable[Wanted]]:
    return lambda services: asyncio.to_thread(look, services)


def _deserted_runs(services: Services) -> Wanted:
    return [("execute_run", run) for run in sweep(services.database)]


def _waiting_replays(services: Services) -> Wanted:
    return [("replay_run", replay) for replay in waiting_replays(services.database)]


def _due_effects(services: Services) -> Wanted:
    due = next_due(services.database, workable(services.runtime))
    return [("work_queue", "effects")] if due is not None and due <= services.database.clock.now() else []


def _due_lookups(services: Services) -> Wanted:
    return [("work_queue", "effects")] if lookups.any_due(services.database, services.connectors) else []


def _open_decisions(services: Services) -> Wanted:
    return [(JOB, decision) for decision in open_decisions(services.database)]


def _waiting_work(services: Services) -> Wanted:
    verifying.wake_waiting(services.database)
    writing.wake_waiting(services.database)
    return []


def _unknown_effects(services: Services) -> Wanted:
    note_unknown(services.database)
    return []


def _unsealed_events(services: Services) -> Wanted:
    seal(services.database, CHAIN)
    return []


def _what_expires(services: Services) -> Wanted:
    feed.expire(services.database)
    expire_posts(services.database)
    prune_kept(services.database)
    return []


def _what_is_kept_no_longer(services: Services) -> Wanted:
    keep = Keep.of(services.settings)
    prune(services.database, keep)
    if keep.answers_ms is not None:
        before = services.database.clock.now() - keep.answers_ms
        metrics.PRUNED.labels("emails").inc(expire_emails(services.database, before))
        metrics.PRUNED.labels("replies").inc(expire_replies(services.database, before))
    return []


async def _bundled_tools(services: Services) -> Wanted:
    if services.settings.samples:
        await bundled.advance(services.catalog)
    return []


CHORES = (
    Chore("take up what gone owners held", 1.0, _in_thread(_deserted_runs)),
    Chore("look for effects that are due", 0.5, _in_thread(_due_effects)),
    Chore("look for unknowns to ask about", 1.0, _in_thread(_due_lookups)),
    Chore("go on with decisions about many effects", 2.0, _in_thread(_open_decisions)),
    Chore("take up replays that wait", 2.0, _in_thread(_waiting_replays)),
    Chore("wake waiting candidates and generations", 5.0, _in_thread(_waiting_work)),
    Chore("publish the bundled tools", 2.0, _bundled_tools),
    Chore("count what nobody can know", 5.0, _in_thread(_unknown_effects)),
    Chore("seal the audit trail", 1.0, _in_thread(_unsealed_events)),
    Chore("prune what is kept no longer", 10.0, _in_thread(_what_is_kept_no_longer)),
    Chore("expire signals, answers of former requests, kept results", 60.0, _in_thread(_what_expires)),
)


async def keep(services: Services, floor: Floor, chore: Chore) -> None:
    """Do one chore for ever."""
    while True:
        try:
            for job, subject in await chore.look(services):
                floor.offer(job, subject)
        except Exception:  # the database may be away for a while; the next round tries again
            logger.exception("chore failed: %s", chore.name)
            await asyncio.sleep(SLOWER_S)
        await asyncio.sleep(chore.every_s)
