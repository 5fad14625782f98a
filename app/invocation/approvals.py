"""Approvals of calls: asked for from a dry run, decided by a second actor, used up by one run of exactly that plan.

A permission may be held for approved calls only (`approval:tools:call`, `approval:campaigns:send`): such a key lists, reads and dry-runs
as any other, and its calls have effects only with an approval. What a tool may do is for its spec; who needs a second yes for it is
for whoever hands out keys, so no spec needs another revision because of it.

It refuses to be: a reservation. Nothing is claimed; a plan that the world has overtaken is refused when it is used.
"""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from app.access.permissions import CALL, use_case
from app.core import clock, feed, ids
from app.core.actor import Actor
from app.core.db import Database, now
from app.core.errors import Conflict, Forbidden, Invalid, NotFound, Problem, ToolmintError
from app.core.pages import Page, page
from app.invocation import repository
from app.invocation.desk import Calls
from app.invocation.models import CallApproval
from app.observability import audit
from app.runtime.plans import MOST_BOUND
from app.runtime.rehearsed import Rehearsed, rehearsed, stored_args
from app.runtime.views import read_run
from app.spec.model import ExecutionSpec

APPROVE = "calls:approve"
STATES = ("waiting", "approved", "rejected", "used", "expired")
KEPT_S = 86_400
LONGEST_S = 7 * 86_400
MOST_TEXT = 1000
_AFTER = {"approve": ("approved", ("waiting",)), "reject": ("rejected", ("waiting", "approved"))}  # a yes can be taken back until used


def policy_of(actor: Actor, spec: ExecutionSpec) -> list[str]:
    """The permissions of a call that this actor holds for approved calls only; none: it needs no approval."""
    return sorted(permission for permission in {CALL, *spec.permissions} if not actor.may(permission))


def needs_approval(actor: Actor, spec: ExecutionSpec) -> bool:
    """Whether a call of this actor must carry an approval. What has no effect needs none: there is nothing to approve."""
    return bool(spec.effects) and bool(policy_of(actor, spec))


@use_case(None)
def ask_approval(actor: Actor, calls: Calls, dry_run: str, note: str = "", ttl_s: int = KEPT_S) -> dict[str, Any]:
    """Ask for leave to do what the actor's own dry run planned: the approval, waiting; the same again while that one is open.

    Raises NotFound `run_not_found`, Forbidden `run_of_another`, Conflict `no_plan`, `plan_too_large`, Invalid `approval_invalid`.
    """
    _check_asking(note, ttl_s)
    database = calls.database
    found = rehearsed(actor, database, dry_run)
    refusal = _unusable(actor, found)
    policy = policy_of(actor, calls.catalog.load(actor.tenant, found.tool, found.version).spec)
    with database.writing() as session:
        if refusal is None:
            known = repository.open_approval_of(session, dry_run, now(session))
            row = known if known is not None and known.policy == policy else _ask(session, actor, found, policy, note.strip(), ttl_s)
            return shape(row, now(session))
        audit.record(session, actor, "approval.requested", dry_run, "refused", code=refusal.code)
    raise refusal


def _ask(session: Session, actor: Actor, found: Rehearsed, policy: list[str], note: str, ttl_s: int) -> CallApproval:
    at = now(session)
    row = CallApproval(
        id=ids.new("leave", at),
        tenant=actor.tenant,
        state="waiting",
        actor=actor.id,
        tool=found.tool,
        version=found.version,
        digest=found.digest,
        dry_run=found.run_id,
        fingerprint=found.args,
        plan_digest=(found.summary or {})["digest"],
        policy=policy,
        seed=found.seed,
        as_of=found.as_of,
        note=note,
        created_at=at,
        expires_at=at + ttl_s * 1000,
    )
    repository.add_approval(session, row)
    about = {"tool": row.tool, "version": row.version, "dry_run": row.dry_run}
    audit.record(session, actor, "approval.requested", row.id, "done", plan=row.plan_digest, policy=policy, about=about)
    feed.announce(session, "approval.changed", row.id, row.tenant, state=row.state, tool=row.tool)
    return row


def _unusable(actor: Actor, found: Rehearsed) -> ToolmintError | None:
    if found.actor != actor.id:
        return Forbidden("run_of_another", "Another actor made this dry run.", fix="Make a dry run with your own key; its plan is yours.")
    if not found.dry_run or found.state != "completed" or not found.summary:
        detail = "This run is no dry run that came to its end."
        return Conflict("no_plan", detail, fix="Call the tool with dry_run: true, wait for its end, then ask for an approval of it.")
    if found.summary["total"] == 0:
        return Conflict("no_plan", "This plan has no effect, so there is nothing to approve.", fix="Call the tool; it needs no approval.")
    if found.summary["total"] > MOST_BOUND:
        detail = f"The plan has {found.summary['total']} effects; one approval covers {MOST_BOUND} at most."
        return Conflict("plan_too_large", detail, fix="Split the call, and have each part approved.")
    return None


@use_case(APPROVE)
def decide_approval(actor: Actor, database: Database, approval_id: str, decision: str, reason: str) -> dict[str, Any]:
    """Decide `approve` or `reject` on the call of another actor, with a reason. Returns the approval.

    Raises Invalid `approval_invalid`, NotFound `approval_not_found`, Forbidden `self_approval`, Conflict `approval_settled`,
    `approval_expired`, `approval_used`.
    """
    _check_decision(decision, reason)
    refusal: ToolmintError | None = None
    with database.writing() as session:
        row = _found(session, actor, approval_id)
        refusal = _undecidable(actor, row, decision, now(session))
        if refusal is None:
            return shape(_decide(session, actor, row, decision, reason.strip()), now(session))
        audit.record(session, actor, "approval.decided", approval_id, "refused", decision=decision, code=refusal.code)
    raise refusal


