"""What people and callers decide about runs and effects under way: cancel a run, give a verdict on an unknown.

It refuses to be: an undo. A verdict says what is taken as true from now on, with who said so and why.
"""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, select

from app.access.permissions import use_case
from app.core import feed, outbox
from app.core.actor import Actor
from app.core.db import Database, again, now
from app.core.errors import Conflict, Forbidden, NotFound
from app.observability import audit
from app.runtime.models import Effect, Run, RunIdentity
from app.runtime.repository.bulk import shift
from app.runtime.repository.crossing import crosses_run
from app.runtime.repository.recovery import cancel_open
from app.runtime.repository.runs import forget_bound
from app.runtime.state import OPEN_RUNS
from app.runtime.verdicts import check_verdict, resolved
from app.runtime.views import effect_row, run_row
from app.runtime.visibility import seen_by

OPERATORS = ("effects:resolve", "tools:publish", "tools:rollback")
ONE_BY_ONE = "verdict"
"""What stands for the decision about an effect that was decided on alone."""


@use_case("effects:resolve")
@again
def resolve_effect(actor: Actor, database: Database, effect_id: str, verdict: str, reason: str) -> dict[str, Any]:
    """Decide on an unknown effect: it was done, it shall be tried again, or it is given up. Returns its row.

    Raises NotFound `effect_not_found`, Invalid `verdict_invalid`, Conflict `effect_not_unknown`.
    """
    check_verdict(verdict, reason)
    with database.writing() as session:
        effect = session.exec(select(Effect).where(Effect.id == effect_id, Effect.tenant == actor.tenant).with_for_update()).first()
        if effect is None:
            raise NotFound("effect_not_found", f"There is no effect {effect_id!r}.", fix="Take the id from GET /effects?state=unknown.")
        if effect.state != "unknown":
            raise Conflict("effect_not_unknown", f"This effect is {effect.state}, not unknown.", fix="Only unknown effects take a verdict.")
        shift(session, [effect.id], resolved(verdict, actor.id, ONE_BY_ONE, reason, now(session)))
        session.refresh(effect)
        if verdict == "retry":
            outbox.enqueue(session, "work_queue", effect.id)
        audit.record(session, actor, "effect.resolved", effect.id, "done", verdict=verdict, reason=reason)
        feed.announce(session, "effects.changed", effect.id, actor.tenant)
        return effect_row(effect)


@use_case("tools:call")
def cancel_run(actor: Actor, database: Database, run_id: str) -> dict[str, Any]:
    """Stop a run at its next effect boundary; one that only waits is cancelled at once. Returns the run.

    Runs of others are for operators. Raises NotFound `run_not_found`, Forbidden `run_of_another`, Conflict `run_over`.
    """
    _check_whose(actor, database, run_id)
    return _cancel(actor, database, run_id)


@again
def _cancel(actor: Actor, database: Database, run_id: str) -> dict[str, Any]:
    with database.writing() as session:
        run = session.exec(select(Run).where(Run.id == run_id, Run.tenant == actor.tenant).with_for_update()).first()
        if run is None:
            raise _no_run(run_id)
        if run.state not in OPEN_RUNS:
            raise Conflict("run_over", f"This run is {run.state}; there is nothing to cancel.", fix="See its effects for what it has done.")
        run.cancel_at = run.cancel_at or now(session)
        if run.state != "executing":
            _cancel_waiting(session, run)
        session.add(run)
        audit.record(session, actor, "run.cancel_requested", run.id, "done")
        feed.announce(session, "run.cancel", run.id, run.tenant)
        return run_row(session, run)


def _check_whose(actor: Actor, database: Database, run_id: str) -> None:
    if any(actor.may(permission) for permission in OPERATORS):
        return
    with database.writing() as session:
        run = session.exec(select(Run).where(Run.id == run_id, seen_by(actor, Run))).first()
        if run is None:
            raise _no_run(run_id)
        if run.actor == actor.id:
            return
        audit.record(session, actor, "run.cancel_requested", run_id, "refused", code="run_of_another")
    raise Forbidden("run_of_another", "Another actor began this run.", fix=f"Use its key, or one with {' or '.join(OPERATORS)}.")


def _no_run(run_id: str) -> NotFound:
    return NotFound("run_not_found", f"There is no run {run_id!r}.", fix="Take the id from GET /runs.")


def _cancel_waiting(session: Session, run: Run) -> None:
    crosses_run(session, run.state, "cancelled")
    run.state, run.finished_at, run.identity = "cancelled", now(session), None
    for identity in session.exec(select(RunIdentity).where(RunIdentity.run_id == run.id)).all():
        session.delete(identity)
    forget_bound(session, run.id)
    cancel_open(session, run.id)
    feed.announce(session, "run.finished", run.id, run.tenant, state="cancelled")
