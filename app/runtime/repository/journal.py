"""The journal's rows and the texts that they name: written with the claims that depend on them, read on a resume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from app.core.db import execute_many, insert_missing, insert_rows
from app.runtime.models import LogLine, Payload, Step

steps: sa.Table = Step.__table__  # type: ignore[attr-defined]  # SQLModel adds it to every table model
payloads: sa.Table = Payload.__table__  # type: ignore[attr-defined]  # as above
log_lines: sa.Table = LogLine.__table__  # type: ignore[attr-defined]  # as above
RESTORED_MS = 300_000
Journaled = tuple[Sequence[dict[str, Any]], Sequence[tuple[str, str]]]


def write_journal(session: Session, journal: Journaled, at: int) -> None:
    """Append steps with their texts; a step that is there already (a resume that was cut short) stays as it was."""
    rows, texts = journal
    store(session, texts, at)
    if rows:
        insert_missing(session, steps, list(rows))


def store(session: Session, texts: Sequence[tuple[str, str]], at: int) -> None:
    """Keep texts by their digest, each once. One that was stored a while ago is marked as used again, so that no pruner takes it now."""
    if texts:
        rows = [{"digest": digest, "body": body, "created_at": at} for digest, body in sorted(set(texts))]
        execute_many(session, "store", _store(session.get_bind().dialect.name), rows)


@cache
def _store(dialect: str) -> Any:
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(payloads)
    stale = payloads.c.created_at < insert.excluded.created_at - sa.literal_column(str(RESTORED_MS))
    return insert.on_conflict_do_update(index_elements=["digest"], set_={"created_at": insert.excluded.created_at}, where=stale)


def write_logs(session: Session, lines: Sequence[dict[str, Any]]) -> None:
    """Append what a tool said."""
    insert_rows(session, log_lines, [line | {"fields": json.dumps(line["fields"])} for line in lines])


def seats(session: Session, run_id: str) -> set[tuple[int, int]]:
    """The `(step, chunk)` of every journaled answer of a run."""
    query = sa.select(steps.c.step, steps.c.chunk).where(steps.c.run_id == run_id)
    return {(row.step, row.chunk) for row in session.connection().execute(query)}


def step_at(session: Session, run_id: str, step: int, chunk: int) -> tuple[Step, str]:
    """A journaled step with its answer's text."""
    row = session.get_one(Step, (run_id, step, chunk))
    text = payload(session, row.payload) if row.payload is not None else row.answer
    return row, text or "null"


def payload(session: Session, digest: str) -> str:
    """The text stored by `digest`."""
    return session.exec(select(Payload.body).where(col(Payload.digest) == digest)).one()
