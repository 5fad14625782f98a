"""Sealing: the evidence of a version gathered from the database, put into one bundle, signed, and kept beside the version for ever.

A version is sealed in the transaction that publishes it. What was published before there were bundles is sealed once, before this
installation gets its first key: from then on a version without a bundle contradicted itself then, or somebody took its bundle, and it
is refused.

It refuses to be: a notary of what it did not see. A bundle says when and why it was sealed, and nothing that contradicts itself is signed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from importlib.metadata import version as release_of
from typing import Any, Protocol

from sqlmodel import Session

from app.candidates.publishing import StoredCandidate, stored_candidate
from app.candidates.shapes import without_held_out
from app.core.actor import SYSTEM, Actor
from app.core.clock import iso
from app.core.db import Database, now
from app.core.errors import Conflict, ToolmintError
from app.core.signing import Keyring, Signature
from app.economics.costs import spent_on
from app.observability import audit
from app.observability.audit import text_digest
from app.registry import evidence, repository
from app.registry.evidence import Bundle, Candidate, Published, Sealed, Statement, Why
from app.registry.examining import FILES, ODD, problems_with
from app.registry.models import Version
from app.spec.revisions import stored_spec

SINCE = "0009"
"""The revision of the schema that brought bundles: a database of an older one has none."""

logger = logging.getLogger(__name__)


class Signer(Protocol):
    """Whatever signs: the installation's keys, or the key that it is about to get."""

    def sign(self, message: bytes) -> Signature: ...


def seal(session: Session, signer: Signer, row: Version, why: Why) -> Bundle:
    """Sign what the database holds of a version and keep it. Raises Conflict `evidence_incomplete`, and what the signer raises.

    So it does where this signer's bundle of the version is kept already, for that is never replaced. A bundle that would be too large to
    be read raises Invalid `bundle_unreadable`.
    """
    candidate = stored_candidate(session, row.candidate_id)
    if candidate is None:
        raise _incomplete(row, "its candidate is not stored any more")
    try:
        texts = _texts(session, row, candidate)
        hidden = {evidence.SPEC: _hides(texts[evidence.SPEC]), evidence.REPORT: evidence.SHOWN_REPORT in texts}
    except ODD as error:
        raise _incomplete(row, f"what is stored cannot be read: {type(error).__name__}") from None
    statement = Statement(
        format=evidence.FORMAT,
        tenant=row.tenant,
        tool=row.tool,
        version=row.version,
        artifact=row.digest,
        candidate=Candidate(
            id=row.candidate_id,
            digest=candidate.digest,
            author=row.author,
            spec_revision=row.spec_revision,
            spec_digest=candidate.spec_digest,
            generation=candidate.generation_id,
        ),
        published=Published(by=row.published_by, reason=row.reason, at=iso(row.created_at) or ""),
        sealed=Sealed(at=iso(now(session)) or "", why=why, toolmint=release_of("toolmint")),
        members={name: evidence.member(text, held_out=hidden.get(name, False)) for name, text in texts.items()},
    )
    if statement.report_digest != row.evidence_digest:
        raise _incomplete(row, "the stored report is not the one that it was published on")
    bundle = Bundle(statement, texts, signer.sign(statement.signed()))
    if problems := problems_with(bundle):
        raise _incomplete(row, problems[0])
    content = bundle.encode()
    Bundle.decode(content)  # nothing is kept that could not be read again
    if not repository.store_bundle(session, row, bundle.signature.public_key, bundle.digest, content.decode()):
        raise _incomplete(row, "a bundle that this key signed is kept already")
    return bundle


def seal_former(database: Database, keys: Keyring) -> int:
    """At the first start: seal what was published before there were bundles, then give the installation its key; returns how many.

    Where another key signed a bundle this is not the first start of this database, and nothing is sealed: its keys belong here.
    """
    if keys.made:
        return 0
    with keys.first() as signer:
        if signer is None:  # another process was faster, and has sealed them
            return 0
        with database.reading() as session:
            elsewhere = repository.bundles_but(session, signer.public_key())
        return 0 if elsewhere else len(_seal_each(database, signer, "upgraded", lambda keys: not keys))


def seal_anew(database: Database, keys: Keyring, why: Why = "sealed anew") -> list[str]:
    """Seal each version that has no bundle by a believed key: an operator's word for what is stored. Returns those that were sealed."""
    keys.make()
    believed = frozenset(keys.trusted())
    return _seal_each(database, keys, why, believed.isdisjoint)


def _seal_each(database: Database, signer: Signer, why: Why, lacks: Callable[[Iterable[str]], bool]) -> list[str]:
    """Seal each version that lacks a bundle, told by the keys that signed those which it has."""
    with database.reading() as session:
        rows = [row for row in repository.all_versions(session) if lacks(repository.bundles_of(session, row))]
    return [f"{row.tool}/{row.version}" for row in rows if _sealed(database, signer, why, row, lacks)]


def _sealed(database: Database, signer: Signer, why: Why, row: Version, lacks: Callable[[Iterable[str]], bool]) -> bool:
    actor = Actor(SYSTEM.id, SYSTEM.name, row.tenant, frozenset())
    target = f"{row.tool}/{row.version}"
    with database.writing() as session:
        repository.held_tool(session, row.tenant, row.tool)
        if not lacks(repository.bundles_of(session, row)):  # somebody else was faster
            return False
        try:
            bundle = seal(session, signer, row, why)
        except ToolmintError as error:  # one that contradicts itself stays without, is refused, and keeps no other one from its own
            logger.warning("%s is not sealed: %s", target, error)
            audit.record(session, actor, "version.sealed", target, "refused", code=error.code, why=why)
            return False
        audit.record(session, actor, "version.sealed", target, "done", bundle=bundle.digest, why=why)
    return True


def _texts(session: Session, row: Version, candidate: StoredCandidate) -> dict[str, str]:
    texts = {FILES + path: text for path, text in repository.files_of(session, row.digest).items()}
    texts |= {
        evidence.MANIFEST: row.manifest,
        evidence.SPEC: stored_spec(session, row.tenant, row.tool, row.spec_revision),
        evidence.REPORT: candidate.report,
        evidence.APPROVALS: candidate.approvals,
    }
    report: Any = json.loads(candidate.report or "{}")
    if (shown := without_held_out(report)) != report:
        texts[evidence.SHOWN_REPORT] = text_digest(shown)[0]
    if candidate.generation_id is not None:
        usage = spent_on(session, row.tenant, candidate.generation_id)
        texts[evidence.GENERATION] = text_digest({"id": candidate.generation_id, **usage})[0]
    return texts


def _hides(spec: str) -> bool:
    return any(example.get("visibility") == "held_out" for example in json.loads(spec or "{}").get("examples", ()))


def _incomplete(row: Version, why: str) -> Conflict:
    detail = f"The evidence of {row.tool}/{row.version} does not hold together: {why}."
    return Conflict("evidence_incomplete", detail, fix="Submit the candidate again, and publish what passes.")
