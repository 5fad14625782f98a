"""Rows of runs that a process holds, for tests of what its effects need, without a tool."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from app.runtime.models import Run

_FACTS: dict[str, Any] = {
    "tenant": "default",
    "tool": "send_notes",
    "version": 1,
    "digest": "d",
    "actor": "key_caller",
    "trace_id": "t",
    "source": "rest",
    "args": "a",
    "seed": "s",
    "created_at": 0,
}


def held(session: Session, run_id: str, owner: str | None, fence: int = 1, state: str = "executing") -> None:
    """The run `run_id` is held by `owner` from now on, whoever held it before."""
    session.merge(Run(id=run_id, owner=owner, fence=fence, state=state, **_FACTS))
    session.flush()
