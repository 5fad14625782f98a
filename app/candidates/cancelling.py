"""Ending a verification before its end, and beginning it anew.

The row says it first; the worker, which looks at its claim all the while, then ends the gates and guests that are under way.

It refuses to be: a verdict. A cancelled candidate is neither passed nor refused, and can be verified again.
"""

from __future__ import annotations

from typing import Any

from app.access.permissions import use_case
from app.candidates import repository
from app.candidates.reading import visible
from app.candidates.shapes import candidate_shape
from app.candidates.submission import VERIFY
from app.core import clock, feed, outbox
from app.core.actor import Actor
from app.core.db import Database, now
from app.core.errors import Conflict
from app.observability import audit

UNDER_WAY = ("queued", "verifying")
REPEATABLE = ("cancelled", "error")


@use_case("candidates:submit")
def cancel_candidate(actor: Actor, database: Database, candidate_id: str) -> dict[str, Any]:
    """End a verification that waits or is under way; the candidate, whose `error` says who did it and when.

    Raises NotFound `candidate_not_found`, Conflict `verification_over`.
    """
    with database.writing() as session:
        row = visible(session, actor, candidate_id)
        at = clock.iso(now(session))
        error = {
            "code": "verification_cancelled",
            "detail": f"{actor.name} cancelled the verification at {at}.",
            "fix": "Have it verified again, or submit another candidate.",
            "actor": actor.id,
            "at": at,
        }
        values = {"state": "cancelled", "owner": None, "error": error}
        if not repository.change(session, row.id, values, repository.in_state(*UNDER_WAY)):
            raise Conflict("verification_over", f"The candidate is {row.state}: there is nothing to cancel.", fix="Read its report.")
        repository.forget_gates(session, row.id, "running")
        audit.record(session, actor, "candidate.cancelled", row.id, "done", tool=row.tool)
        session.refresh(row)
        feed.announce(session, "candidate.changed", row.id, row.tenant, state=row.state, tool=row.tool)
        return candidate_shape(row)


@use_case("candidates:submit")
def verify_again(actor: Actor, database: Database, candidate_id: str) -> dict[str, Any]:
    """Queue a candidate anew whose verification was cancelled or broke; the candidate. What its gates found before is kept.

    Raises NotFound `candidate_not_found`, Conflict `verification_settled` for one that has its report, or is under way.
    """
    with database.writing() as session:
        row = visible(session, actor, candidate_id)
        values = {"state": "queued", "owner": None, "error": None, "crashes": 0}
        if not repository.change(session, row.id, values, repository.in_state(*REPEATABLE)):
            fix = "Wait for its end." if row.state in UNDER_WAY else "Submit another candidate: the same one would come to the same end."
            raise Conflict("verification_settled", f"The candidate is {row.state}.", fix=fix)
        audit.record(session, actor, "candidate.verified_again", row.id, "done", tool=row.tool)
        outbox.enqueue(session, VERIFY, row.id)
        session.refresh(row)
        feed.announce(session, "candidate.changed", row.id, row.tenant, state=row.state, tool=row.tool)
        return candidate_shape(row)
