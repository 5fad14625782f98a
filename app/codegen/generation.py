"""Asking for a generation, and reading how it goes.

It refuses to be: the writing. That is a job of its own, which may die and be taken over (`writing`).
"""

from __future__ import annotations

import re
from typing import Any

from app.access.permissions import use_case
from app.candidates.reading import reads_candidates
from app.codegen import repository
from app.codegen.llm import require_configured
from app.codegen.models import Generation
from app.core import clock, feed, ids, outbox
from app.core.actor import Actor
from app.core.db import Database, now
from app.core.errors import Invalid, Limited, NotFound, Problem
from app.core.settings import Settings
from app.economics.costs import spent_on
from app.observability import audit, traces
from app.spec.revisions import load_spec

WRITE = "generate_candidate"
MOST_OPEN = 20
MOST_BRIEF = 4000
_MODEL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,119}$")


@use_case("candidates:submit")
def start_generation(
    actor: Actor,
    database: Database,
    settings: Settings,
    tool: str,
    model: str | None = None,
    brief: str = "",
    repairs: int = 0,
    spec_revision: int | None = None,
) -> dict[str, Any]:
    """Have a model write a candidate for a revision of `tool`'s spec (None: the latest), in the actor's name. Returns the generation.

    Raises Unavailable `model_not_configured`, Invalid `generation_invalid`, NotFound `spec_not_found`, Limited `generations_limited`.
    """
    require_configured(settings)
    chosen = model or settings.model
    _check(chosen, brief, repairs)
    saved = load_spec(database, actor.tenant, tool, spec_revision)
    with database.writing() as session:
        if repository.open_of(session, actor.tenant) >= MOST_OPEN:
            raise Limited("generations_limited", f"{MOST_OPEN} generations are under way already.", fix="Wait for one to end.")
        at = now(session)
        row = Generation(
            id=ids.new("gen", at),
            tenant=actor.tenant,
            tool=tool,
            spec_revision=saved.revision,
            model=chosen,
            brief=brief,
            state="queued",
            author=actor.id,
            trace_id=traces.current_trace() or traces.new_trace(),
            created_at=at,
            updated_at=at,
        )
        repository.add(session, row)
        audit.record(session, actor, "generation.started", row.id, "done", tool=tool, spec_revision=saved.revision, model=chosen)
        feed.announce(session, "generation.changed", row.id, row.tenant, state=row.state, tool=tool)
        outbox.enqueue(session, WRITE, row.id)
        return _shown(row, {"calls": [], "usd": None})


@use_case(None)
def read_generation(actor: Actor, database: Database, generation_id: str) -> dict[str, Any]:
    """`{"id", "state", "candidate_id", "error", "usage", …}`; `usage` is `{"calls": [{"model", "raw", "usd", "prices"}], "usd"}`.

    States: queued, writing, done, refused (by the model), error. Raises NotFound `generation_not_found`.
    """
    with database.reading() as session:
        row = repository.generation(session, generation_id)
        if row is None or row.tenant != actor.tenant or not (row.author == actor.id or reads_candidates(actor)):
            raise NotFound(
                "generation_not_found", f"There is no generation {generation_id[:80]!r}.", fix="Use the id that starting answered."
            )
        return _shown(row, spent_on(session, row.tenant, row.id))


def _shown(row: Generation, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "tool": row.tool,
        "spec_revision": row.spec_revision,
        "model": row.model,
        "state": row.state,
        "author": row.author,
        "candidate_id": row.candidate_id,
        "error": row.error,
        "usage": usage,
        "trace_id": row.trace_id,
        "created_at": clock.iso(row.created_at),
        "updated_at": clock.iso(row.updated_at),
    }


def _check(model: str, brief: str, repairs: int) -> None:
    problems = []
    if not _MODEL.match(model):
        problems.append(Problem("$.model", "is no name of a model", "Leave it out to use the installation's model."))
    if len(brief) > MOST_BRIEF:
        problems.append(Problem("$.brief", f"is longer than {MOST_BRIEF} characters", "Shorten it; requirements belong in the spec."))
    if repairs != 0:
        problems.append(
            Problem("$.repairs", "asks for repairs, which this version does not make", "Leave it out and submit a repaired candidate.")
        )
    if problems:
        raise Invalid(
            "generation_invalid", f"This generation cannot be started: {problems[0].path} {problems[0].message}.", problems=problems
        )


def expire_replies(database: Database, before: int, most: int = 100) -> int:
    """For the sweeper: remove what models answered for generations that ended before `before` (ms), at most `most`; returns how many.

    What they wrote stays as candidates, and what it cost in the usage meter.
    """
    with database.writing() as session:
        return repository.drop_replies(session, before, most)
