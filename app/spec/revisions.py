"""Save and read specs. Revisions are immutable and content-addressed: the same content is the same revision.

It refuses to be: an editor. What is saved has passed the whole check, and nothing changes or deletes it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from app.access.permissions import use_case
from app.core import ids
from app.core.actor import Actor
from app.core.db import Database, now
from app.core.errors import Conflict, NotFound
from app.observability import audit
from app.spec import repository
from app.spec.catalog import ConnectorCatalog
from app.spec.checking import check
from app.spec.model import ExecutionSpec
from app.spec.models import SpecRevision

_RACES = 5
READERS = (
    "specs:write",
    "specs:held_out",
    "candidates:submit",
    "candidates:approve",
    "tools:publish",
    "tools:rollback",
    "audit:read",
)
"""To an actor with none of these there are no specs, as there are no tools beyond those that it may call."""


@dataclass(frozen=True, slots=True)
class SavedSpec:
    """A spec and the identity of its revision. `spec` has every example, the held-out ones too."""

    spec: ExecutionSpec
    revision: int
    digest: str


@use_case("specs:write")
async def save_spec(actor: Actor, database: Database, body: Any, catalog: ConnectorCatalog) -> dict[str, Any]:
    """Check `body` and save it: `{"name", "revision", "digest"}`. The same content again is the same revision.

    Raises Invalid `spec_invalid` with problems, TooLarge `spec_too_large`.
    """
    spec = await check(body, catalog)
    row = await asyncio.to_thread(save_checked, actor, database, spec)
    return {"name": row.name, "revision": row.revision, "digest": row.digest}


@use_case(None)
def read_spec(actor: Actor, database: Database, name: str, revision: int | None = None) -> dict[str, Any]:
    """The spec with `"revision"` and `"digest"` beside `"spec"`; the latest unless `revision` is given.

    Held-out examples are left out unless the actor may `specs:held_out`. Raises NotFound `spec_not_found`.
    """
    if not _reads(actor):
        raise _no_spec(name)
    saved = load_spec(database, actor.tenant, name, revision)
    spec = saved.spec if actor.may("specs:held_out") else saved.spec.without_held_out()
    return {"name": name, "revision": saved.revision, "digest": saved.digest, "spec": spec.body()}


@use_case(None)
def list_revisions(actor: Actor, database: Database, name: str) -> list[dict[str, Any]]:
    """`{"revision", "digest", "created_at" (ms), "created_by"}` of each revision, the latest first; empty for an unknown name."""
    with database.reading() as session:
        rows = repository.revisions(session, actor.tenant, name) if _reads(actor) else []
    return [{"revision": r.revision, "digest": r.digest, "created_at": r.created_at, "created_by": r.created_by} for r in rows]


@use_case("keys:manage")
def named_permissions(actor: Actor, database: Database) -> frozenset[str]:
    """The permissions that saved specs of the tenant name, for whoever makes keys."""
    with database.reading() as session:
        return frozenset(name for body in repository.bodies(session, actor.tenant) for name in json.loads(body).get("permissions", ()))


def load_spec(database: Database, tenant: str, name: str, revision: int | None = None) -> SavedSpec:
    """The whole spec, for the platform's own work (verification, publishing); never shown to an actor as it is.

    Raises NotFound `spec_not_found`.
    """
    with database.reading() as session:
        row = repository.by_revision(session, tenant, name, revision)
    if row is None:
        wanted = name if revision is None else f"{name} revision {revision}"
        raise _no_spec(wanted)
    return SavedSpec(ExecutionSpec.parse(row.body), row.revision, row.digest)


def stored_spec(session: Session, tenant: str, name: str, revision: int) -> str:
    """The text of a revision as it is stored, for whoever compares it with its digest; empty if there is none."""
    row = repository.by_revision(session, tenant, name, revision)
    return row.body if row is not None else ""


def _reads(actor: Actor) -> bool:
    return any(actor.may(permission) for permission in READERS)


def _no_spec(wanted: str) -> NotFound:
    return NotFound("spec_not_found", f"There is no spec {wanted[:80]}.", fix="Save it with POST /api/v1/specs, or correct the name.")


def save_checked(actor: Actor, database: Database, spec: ExecutionSpec) -> SpecRevision:
    """Save a spec that `check` has passed, on behalf of an actor who may; for the platform's own work."""
    digest, body = spec.digest, spec.canonical().decode()
    for _ in range(_RACES):
        try:
            with database.writing() as session:
                known = repository.by_digest(session, actor.tenant, spec.name, digest)
                if known is not None:
                    return known
                row = SpecRevision(
                    id=ids.new("spec"),
                    tenant=actor.tenant,
                    name=spec.name,
                    revision=repository.next_revision(session, actor.tenant, spec.name),
                    digest=digest,
                    body=body,
                    created_at=now(session),
                    created_by=actor.id,
                )
                session.add(row)
                audit.record(session, actor, "spec.saved", spec.name, "done", revision=row.revision, digest=digest)
                return row
        except IntegrityError:  # on PostgreSQL another save may have taken this number meanwhile: look again
            continue
    raise Conflict("spec_busy", f"The spec {spec.name} is being saved by many at once.", fix="Save it again.", retryable=True)
