"""Reading the catalog: tools, a tool with its versions and moves, a version with files, scores and evidence.

To an actor who may not see a tool it does not exist.

It refuses to be: the report. Scores are read from it; findings are the candidates' room's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from sqlmodel import Session

from app.access.permissions import use_case
from app.candidates.publishing import StoredCandidate, stored_candidate
from app.candidates.reading import READERS, reads_candidates
from app.core.actor import Actor
from app.core.clock import iso
from app.core.errors import Conflict, Forbidden, Invalid, NotFound, ToolmintError
from app.core.pages import MOST, Page, decode, encode
from app.observability import audit
from app.registry import repository
from app.registry.agreement import readable, sound
from app.registry.artifact import pins, sha256
from app.registry.catalog import Catalog
from app.registry.channels import no_tool
from app.registry.entries import STABLE, Entry, Refused
from app.registry.evidence import REPORT, TOOL
from app.registry.models import ChannelMove, Version
from app.registry.proof import told
from app.registry.vouching import Vouched, read_spec
from app.spec.annotations import listed_annotations
from app.spec.model import ExecutionSpec

logger = logging.getLogger(__name__)


@use_case(None)
def list_tools(actor: Actor, catalog: Catalog, cursor: str | None = None, limit: int = 50, query: str = "") -> Page:
    """Tools that the actor may know of, by name; `query` wants every one of its words in name, title or description."""
    if not 1 <= limit <= MOST:
        raise Invalid("limit_invalid", f"limit is {limit}; it must be 1 to {MOST}.", fix=f"Ask for at most {MOST} and follow next_cursor.")
    after = decode(cursor, 1)[0] if cursor else ""
    words = query.lower().split()
    found = [entry for entry in catalog.entries(actor.tenant).values() if entry.name > str(after) and entry.visible_to(actor)]
    matching = [entry for entry in found if all(word in _text(entry) for word in words)]
    more = encode([matching[limit - 1].name]) if len(matching) > limit else None
    return {"items": [dict(entry.shape) for entry in matching[:limit]], "next_cursor": more}


@use_case(None)
def read_tool(actor: Actor, catalog: Catalog, tool: str) -> dict[str, Any]:
    """The tool with `versions` (newest first) and `moves` of its channels. Raises NotFound `tool_not_found`."""
    entry = _visible(actor, catalog, tool)
    with catalog.database.reading() as session:
        versions = repository.versions_of(session, actor.tenant, tool)
        moves = repository.moves_of(session, actor.tenant, tool)
    return {**entry.shape, "versions": [_version(row) for row in versions], "moves": [_move(row) for row in moves]}


@use_case(None)
def read_version(actor: Actor, catalog: Catalog, tool: str, version: int) -> dict[str, Any]:
    """One version with `files` (text by path), `manifest`, `scores` (the rubric), `gates`, and `bundle`: `{"digest", "key_id"}`.

    `manifest` is null where it is not the one that the version's digest names; `scores` and `gates` are empty where the report that is
    stored is not the signed one.

    `annotations` are what callers are told while `stable` points to it, `annotations_evidence` is what they rest on (`proof.told`).
    Where its evidence does not let it load, these and `bundle` are null and `refused` is `{"code", "detail", "fix"}`.

    Raises NotFound `version_not_found`.
    """
    entry = _visible(actor, catalog, tool)
    with catalog.database.reading() as session:
        row = _row(session, actor, tool, version)
        files = repository.files_of(session, row.digest)
        candidate = stored_candidate(session, row.candidate_id)
    known = catalog.load.vouched.outcome(row)
    bundle = {"digest": known.bundle, "key_id": known.key_id} if isinstance(known, Vouched) else None
    refused = Refused.of(known).shape if isinstance(known, ToolmintError) else None
    pointing = [pointer.channel for pointer in entry.pointers if pointer.version == version]
    return {
        **_version(row),
        "channels": pointing,
        "manifest": pins(row.manifest) if sha256(row.manifest) == row.digest else None,
        "files": files,
        "annotations": listed_annotations(known.spec, catalog.kinds, known.proof) if isinstance(known, Vouched) else None,
        "annotations_evidence": told(known.proof) if isinstance(known, Vouched) else None,
        "bundle": bundle,
        "refused": refused,
        **_evidence(candidate, known),
    }


@use_case(None)
def read_bundle(actor: Actor, catalog: Catalog, tool: str, version: int) -> bytes:
    """The evidence bundle as a file, for those who may read candidates; the parts with held-out examples for `specs:held_out` only.

    It is given where files or tables have been altered, too: it is what to compare them with. Raises NotFound `tool_not_found`,
    `version_not_found`, Forbidden `permission_denied` (audited), Conflict `bundle_missing`, `bundle_altered`,
    `bundle_signer_unknown`, `bundle_of_other_version`.
    """
    _visible(actor, catalog, tool)
    if not reads_candidates(actor):
        _refuse_reader(actor, catalog, f"{tool}/{version}")
    trusted = catalog.keys.trusted()
    with catalog.database.reading() as session:
        bundle = sound(session, _row(session, actor, tool, version), trusted)
    return (bundle if actor.may("specs:held_out") else bundle.shown()).encode()


@dataclass(frozen=True, slots=True)
class Signed:
    """A version as its evidence bundle has it: its number, the spec that runs, the report that it was published on, its `tool.py`."""

    version: int
    spec: ExecutionSpec
    report: Mapping[str, Any]
    tool: str


def signed_stable(catalog: Catalog, tenant: str, tool: str) -> Signed | None:
    """What answers callers of `stable`, as a believed key signed it, whatever the tables say; for the platform's own work.

    None where nothing is published, or what this release cannot read, and so does not serve. Raises Conflict `bundle_missing`,
    `bundle_signer_unknown`, `bundle_altered`, `bundle_of_other_version`.
    """
    trusted = catalog.keys.trusted()
    with catalog.database.reading() as session:
        pointer = repository.channel(session, tenant, tool, STABLE)
        row = repository.version(session, tenant, tool, pointer.version) if pointer is not None else None
        bundle = sound(session, row, trusted) if row is not None else None
    if row is None or bundle is None:
        return None
    try:
        with readable(row):
            return Signed(row.version, read_spec(bundle), json.loads(bundle.members[REPORT]), bundle.members[TOOL])
    except Conflict as error:
        logger.warning("nothing is compared with %s/%s: %s", tool, row.version, error)
        return None


def _refuse_reader(actor: Actor, catalog: Catalog, target: str) -> NoReturn:
    with catalog.database.writing() as session:
        audit.record(session, actor, "permission.denied", target, "refused", permission=" or ".join(READERS))
    raise Forbidden(
        "permission_denied",
        f"The key {actor.name!r} may not read evidence: it tells what a candidate's report does.",
        fix=f"Use a key that has one of {', '.join(READERS)}.",
    )


def _row(session: Session, actor: Actor, tool: str, version: int) -> Version:
    row = repository.version(session, actor.tenant, tool, version)
    if row is None:
        raise NotFound("version_not_found", f"{tool} has no version {version}.", fix="See GET /tools/{name} for its versions.")
    return row


def _visible(actor: Actor, catalog: Catalog, tool: str) -> Entry:
    entry = catalog.entries(actor.tenant).get(tool)
    if entry is None or not entry.visible_to(actor):
        raise no_tool(tool)
    return entry


def _evidence(candidate: StoredCandidate | None, known: Vouched | ToolmintError) -> dict[str, Any]:
    """Scores and gates of the report that was signed, without its findings; none where what is stored is another one."""
    if candidate is None or not isinstance(known, Vouched) or sha256(candidate.report) != known.report:
        return {"scores": [], "gates": []}
    report = json.loads(candidate.report)
    gates = [{"gate": gate["gate"], "status": gate["status"], "duration_ms": gate["duration_ms"]} for gate in report["gates"]]
    scores = [{key: score.get(key) for key in ("dimension", "score", "threshold", "passed")} for score in report["rubric"]]
    return {"scores": scores, "gates": gates}


def _version(row: Version) -> dict[str, Any]:
    return {
        "tool": row.tool,
        "version": row.version,
        "digest": row.digest,
        "state": row.state,
        "candidate_id": row.candidate_id,
        "spec_revision": row.spec_revision,
        "evidence_digest": row.evidence_digest,
        "author": row.author,
        "published_by": row.published_by,
        "reason": row.reason,
        "created_at": iso(row.created_at),
    }


def _move(row: ChannelMove) -> dict[str, Any]:
    return {
        "channel": row.channel,
        "before": row.before,
        "after": row.after,
        "verb": row.verb,
        "reason": row.reason,
        "actor": row.actor,
        "at": iso(row.at),
    }


def _text(entry: Entry) -> str:
    return f"{entry.name} {entry.spec.title} {entry.spec.description}".lower()
