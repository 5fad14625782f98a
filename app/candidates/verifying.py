"""What the verification of a candidate writes down: who works on it, each gate as it runs, the report at the end.

Every write is guarded by the owner that claimed the candidate: a worker that was taken for dead and comes back writes
nothing. A candidate that kills its worker three times ends as an error.

It refuses to be: the judge. Gates and rubric are computed in `app.verification`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from app.candidates import repository
from app.candidates.models import Candidate, GateResult
from app.candidates.submission import VERIFY
from app.core import feed, outbox
from app.core.actor import SYSTEM
from app.core.db import Database, now
from app.core.errors import Conflict
from app.core.faults import fault
from app.observability import audit
from app.observability.audit import text_digest
from app.spec.model import ExecutionSpec
from app.spec.revisions import load_spec

MOST_CRASHES = 3
OVERDUE_MS = 60_000


@dataclass(frozen=True, slots=True)
class ClaimedCandidate:
    """All that verification needs of a candidate. `files` maps path to text; `spec` has its held-out examples."""

    id: str
    tenant: str
    tool: str
    spec: ExecutionSpec
    spec_revision: int
    spec_digest: str
    digest: str
    files: Mapping[str, str]
    full_report: bool
    author: str
    generation_id: str | None
    crashes: int
    trace_id: str


def claim_candidate(database: Database, candidate_id: str, owner: str) -> ClaimedCandidate | None:
    """Take the candidate for this owner and start its gates afresh. None: it is finished, or another owner is alive and at it.

    Taking it over from an owner whose lease has ended counts as a crash; the third makes it an error `verification_crashed`.
    """
    with database.writing() as session:
        row = repository.candidate(session, candidate_id)
        if row is None:
            return None
        stolen = row.state == "verifying"
        values = {"state": "verifying", "owner": owner, "crashes": row.crashes + stolen}
        if not repository.change(session, candidate_id, values, repository.free(session)):
            return None
        repository.forget_gates(session, candidate_id)
        if row.crashes + stolen >= MOST_CRASHES:
            _end_crashed(session, row)
            return None
        _announce(session, row, "verifying")
        files = {file.path: file.content for file in repository.files_of(session, candidate_id)}
    saved = load_spec(database, row.tenant, row.tool, row.spec_revision)
    return ClaimedCandidate(
        id=row.id,
        tenant=row.tenant,
        tool=row.tool,
        spec=saved.spec,
        spec_revision=row.spec_revision,
        spec_digest=row.spec_digest,
        digest=row.digest,
        files=files,
        full_report=row.full_report,
        author=row.author,
        generation_id=row.generation_id,
        crashes=row.crashes + stolen,
        trace_id=row.trace_id,
    )


def still_held(database: Database, candidate_id: str, owner: str) -> bool:
    """Whether this owner's claim stands: nobody cancelled the verification, and no other process took it over."""
    with database.reading() as session:
        row = repository.candidate(session, candidate_id)
        return row is not None and (row.state, row.owner) == ("verifying", owner)


def gate_started(database: Database, candidate_id: str, owner: str, gate: str, position: int) -> None:
    """Show that a gate runs; `position` orders the report. Raises Conflict `candidate_lost` for an owner that lost its claim."""
    with database.writing(durable=False) as session:
        row = _held(session, candidate_id, owner)
        result = repository.gate(session, candidate_id, gate) or GateResult(
            candidate_id=candidate_id, gate=gate, position=position, status="running", updated_at=0
        )
        result.position, result.status, result.updated_at = position, "running", now(session)
        repository.add(session, [result])
        _announce(session, row, "verifying", gate=gate, status="running")


