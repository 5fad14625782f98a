"""Reading candidates: states, lists, files, reports.

Code and reports are for those who write, approve or publish tools in the same tenant, and for the author; to anyone else a
candidate does not exist. Held-out cases are left out of a report unless the actor may see them.

It refuses to be: a way around `specs:held_out`.
"""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from app.access.permissions import use_case
from app.candidates import repository
from app.candidates.models import Candidate
from app.candidates.shapes import approval_shape, candidate_shape, report_shape, without_held_out
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Invalid, NotFound, Problem
from app.core.pages import Page, page

STATES = ("queued", "verifying", "passed", "refused", "published", "cancelled", "error")
APPROVALS = ("waiting", "approved", "rejected", "none_needed")
READERS = ("candidates:submit", "candidates:approve", "tools:publish", "tools:rollback", "audit:read")


@use_case(None)
def read_candidate(actor: Actor, database: Database, candidate_id: str) -> dict[str, Any]:
    """The candidate, with `gates` (`[{"gate", "status", "duration_ms"}]`) so far and `approvals`. Raises NotFound `candidate_not_found`."""
    with database.reading() as session:
        row = visible(session, actor, candidate_id)
        gates = repository.gates_of(session, candidate_id)
        approvals = repository.approvals_of(session, candidate_id)
    return {
        **candidate_shape(row),
        "gates": [{"gate": gate.gate, "status": gate.status, "duration_ms": gate.duration_ms} for gate in gates],
        "approvals": [approval_shape(approval) for approval in approvals],
    }


@use_case(None)
def list_candidates(
    actor: Actor,
    database: Database,
    state: str | None = None,
    tool: str | None = None,
    approval: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """`{"items", "next_cursor"}`, newest first. An actor who may not read the candidates of others sees its own.

    None that was refused waits for an approval. Raises Invalid `filter_invalid`, `cursor_invalid`, `limit_invalid`.
    """
    problems = [
        Problem(f"$.{name}", f"{value[:40]!r} is no {name}", f"Use one of {', '.join(known)}.")
        for name, value, known in (("state", state, STATES), ("approval", approval, APPROVALS))
        if value is not None and value not in known
    ]
    if problems:
        raise Invalid("filter_invalid", "This list cannot be filtered so.", problems=problems)
    equal = {"state": state, "tool": tool, "approval": approval, "author": None if reads_candidates(actor) else actor.id}
    query = repository.listed(actor.tenant, {column: value for column, value in equal.items() if value is not None})
    return page(database, query, [repository.CANDIDATE_ID], candidate_shape, cursor=cursor, limit=limit, newest_first=True)


@use_case(None)
def candidate_files(actor: Actor, database: Database, candidate_id: str) -> dict[str, str]:
    """Text by path, `tool.py` first. Raises NotFound `candidate_not_found`."""
    with database.reading() as session:
        visible(session, actor, candidate_id)
        files = {file.path: file.content for file in repository.files_of(session, candidate_id)}
    return dict(sorted(files.items(), reverse=True))


@use_case(None)
def read_report(actor: Actor, database: Database, candidate_id: str) -> dict[str, Any]:
    """The report; while verification is under way, the gates so far. Raises NotFound `candidate_not_found`.

    Without `specs:held_out`, whatever comes from a held-out case is reduced to the fact that it does not hold.
    """
    with database.reading() as session:
        row = visible(session, actor, candidate_id)
        report = report_shape(row, [] if row.report else repository.gates_of(session, candidate_id))
    if actor.may("specs:held_out"):
        return report
    shown: dict[str, Any] = without_held_out(report)
    return shown


def visible(session: Session, actor: Actor, candidate_id: str) -> Candidate:
    """The row, if this actor may know of it. Raises NotFound `candidate_not_found`."""
    row = repository.candidate(session, candidate_id)
    if row is None or row.tenant != actor.tenant or not (row.author == actor.id or reads_candidates(actor)):
        raise NotFound("candidate_not_found", f"There is no candidate {candidate_id[:80]!r}.", fix="Use the id that submitting answered.")
    return row


def reads_candidates(actor: Actor) -> bool:
    """Whether this actor may see the candidates and generations of others in its tenant."""
    return any(actor.may(permission) for permission in READERS)
