"""The job that writes: two questions to the model, each answer kept before the next is asked, then a candidate in the author's name.

A worker that dies is followed by another, which asks only what has no answer yet. A generation that ends three workers is an
error. What every call used is metered in the transaction that keeps its answer.

It refuses to be: patient with a model. A refusal or a failure ends the generation; repeating is for whoever asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from app.candidates.files import checked_files
from app.candidates.submission import MOST_NOTES, add_candidate
from app.codegen import repository
from app.codegen.generation import WRITE
from app.codegen.models import Generation, GenerationReply
from app.codegen.port import Answer, ModelPort, error
from app.codegen.prompts import STAGES, Stage, question
from app.core import feed, outbox
from app.core.actor import SYSTEM, Actor
from app.core.db import Database, now
from app.core.errors import Invalid
from app.economics.meter import GENERATION, record_usage
from app.observability import audit, logs, traces
from app.spec.catalog import ConnectorCatalog
from app.spec.revisions import SavedSpec, load_spec

MOST_CRASHES = 3
OVERDUE_MS = 60_000
AFTER_CRASH_MS = 5000


@dataclass(frozen=True, slots=True)
class _Claimed:
    row: Generation
    saved: SavedSpec
    replies: dict[str, dict[str, Any]]


async def write_candidate(database: Database, model: ModelPort, catalog: ConnectorCatalog, generation_id: str, owner: str) -> str | None:
    """Do the job for this owner; returns the candidate's id. None: it is another's, was ended, or ended without a candidate.

    Cancelling it puts the generation back into the queue, with the answers that it has.
    """
    claimed = await asyncio.to_thread(_claim, database, generation_id, owner)
    if claimed is None:
        return None
    with traces.tracing(claimed.row.trace_id), logs.working(generation_id=generation_id, tool=claimed.row.tool):
        try:
            for stage in STAGES:
                if stage.name not in claimed.replies and not await _ask(database, model, catalog, claimed, stage, owner):
                    return None
            return await asyncio.to_thread(_submit, database, claimed, owner)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(release_generation, database, generation_id, owner))
            raise
        except Exception:  # whatever it was, it is raised again; the generation must not wait for this worker's end
            await asyncio.to_thread(release_generation, database, generation_id, owner, crashed=True)
            raise


async def _ask(database: Database, model: ModelPort, catalog: ConnectorCatalog, claimed: _Claimed, stage: Stage, owner: str) -> bool:
    row = claimed.row
    answer = await model.ask(question(stage, row.model, claimed.saved.spec, catalog, row.brief))
    return await asyncio.to_thread(_keep, database, claimed, stage, answer, owner)


def _keep(database: Database, claimed: _Claimed, stage: Stage, answer: Answer, owner: str) -> bool:
    """Meter the calls and keep the answer; whether there is one. What was paid is metered even if the claim was lost meanwhile."""
    row = claimed.row
    with database.writing() as session:
        for raw in answer.usages:
            record_usage(session, tenant=row.tenant, kind=GENERATION, subject=row.id, tool=row.tool, model=answer.model, raw=raw)
        if not _held(session, row.id, owner):
            return False
        if answer.outcome != "answered" or answer.value is None:
            _end(session, row, "refused" if answer.outcome == "refused" else "error", dict(answer.error or {}))
            return False
        claimed.replies[stage.name] = dict(answer.value)
        reply = GenerationReply(generation_id=row.id, stage=stage.name, model=answer.model, answer=dict(answer.value), at=now(session))
        repository.add(session, reply)
        feed.announce(session, "generation.changed", row.id, row.tenant, state="writing", stage=stage.name, tool=row.tool)
    return True


def _submit(database: Database, claimed: _Claimed, owner: str) -> str | None:
    row = claimed.row
    files = [{"path": stage.path, "content": _plain(claimed.replies[stage.name]["content"])} for stage in STAGES]
    author = Actor(row.author, row.author, row.tenant, frozenset())
    with database.writing() as session:
        if not _held(session, row.id, owner):
            return None
        try:
            sources = checked_files(files)
        except Invalid as refusal:
            _end(session, row, "error", error("generation_files_invalid", refusal.detail, "Generate again, or submit code yourself."))
            return None
        notes = _notes(claimed.replies)
        candidate = add_candidate(session, author, claimed.saved, sources, notes=notes, generation_id=row.id)
        _end(session, row, "done", None, candidate_id=candidate.id)
        return candidate.id


def release_generation(database: Database, generation_id: str, owner: str, *, crashed: bool = False) -> bool:
    """Put the generation back into the queue; `crashed` counts against it. False: it was no longer this owner's."""
    with database.writing() as session:
        back = repository.release(session, generation_id, owner, crashed)
        if back:
            outbox.enqueue(session, WRITE, generation_id, now(session) + AFTER_CRASH_MS if crashed else 0)
    return back


def wake_waiting(database: Database) -> int:
    """For the sweeper: ask again for deserted generations, and for those queued for over a minute."""
    with database.reading() as session:
        waiting = repository.waiting_ids(session, now(session) - OVERDUE_MS)
    if waiting:
        with database.writing() as session:
            for generation_id in waiting:
                repository.change(session, generation_id, {}, repository.queued())  # its minute starts again
                outbox.enqueue(session, WRITE, generation_id)
    return len(waiting)


def _claim(database: Database, generation_id: str, owner: str) -> _Claimed | None:
    with database.writing() as session:
        row = repository.generation(session, generation_id)
        if row is None:
            return None
        stolen = row.state == "writing"
        crashes = row.crashes + stolen
        guard = repository.deserted(session) if stolen else repository.queued()
        if not repository.change(session, generation_id, {"state": "writing", "owner": owner, "crashes": crashes}, guard):
            return None
        if crashes >= MOST_CRASHES:
            detail = f"Writing this candidate ended its worker {MOST_CRASHES} times."
            _end(session, row, "error", error("generation_crashed", detail, "Look at the service's log."))
            return None
        feed.announce(session, "generation.changed", row.id, row.tenant, state="writing", tool=row.tool)
        replies = repository.replies_of(session, generation_id)
    return _Claimed(row, load_spec(database, row.tenant, row.tool, row.spec_revision), replies)


def _held(session: Session, generation_id: str, owner: str) -> bool:
    return repository.change(session, generation_id, {}, repository.held_by(owner))


def _end(session: Session, row: Generation, state: str, failure: Mapping[str, Any] | None, **values: Any) -> None:
    repository.change(session, row.id, {"state": state, "owner": None, "error": failure, **values})
    outcome = {"done": "done", "refused": "refused"}.get(state, "failed")
    audit.record(session, SYSTEM, "generation.ended", row.id, outcome, tool=row.tool, code=(failure or {}).get("code"), **values)
    feed.announce(session, "generation.changed", row.id, row.tenant, state=state, tool=row.tool, **values)


def _plain(content: str) -> str:
    """The model's text with LF line ends and one at its end."""
    return content.replace("\r\n", "\n").rstrip() + "\n"


def _notes(replies: Mapping[str, Mapping[str, Any]]) -> str:
    """What the model assumed and could not do, for whoever approves."""
    lines = [f"Assumed: {text}" for reply in replies.values() for text in reply["assumptions"]]
    lines += [f"Not met: {gap['requirement']} ({gap['why']})" for reply in replies.values() for gap in reply["cannot_comply"]]
    return "\n".join(dict.fromkeys(lines))[:MOST_NOTES]
