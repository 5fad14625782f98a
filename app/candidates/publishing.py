"""What the registry needs of a candidate: all of it once it may be published, and the mark that it was.

It refuses to be: the registry. No version is made here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from app.candidates import repository
from app.candidates.files import candidate_digest, source_file
from app.candidates.shapes import approval_shape
from app.core import feed
from app.core.actor import Actor
from app.core.errors import Conflict, NotFound
from app.observability.audit import text_digest


@dataclass(frozen=True, slots=True)
class PublishableCandidate:
    """A candidate that passed and, where it needs one, has its approval. `files` maps path to text."""

    id: str
    tenant: str
    tool: str
    spec_revision: int
    spec_digest: str
    digest: str
    report: Mapping[str, Any]
    report_digest: str
    files: Mapping[str, str]
    author: str
    approval: str
    generation_id: str | None


def publishable(session: Session, actor: Actor, candidate_id: str) -> PublishableCandidate:
    """Read a candidate of the actor's tenant for publication, files and report checked against their digests.

    Raises NotFound `candidate_not_found`, Conflict `candidate_not_passed`, `candidate_rejected`, `approval_required`,
    `already_published` or `candidate_altered`.
    """
    row = repository.candidate(session, candidate_id)
    if row is None or row.tenant != actor.tenant:
        raise NotFound("candidate_not_found", f"There is no candidate {candidate_id[:80]!r}.", fix="Use the id that submitting answered.")
    if row.state == "published":
        raise Conflict("already_published", f"It is version {row.version} already.", fix="Roll back or promote to move a channel.")
    if row.state != "passed" or row.report is None or row.report_digest is None:
        under_way = row.state in ("queued", "verifying")
        fix = "Wait for the end of its verification." if under_way else "Read its report, mend what it names, submit again."
        raise Conflict("candidate_not_passed", f"The candidate is {row.state}.", fix=fix)
    if row.approval == "rejected":
        raise Conflict("candidate_rejected", "Another actor rejected this candidate.", fix="Read the reason, then submit another.")
    if row.approval == "waiting":
        raise Conflict(
            "approval_required",
            "A tool with effects needs the approval of another actor.",
            fix=f"Have another actor approve it, at /candidates/{row.id} or by POST /api/v1/candidates/{row.id}/approvals.",
        )
    files = tuple(source_file(file.path, file.content) for file in repository.files_of(session, candidate_id))
    report = json.loads(row.report)
    if candidate_digest(row.spec_digest, files) != row.digest or text_digest(report)[1] != row.report_digest:
        raise Conflict("candidate_altered", "The stored files or report are not what was verified.", fix="Submit the candidate again.")
    return PublishableCandidate(
        id=row.id,
        tenant=row.tenant,
        tool=row.tool,
        spec_revision=row.spec_revision,
        spec_digest=row.spec_digest,
        digest=row.digest,
        report=report,
        report_digest=row.report_digest,
        files={file.path: file.content for file in files},
        author=row.author,
        approval=row.approval,
        generation_id=row.generation_id,
    )


@dataclass(frozen=True, slots=True)
class StoredCandidate:
    """What the tables hold of a candidate now. `digest` is computed from its files, `report` and `approvals` are JSON texts."""

    id: str
    digest: str
    author: str
    spec_revision: int
    spec_digest: str
    generation_id: str | None
    report: str
    approvals: str


def stored_candidate(session: Session, candidate_id: str) -> StoredCandidate | None:
    """A candidate as it is stored, for whoever compares it with signed evidence; None if there is none."""
    row = repository.candidate(session, candidate_id)
    if row is None:
        return None
    files = tuple(source_file(file.path, file.content) for file in repository.files_of(session, candidate_id))
    decisions = [approval_shape(approval) for approval in repository.approvals_of(session, candidate_id)]
    return StoredCandidate(
        id=row.id,
        digest=candidate_digest(row.spec_digest, files),
        author=row.author,
        spec_revision=row.spec_revision,
        spec_digest=row.spec_digest,
        generation_id=row.generation_id,
        report=row.report or "",
        approvals=text_digest({"approval": row.approval, "decisions": decisions})[0],
    )


def mark_published(session: Session, candidate_id: str, version: int) -> None:
    """Record, in the registry's transaction, that the candidate became `version`. Raises Conflict `already_published`."""
    allowed = (repository.in_state("passed"), repository.approval_in("none_needed", "approved"))
    if not repository.change(session, candidate_id, {"state": "published", "version": version}, *allowed):
        raise Conflict("already_published", "The candidate was published or rejected meanwhile.", fix="Read it again.")
    row = repository.candidate(session, candidate_id)
    if row is not None:
        feed.announce(session, "candidate.changed", row.id, row.tenant, state="published", tool=row.tool, version=version)
