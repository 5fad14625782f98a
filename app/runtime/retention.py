"""Retention: what is kept of runs that are over, and for how long. Pruned in the background, in pieces of milliseconds.

A run keeps all it has while it is open, while an effect of its may still move, and while its answer may be asked for by key. After that its
journal goes first, then its arguments, result and plan. Its row, its effects, their events and the audit trail stay for ever: that is
what keeps a later call from doing anything twice.

It refuses to be: an archive. What is pruned is gone; a backup taken before has it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sqlmodel import Session

from app.core.db import Database
from app.core.settings import Settings
from app.observability import metrics
from app.runtime.repository import retention as repository
from app.runtime.repository.flow import forget_pacings

DAY_MS = 86_400_000
BUDGET_S = 1.0
MOST_REST_S = 0.1
Piece = Callable[[Session], Counter[str]]


@dataclass(frozen=True, slots=True)
class Keep:
    """For how long after a run's end its journal, and its arguments and answers, are kept (ms); None: for ever."""

    journals_ms: int | None
    answers_ms: int | None

    @classmethod
    def of(cls, settings: Settings) -> Keep:
        """By the settings, in days, 0 for ever; answers at least as long as journals."""
        journals, answers = (_ms(settings.keep_journals_days), _ms(settings.keep_answers_days))
        return cls(journals, None if journals is None or answers is None else max(journals, answers))


def prune(database: Database, keep: Keep, budget_s: float = BUDGET_S) -> Counter[str]:
    """Remove what is kept no longer, for about `budget_s`; returns how many rows of which kind. What is left is the next round's.

    Each piece is a transaction of its own, and rests as long as it took, so that others write in between.
    """
    removed: Counter[str] = Counter()
    deadline = time.monotonic() + budget_s
    for piece in _pieces(database, keep):
        began = time.monotonic()
        with database.writing() as session:
            found = piece(session) if repository.our_turn(session) else None
        if found is None:
            break
        removed += found
        for kind, number in found.items():
            metrics.PRUNED.labels(kind).inc(number)
        took = time.monotonic() - began
        if time.monotonic() + took >= deadline:
            break
        time.sleep(min(took, MOST_REST_S))
    return removed


def _pieces(database: Database, keep: Keep) -> Iterator[Piece]:
    at = database.clock.now()
    yield from _until_empty(repository.expire_identities)
    yield from _until_empty(_forget_limits)
    if keep.journals_ms is not None:
        with database.reading() as session:
            over = repository.prunable(session, at - keep.journals_ms)
        if over:
            yield partial(repository.begin_pruning, run_ids=over)
    with database.reading() as session:
        going = repository.being_pruned(session)
    for run_id in going:
        yield from _until_empty(partial(repository.prune_journal, run_id=run_id))
    if keep.answers_ms is not None:
        yield from _until_empty(partial(repository.prune_answers, before=at - keep.answers_ms))


def _forget_limits(session: Session) -> Counter[str]:
    forgotten = forget_pacings(session, repository.LINES)
    return Counter(limits=forgotten) if forgotten else Counter()


def _until_empty(piece: Piece) -> Iterator[Piece]:
    found: list[Counter[str]] = []

    def told(session: Session) -> Counter[str]:
        found.append(piece(session))
        return found[-1]

    yield told
    while found and found[-1]:
        yield told


def _ms(days: float) -> int | None:
    return round(days * DAY_MS) or None
