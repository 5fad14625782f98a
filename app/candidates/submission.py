"""Submitting code for a spec revision: the row, its files, the wake-up of a verifier, in one transaction.

It refuses to be: a check of the code beyond its form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session

from app.access.permissions import use_case
from app.candidates import repository
from app.candidates.files import SourceFile, candidate_digest, checked_files
from app.candidates.models import Candidate, CandidateFile
from app.candidates.shapes import candidate_shape
from app.core import feed, ids, outbox
from app.core.actor import Actor
from app.core.db import Database, now
from app.core.errors import Invalid, Problem
from app.observability import audit, traces
from app.spec.revisions import SavedSpec, load_spec

VERIFY = "verify_candidate"
MOST_NOTES = 4000


@use_case("candidates:submit")
def submit_candidate(
    actor: Actor,
    database: Database,
    tool: str,
    spec_revision: int | None,
    files: Sequence[Mapping[str, Any]],
    full_report: bool = False,
    notes: str = "",
    generation_id: str | None = None,
) -> dict[str, Any]:
    """Queue `files` (`[{"path", "content"}]`) for verification against a revision of `tool`'s spec (None: the latest).

    Returns the candidate. Raises Invalid `candidate_files_invalid`, NotFound `spec_not_found`.
    """
    sources = checked_files(files)
    if len(notes) > MOST_NOTES:
        problem = Problem("$.notes", f"is longer than {MOST_NOTES} characters", "Shorten it.")
        raise Invalid("candidate_notes_invalid", "The notes are too long.", problems=[problem])
    saved = load_spec(database, actor.tenant, tool, spec_revision)
    with database.writing() as session:
        row = add_candidate(session, actor, saved, sources, full_report=full_report, notes=notes, generation_id=generation_id)
        return candidate_shape(row)


def add_candidate(
    session: Session,
    actor: Actor,
    saved: SavedSpec,
    files: Sequence[SourceFile],
    *,
    full_report: bool = False,
    notes: str = "",
    generation_id: str | None = None,
) -> Candidate:
    """The same inside a caller's transaction, for files that `checked_files` has passed: a generation's last step."""
    at = now(session)
    row = Candidate(
        id=ids.new("cand", at),
        tenant=actor.tenant,
        tool=saved.spec.name,
        spec_revision=saved.revision,
        spec_digest=saved.digest,
        digest=candidate_digest(saved.digest, files),
        state="queued",
        approval="waiting" if saved.spec.effects else "none_needed",
        author=actor.id,
        notes=notes,
        full_report=full_report,
        generation_id=generation_id,
        trace_id=traces.current_trace() or traces.new_trace(),
        created_at=at,
        updated_at=at,
    )
    parts = [CandidateFile(candidate_id=row.id, path=file.path, content=file.content, digest=file.digest) for file in files]
    repository.add(session, [row, *parts])
    audit.record(session, actor, "candidate.submitted", row.id, "done", tool=row.tool, spec_revision=row.spec_revision, digest=row.digest)
    feed.announce(session, "candidate.changed", row.id, row.tenant, state=row.state, tool=row.tool)
    outbox.enqueue(session, VERIFY, row.id)
    return row
