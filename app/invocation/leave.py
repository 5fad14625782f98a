"""The leave of a call that carries an approval: it is this actor's, for this version, these arguments, this plan and this policy, or not.

The plan is made again, with the seed and at the instant of the dry run that was approved: if the world has moved on so that it
differs, the call is refused before anything happens. What begins then may perform the effects of that plan and no others.

It refuses to be: lenient. Whatever is not exactly what was approved is refused, recorded, and performs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from app.access.permissions import use_case
from app.core import feed
from app.core.actor import Actor
from app.core.db import Database, now
from app.core.errors import Conflict, Problem, ToolmintError, Unavailable
from app.invocation import repository
from app.invocation.approvals import expired, no_approval, policy_of, used
from app.invocation.desk import Calls, Started
from app.invocation.models import CallApproval
from app.observability import audit
from app.observability.traces import current_trace
from app.runtime.journal import digest_text, encode
from app.runtime.plans import Proviso, Terms
from app.runtime.process import Call
from app.runtime.program import Program

CHECK_S = 30.0
"""How long at least the plan of an approved call may take to be made again, whatever its caller's own patience."""

PLACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Leave:
    """How a call may begin: on which terms, and what is asked in the transaction that begins it."""

    terms: Terms | None
    proviso: Proviso


def approval_of(database: Database, tenant: str, approval_id: str) -> CallApproval:
    """The approval that a call names. Raises NotFound `approval_not_found`."""
    with database.reading() as session:
        row = repository.approval(session, tenant, approval_id)
    if row is None:
        raise no_approval(approval_id)
    return row


def required(tool: str) -> Conflict:
    """The refusal of a call that carries no approval and needs one."""
    return Conflict(
        "approval_required",
        f"With your key a call of {tool} needs the approval of another actor. Nothing was done.",
        fix="Call it with dry_run: true, ask for an approval of that run (POST /approvals, toolmint_request_approval), have another "
        "actor approve it, then call again with the same arguments and the approval's id.",
    )


def barred(tool: str) -> Leave:
    """For a call that another run answers for: should that run have given its key back meanwhile, this call begins none."""

    def refuse(_session: Session, _run_id: str) -> None:
        raise required(tool)

    return Leave(None, refuse)


@use_case(None)
async def leave(
    actor: Actor, calls: Calls, program: Program, args: Mapping[str, Any], row: CallApproval, wait_s: float, source: str
) -> Leave:
    """The leave that an approval gives to this very call.

    Raises Conflict `approval_required` (it waits for its decision), `approval_rejected`, `approval_used`, `approval_expired`,
    `approval_mismatch`, `approval_stale`, Unavailable `approval_unchecked`.
    """
    refusal = _unlike(actor, program, args, row, calls.database.clock.now())
    if refusal is not None:
        raise refusal
    terms = Terms(row.seed, row.as_of)
    call = Call(args, None, None, f"check of {row.id}", source, dry_run=True, terms=terms)
    marks = await _plan_again(actor, calls, program, call, row, max(wait_s, CHECK_S))
    trace = current_trace()

    def consume(session: Session, run_id: str) -> None:
        if not repository.settle_approval(session, row.id, ("approved",), {"state": "used", "run_id": run_id}):
            present = repository.approval(session, row.tenant, row.id) or row
            session.refresh(present)
            raise _not_open(present, now(session)) or used(present)
        audit.record(session, actor, "approval.used", row.id, "done", trace_id=trace, run=run_id, tool=row.tool)
        feed.announce(session, "approval.changed", row.id, row.tenant, state="used", tool=row.tool)

    return Leave(Terms(row.seed, row.as_of, row.id, marks), consume)


def _not_open(row: CallApproval, at: int) -> Conflict | None:
    if row.state == "used":
        return used(row)
    if row.state == "rejected":
        return Conflict("approval_rejected", f"This call was rejected: {row.reason}.", fix="Change the call, and ask for another approval.")
    if row.expires_at <= at:
        return expired(row)
    if row.state == "waiting":
        detail = f"The approval {row.id} still waits for its decision. Nothing was done."
        return Conflict("approval_required", detail, fix="Wait until another actor has decided, then call again.", retryable=True)
    return None


def _unlike(actor: Actor, program: Program, args: Mapping[str, Any], row: CallApproval, at: int) -> ToolmintError | None:
    pairs = {
        "actor": (row.actor, actor.id),
        "tool": (row.tool, program.tool),
        "version": (row.version, program.version),
        "digest": (row.digest, program.digest),
        "args": (row.fingerprint, digest_text(encode(args))),
        "policy": (row.policy, policy_of(actor, program.spec)),
    }
    wrong = [Problem(f"$.{name}", "is not what was approved") for name, (approved, present) in pairs.items() if approved != present]
    if wrong:
        said = ", ".join(problem.path.removeprefix("$.") for problem in wrong)
        return Conflict(
            "approval_mismatch",
            f"The approval {row.id} is of another call: {said} differ. Nothing was done.",
            fix="Send the arguments of the dry run with the key that made it, or make a dry run of this call and ask again.",
            problems=wrong,
        )
    return _not_open(row, at)


async def _plan_again(actor: Actor, calls: Calls, program: Program, call: Call, row: CallApproval, patience_s: float) -> bytes:
    if not await calls.place(PLACE_S):
        raise _unchecked("no place came free to make the plan again")
    started, task = await calls.begin(actor, program, call)
    if task is not None:
        try:
            await asyncio.wait({task}, timeout=patience_s)
        except asyncio.CancelledError:
            calls.abandoned(actor, started.run_id, cancel=True, patience_s=0)
            raise
    if task is None or not task.done():
        calls.abandoned(actor, started.run_id, cancel=True, patience_s=0)
        raise _unchecked(f"making the plan again took longer than {patience_s:.0f} s")
    if started.ending is None or started.ending.state in ("crashed", "lost"):
        raise _unchecked("making the plan again was broken off")
    return _same_plan(started, row)


def _same_plan(started: Started, row: CallApproval) -> bytes:
    ending = started.ending
    if ending is not None and ending.state == "completed" and ending.plan_summary is not None:
        if ending.plan_summary["digest"] == row.plan_digest:
            return ending.marks
        tally = "; ".join(
            f"{effect}: {', '.join(f'{number} {would}' for would, number in sorted(counts.items()))}"
            for effect, counts in ending.plan_summary["counts"].items()
        )
        said = f"the plan is now another one ({tally or 'no effect'})"
    else:
        error = (ending.error if ending is not None else None) or {}
        said = f"its dry run now ends otherwise ({error.get('code') or (ending.state if ending is not None else 'lost')})"
    raise Conflict(
        "approval_stale",
        f"The world has moved on since the plan was approved: {said}. Nothing was done.",
        fix=f"Look at the present plan (GET /runs/{started.run_id}), then make a dry run and ask for an approval of it.",
        data={"run_id": started.run_id},
    )


def _unchecked(why: str) -> Unavailable:
    return Unavailable(
        "approval_unchecked", f"The approved plan could not be checked: {why}. Nothing was done.", fix="Call again in a moment."
    )
