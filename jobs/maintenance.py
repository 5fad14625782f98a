"""Chores of every worker process, from the tables alone: nothing here needs Redis.

Each runs for ever at its interval. Several workers may run the same chore at once; each is safe to repeat.

It refuses to be: a scheduler of business. What is due is a query of the room that owns it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from app.candidates import verifying
from app.codegen import writing
from app.composition import CHAIN, Services
from app.core import feed
from app.invocation.posts import expire_posts
from app.observability.sealing import seal
from app.runtime.queue import next_due
from app.runtime.recovery import sweep
from jobs.floor import Floor

logger = logging.getLogger(__name__)
SLOWER_S = 2.0


@dataclass(frozen=True, slots=True)
class Chore:
    """`look` is run in a thread every `every_s` seconds; it returns the (job, subject) pairs that this worker should take up."""

    name: str
    every_s: float
    look: Callable[[Services], list[tuple[str, str]]]


def _deserted_runs(services: Services) -> list[tuple[str, str]]:
    return [("execute_run", run) for run in sweep(services.database)]


def _due_effects(services: Services) -> list[tuple[str, str]]:
    due = next_due(services.database)
    return [("work_queue", "effects")] if due is not None and due <= services.database.clock.now() else []


def _waiting_work(services: Services) -> list[tuple[str, str]]:
    verifying.wake_waiting(services.database)
    writing.wake_waiting(services.database)
    return []


def _unsealed_events(services: Services) -> list[tuple[str, str]]:
    seal(services.database, CHAIN)
    return []


def _what_expires(services: Services) -> list[tuple[str, str]]:
    feed.expire(services.database)
    expire_posts(services.database)
    return []


CHORES = (
    Chore("take up what gone owners held", 1.0, _deserted_runs),
    Chore("look for effects that are due", 0.5, _due_effects),
    Chore("wake waiting candidates and generations", 5.0, _waiting_work),
    Chore("seal the audit trail", 1.0, _unsealed_events),
    Chore("expire signals and answers of former requests", 60.0, _what_expires),
)


async def keep(services: Services, floor: Floor, chore: Chore) -> None:
    """Do one chore for ever."""
    while True:
        try:
            for job, subject in await asyncio.to_thread(chore.look, services):
                floor.offer(job, subject)
        except Exception:  # the database may be away for a while; the next round tries again
            logger.exception("chore failed: %s", chore.name)
            await asyncio.sleep(SLOWER_S)
        await asyncio.sleep(chore.every_s)
