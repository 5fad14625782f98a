"""Publishing: from a candidate that passed, and was approved where it must be, to an immutable version that can be called.

It refuses to be: a way round verification. It reads the stored report; nothing that a caller sends counts.
"""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from app.access.permissions import use_case
from app.candidates.publishing import PublishableCandidate, mark_published, publishable
from app.connectors.named import require
from app.core import feed
from app.core.actor import Actor
from app.core.db import now
from app.core.errors import Conflict, Invalid, Problem, ToolmintError
from app.core.faults import fault
from app.observability import audit
from app.registry import repository, shelf
from app.registry.artifact import Artifact, make_artifact
from app.registry.catalog import Catalog
from app.registry.entries import STABLE
from app.registry.models import Version
from app.registry.sealing import seal
from app.spec.revisions import load_spec


@use_case("tools:publish")
def publish(
    actor: Actor, catalog: Catalog, candidate_id: str, channel: str = STABLE, *, tool: str | None = None, reason: str = ""
) -> dict[str, Any]:
    """Make the next version of the candidate and move the channel to it: `{"tool", "version", "digest", "channel", "candidate_id"}`.

    `tool`, where given, must be the candidate's. Raises what `publishable` raises (`candidate_not_found`, `candidate_not_passed`,
    `approval_required`, …), Conflict `report_mismatch` or
    `connection_unknown`, Invalid `channel_invalid`, `candidate_of_other_tool`. Refusals are audited.
    """
    if channel != STABLE:
        problem = Problem("$.channel", f"{channel[:40]!r} takes no publications", f"Publish to {STABLE}.")
        raise Invalid("channel_invalid", "This channel cannot be published to.", problems=[problem])
    refusal: ToolmintError | None = None
    with catalog.database.writing() as session:
        try:
            candidate = publishable(session, actor, candidate_id)
            _check(candidate, tool)
        except ToolmintError as error:
            refusal = error
            audit.record(session, actor, "version.published", candidate_id[:80], "refused", code=error.code)
    if refusal is not None:
        raise refusal
    saved = load_spec(catalog.database, actor.tenant, candidate.tool, candidate.spec_revision)
    if saved.digest != candidate.spec_digest:
        raise Conflict("candidate_altered", "The spec is not what the candidate was verified against.", fix="Submit it again.")
    require(catalog.database, actor.tenant, saved.spec)
    artifact = make_artifact(saved.spec, candidate.files, catalog.kinds)
    catalog.keys.make()
    version = _store(actor, catalog, candidate, artifact, reason)
    catalog.forget(actor.tenant)
    shelf.put(shelf.folder_of(catalog.tools_dir, actor.tenant, candidate.tool, version), artifact)
    fault("publish.files.after")
    return {"tool": candidate.tool, "version": version, "digest": artifact.digest, "channel": STABLE, "candidate_id": candidate.id}


def _check(candidate: PublishableCandidate, tool: str | None) -> None:
    if candidate.report.get("publishable") is not True or candidate.report.get("digest") != candidate.digest:
        raise Conflict("report_mismatch", "The report is not about these files, or does not let them pass.", fix="Verify again.")
    if tool is not None and tool != candidate.tool:
        problem = Problem("$.candidate_id", f"is a candidate of {candidate.tool}", "Publish it under its own tool.")
        raise Invalid("candidate_of_other_tool", "This candidate belongs to another tool.", problems=[problem])


def _store(actor: Actor, catalog: Catalog, candidate: PublishableCandidate, artifact: Artifact, reason: str) -> int:
    with catalog.database.writing() as session:
        repository.held_tool(session, actor.tenant, candidate.tool).updated_at = now(session)
        number = repository.newest_version(session, actor.tenant, candidate.tool) + 1
        mark_published(session, candidate.id, number)
        repository.store_files(session, artifact)
        row = _row(session, actor, candidate, artifact, number, reason)
        repository.add(session, [row])
        bundle = seal(session, catalog.keys, row, "published")
        step = repository.move(session, actor.tenant, candidate.tool, STABLE, number, "publish", reason, actor.id)
        audit.record(
            session,
            actor,
            "version.published",
            f"{candidate.tool}/{number}",
            "done",
            digest=artifact.digest,
            candidate=candidate.id,
            report=candidate.report_digest,
            bundle=bundle.digest,
            channel=STABLE,
            before=step.before,
        )
        feed.announce(session, "tools.changed", candidate.tool, actor.tenant, verb="publish", version=number)
    return number


def _row(session: Session, actor: Actor, candidate: PublishableCandidate, artifact: Artifact, number: int, reason: str) -> Version:
    return Version(
        tenant=actor.tenant,
        tool=candidate.tool,
        version=number,
        digest=artifact.digest,
        candidate_id=candidate.id,
        spec_revision=candidate.spec_revision,
        manifest=artifact.manifest,
        evidence_digest=candidate.report_digest,
        state="published",
        author=candidate.author,
        published_by=actor.id,
        reason=reason,
        created_at=now(session),
    )