def _decide(session: Session, actor: Actor, row: CallApproval, decision: str, reason: str) -> CallApproval:
    after, before = _AFTER[decision]
    values = {"state": after, "decided_by": actor.id, "decided_at": now(session), "reason": reason}
    if not repository.settle_approval(session, row.id, before, values):
        raise Conflict("approval_settled", "This approval was decided, or used, just now.", fix="Read it again.")
    session.refresh(row)
    audit.record(session, actor, "approval.decided", row.id, "done", decision=decision, reason=reason, tool=row.tool, by=row.actor)
    feed.announce(session, "approval.changed", row.id, row.tenant, state=after, tool=row.tool)
    return row


def _undecidable(actor: Actor, row: CallApproval, decision: str, at: int) -> ToolmintError | None:
    if row.actor == actor.id:
        return Forbidden("self_approval", "Nobody approves a call of its own.", fix="Have another actor decide, with a key of its own.")
    if row.state == "used":
        return used(row)
    if row.state not in _AFTER[decision][1]:
        return Conflict("approval_settled", f"This approval is {row.state} already.", fix="Nothing is left to decide here.")
    return expired(row) if row.expires_at <= at else None


def used(row: CallApproval) -> Conflict:
    """The refusal of an approval that a run has used up."""
    return Conflict(
        "approval_used",
        f"The run {row.run_id} has used this approval; it is good for one run.",
        fix=f"Read that run (GET /runs/{row.run_id}); for another call make a dry run and ask again.",
        data={"run_id": row.run_id},
    )


def expired(row: CallApproval) -> Conflict:
    """The refusal of an approval whose time is over."""
    return Conflict("approval_expired", f"This approval expired at {clock.iso(row.expires_at)}.", fix="Make a dry run and ask again.")


@use_case(None)
def read_approval(actor: Actor, database: Database, approval_id: str) -> dict[str, Any]:
    """One approval with the arguments, the plan as far as it is listed, and its summary. Raises NotFound `approval_not_found`.

    Who asked sees it, and who may decide.
    """
    with database.reading() as session:
        row = _found(session, actor, approval_id)
        shown = shape(row, now(session))
    run = read_run(actor, database, row.dry_run)
    return {**shown, "args": stored_args(database, row.fingerprint), "plan": run["plan"], "plan_summary": run["plan_summary"]}


@use_case(None)
def list_approvals(
    actor: Actor, database: Database, *, state: str | None = None, tool: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page:
    """Approvals, newest first: all of the tenant for who may decide, else the actor's own. Raises Invalid `state_unknown`."""
    if state is not None and state not in STATES:
        raise Invalid("state_unknown", f"{state!r} is no state of an approval.", fix=f"Use one of {', '.join(STATES)}.")
    at = database.clock.now()
    query = repository.approvals(actor.tenant, None if actor.may(APPROVE) else actor.id, state, tool, at)
    return page(database, query, [repository.APPROVAL_ID], lambda row: shape(row, at), cursor=cursor, limit=limit, newest_first=True)


def shape(row: CallApproval, at: int) -> dict[str, Any]:
    """An approval as REST answers it."""
    over = row.state in ("waiting", "approved") and row.expires_at <= at
    return {
        "id": row.id,
        "state": "expired" if over else row.state,
        "actor": row.actor,
        "tool": row.tool,
        "version": row.version,
        "dry_run": row.dry_run,
        "plan_digest": row.plan_digest,
        "policy": row.policy,
        "note": row.note,
        "decided_by": row.decided_by,
        "decided_at": clock.iso(row.decided_at),
        "reason": row.reason,
        "run_id": row.run_id,
        "created_at": clock.iso(row.created_at),
        "expires_at": clock.iso(row.expires_at),
    }


def _found(session: Session, actor: Actor, approval_id: str) -> CallApproval:
    row = repository.approval(session, actor.tenant, approval_id)
    if row is None or not (row.actor == actor.id or actor.may(APPROVE)):
        raise no_approval(approval_id)
    return row


def no_approval(approval_id: str) -> NotFound:
    """The answer for an approval that does not exist, or that the actor may not know of."""
    return NotFound("approval_not_found", f"There is no approval {approval_id[:80]!r}.", fix="Take the id from the answer to your request.")


def _check_asking(note: str, ttl_s: int) -> None:
    problems = []
    if len(note) > MOST_TEXT:
        problems.append(Problem("$.note", f"has more than {MOST_TEXT} characters", "Say in a few words what the call is for."))
    if not 60 <= ttl_s <= LONGEST_S:
        problems.append(Problem("$.ttl_s", f"is not within 60 and {LONGEST_S}", "Name the seconds for which the approval is needed."))
    if problems:
        raise Invalid("approval_invalid", "This approval cannot be asked for.", problems=problems)


def _check_decision(decision: str, reason: str) -> None:
    problems = []
    if decision not in _AFTER:
        problems.append(Problem("$.decision", "is neither approve nor reject", "Use one of the two."))
    if not reason.strip() or len(reason) > MOST_TEXT:
        problems.append(Problem("$.reason", f"must be 1 to {MOST_TEXT} characters", "Say why, for those who read the audit trail."))
    if problems:
        raise Invalid("approval_invalid", "This decision cannot be recorded.", problems=problems)