def gate_finished(
    database: Database,
    candidate_id: str,
    owner: str,
    gate: str,
    status: str,
    duration_ms: int,
    findings: Sequence[Mapping[str, Any]] = (),
    evidence: Mapping[str, Any] | None = None,
    position: int | None = None,
    kept: Mapping[str, Any] | None = None,
) -> None:
    """Keep what a gate saw; `status` is `passed`, `failed` or `skipped` (one that has not started needs its `position`).

    `kept` says of which verification the result is, where it was not computed now.

    A finding or a piece of evidence that comes from a held-out example carries `"held_out": true`, so that readers without
    that permission do not see it. Raises Conflict `candidate_lost`.
    """
    with database.writing(durable=False) as session:
        row = _held(session, candidate_id, owner)
        result = repository.gate(session, candidate_id, gate) or GateResult(
            candidate_id=candidate_id, gate=gate, position=position or 0, status=status, updated_at=0
        )
        result.status, result.duration_ms, result.updated_at = status, duration_ms, now(session)
        result.findings, result.evidence = [dict(finding) for finding in findings], dict(evidence or {})
        result.kept = dict(kept) if kept else None
        repository.add(session, [result])
        _announce(session, row, "verifying", gate=gate, status=status)
    fault("candidate.gate.after")


def finish_candidate(database: Database, candidate_id: str, owner: str, report: Mapping[str, Any]) -> str:
    """Store the report (its text is kept as it is digested) and end as `passed` or `refused` by its `publishable`.

    Returns the digest of the report. Raises Conflict `candidate_lost`.
    """
    text, digest = text_digest(dict(report))
    state = "passed" if report["publishable"] is True else "refused"
    with database.writing() as session:
        row = _held(session, candidate_id, owner)
        values = {"state": state, "owner": None, "report": text, "report_digest": digest}
        repository.change(session, candidate_id, values, repository.held_by(owner))
        audit.record(session, SYSTEM, "candidate.verified", candidate_id, "done", state=state, report=digest, tool=row.tool)
        _announce(session, row, state)
    return digest


def fail_candidate(database: Database, candidate_id: str, owner: str, error: Mapping[str, Any]) -> None:
    """End as `error`: verification itself failed. `error` is `{"code", "detail", "fix"}`. Raises Conflict `candidate_lost`."""
    with database.writing() as session:
        row = _held(session, candidate_id, owner)
        _end_as_error(session, row, dict(error))


def release_candidate(database: Database, candidate_id: str, owner: str) -> bool:
    """Put the candidate back into the queue, as a worker does that stops cleanly. False: it was no longer this owner's."""
    with database.writing() as session:
        back = repository.change(session, candidate_id, {"state": "queued", "owner": None}, repository.held_by(owner))
        if back:
            outbox.enqueue(session, VERIFY, candidate_id)
    return back


def wake_waiting(database: Database) -> int:
    """For the sweeper: ask again for the verification of deserted candidates, and of those queued for over a minute."""
    with database.reading() as session:
        waiting = repository.waiting_ids(session, now(session) - OVERDUE_MS)
    if waiting:
        with database.writing() as session:
            for candidate_id in waiting:
                repository.change(session, candidate_id, {}, repository.in_state("queued"))  # its minute starts again
                outbox.enqueue(session, VERIFY, candidate_id)
    return len(waiting)


def _held(session: Session, candidate_id: str, owner: str) -> Candidate:
    if not repository.change(session, candidate_id, {}, repository.held_by(owner)):
        raise Conflict("candidate_lost", f"The candidate {candidate_id} is no longer verified by {owner}.", fix="Stop working on it.")
    row = repository.candidate(session, candidate_id)
    assert row is not None  # noqa: S101  # the update above matched it in this transaction
    return row


def _end_crashed(session: Session, row: Candidate) -> None:
    detail = f"Verifying this candidate ended its worker {MOST_CRASHES} times."
    _end_as_error(session, row, {"code": "verification_crashed", "detail": detail, "fix": "Look for what exhausts memory or time."})


def _end_as_error(session: Session, row: Candidate, error: dict[str, Any]) -> None:
    repository.change(session, row.id, {"state": "error", "owner": None, "error": error})
    audit.record(session, SYSTEM, "candidate.verified", row.id, "failed", code=error.get("code"), tool=row.tool)
    _announce(session, row, "error")


def _announce(session: Session, row: Candidate, state: str, **data: Any) -> None:
    feed.announce(session, "candidate.changed", row.id, row.tenant, state=state, tool=row.tool, **data)
