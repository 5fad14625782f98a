"""Transitions as they are written: each is checked against the diagram, and has a fault point before its commit and one after it.

It refuses to be: a store. Rows and events are written by those who know them.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlmodel import Session

from app.core import faults
from app.runtime.state import check_run


def crosses_run(session: Session, before: str, after: str) -> None:
    """A run moves from `before` to `after` in this transaction. Raises IllegalMove."""
    check_run(before, after)
    faults.crossing(session.info, "run", [(before, after)])


def crosses_effects(session: Session, moves: Iterable[tuple[str, str]]) -> None:
    """Effects move so in this transaction; each move has been checked when it was noted."""
    faults.crossing(session.info, "effect", moves)
