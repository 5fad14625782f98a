"""The yes or no of a second actor, and of a release about the tools that it brings along.

It refuses to be: a waiver. A candidate that has not passed cannot be approved.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NoReturn

from sqlmodel import Session

from app.access.permissions import use_case
from app.candidates import repository
from app.candidates.models import Approval, Candidate
from app.candidates.reading import visible
from app.candidates.shapes import approval_shape
from app.core import feed, ids
from app.core.actor import SYSTEM, Actor
from app.core.db import Database, now
from app.core.errors import Conflict, Forbidden, Invalid, Problem, ToolmintError
from app.observability import audit

MOST_REASON = 1000
_AFTER = {
    ("waiting", "approve"): "approved",
    ("waiting", "reject"): "rejected",
    ("none_needed", "reject"): "rejected",
    ("approved", "reject"): "rejected",  # until it is published, a yes can be taken back
}


@use_case("candidates:approve")
def approve_candidate(actor: Actor, database: Database, candidate_id: str, decision: str, reason: str) -> dict[str, Any]:
    """Decide `approve` or `reject` with a reason: `{"id", "candidate_id", "decision", "reason", "actor", "at"}`.

    Raises Invalid `approval_invalid`, NotFound `candidate_not_found`, Forbidden `self_approval` for the author, Conflict
    `candidate_not_passed` or `approval_settled`. A rejected candidate keeps its state and its report; it is never published.
    """
    _check(decision, reason)
    refusal: ToolmintError | None = None
    with database.writing() as session:
        row = visible(session, actor, candidate_id)
        refusal = _refusal(actor, row, decision)
        if refusal is None:
            return approval_shape(_decide(session, actor, row, decision, reason.strip()))
        audit.record(session, actor, "candidate.decided", candidate_id, "refused", decision=decision, code=refusal.code)
    raise refusal


def approve_from_release(database: Database, candidate_id: str, released: Collection[str], reason: str) -> None:
    """Approve a bundled tool's candidate because the release names its digest. Raises Forbidden `not_released`."""
    with database.writing() as session:
        row = repository.candidate(session, candidate_id)
        if row is None or row.digest not in released:
            raise Forbidden("not_released", "The release does not name this candidate.", fix="Have another actor approve it.")
        if row.approval == "waiting":
            _decide(session, SYSTEM, row, "approve", reason)


def _decide(session: Session, actor: Actor, row: Candidate, decision: str, reason: str) -> Approval:
    approval = Approval(id=ids.new("appr"), candidate_id=row.id, actor=actor.id, decision=decision, reason=reason, at=now(session))
    after = _AFTER[row.approval, decision]
    expected = (repository.approval_in(row.approval), repository.in_state("passed"))
    if not repository.change(session, row.id, {"approval": after}, *expected):
        _settled(row)
    repository.add(session, [approval])
    audit.record(session, actor, "candidate.decided", row.id, "done", decision=decision, reason=reason, tool=row.tool)
    feed.announce(session, "candidate.changed", row.id, row.tenant, state=row.state, approval=after, tool=row.tool)
    return approval


def _settled(row: Candidate) -> NoReturn:
    raise Conflict("approval_settled", f"The candidate is {row.state} and its approval is {row.approval}.", fix="Read the candidate again.")


def _refusal(actor: Actor, row: Candidate, decision: str) -> ToolmintError | None:
    if row.author == actor.id:
        return Forbidden("self_approval", "An author cannot decide on its own candidate.", fix="Have another actor decide.")
    if row.state != "passed":
        detail = f"The candidate is {row.state}; only one that passed verification can be decided on."
        return Conflict("candidate_not_passed", detail, fix="Wait for verification, or submit a candidate that passes.")
    if (row.approval, decision) not in _AFTER:
        return Conflict("approval_settled", f"Its approval is {row.approval}.", fix="Nothing is left to decide here.")
    return None


def _check(decision: str, reason: str) -> None:
    problems = []
    if decision not in ("approve", "reject"):
        problems.append(Problem("$.decision", "is neither approve nor reject", "Use one of the two."))
    if not reason.strip() or len(reason) > MOST_REASON:
        problems.append(Problem("$.reason", f"must be 1 to {MOST_REASON} characters", "Say why, for those who read the audit trail."))
    if problems:
        raise Invalid("approval_invalid", "This decision cannot be recorded.", problems=problems)
