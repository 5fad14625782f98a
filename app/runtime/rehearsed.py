"""What a dry run left behind for whoever builds on it: its facts, and the arguments of any run.

It refuses to be: a decision. Whether a plan may be carried out is for higher rooms.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlmodel import col, select

from app.access.permissions import use_case
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import NotFound
from app.runtime.models import Payload, Run
from app.runtime.visibility import seen_by


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The facts of a run: `args` is the digest of its arguments, `as_of` the instant that its tool was told (ms)."""

    run_id: str
    actor: str
    tool: str
    version: int
    digest: str
    state: str
    dry_run: bool
    args: str
    seed: str
    as_of: int
    summary: dict[str, Any] | None


@use_case(None)
def rehearsed(actor: Actor, database: Database, run_id: str) -> Rehearsed:
    """The facts of a run that the actor may see. Raises NotFound `run_not_found`."""
    with database.reading() as session:
        run = session.exec(select(Run).where(Run.id == run_id, seen_by(actor, Run))).first()
    if run is None:
        raise NotFound("run_not_found", f"There is no run {run_id[:80]!r}.", fix="Take the id from the answer to a dry run.")
    as_of = run.as_of or run.started_at or run.created_at
    return Rehearsed(
        run.id, run.actor, run.tool, run.version, run.digest, run.state, run.dry_run, run.args, run.seed, as_of, run.plan_summary
    )


def stored_args(database: Database, digest: str) -> dict[str, Any] | None:
    """Arguments by their digest; None once retention has pruned them."""
    with database.reading() as session:
        text = session.exec(select(Payload.body).where(col(Payload.digest) == digest)).first()
    return None if text is None else json.loads(text)
