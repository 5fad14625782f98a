"""Whether a version may load: its bundle is signed by a believed key and holds together, and the database says the same.

Each disagreement has a code of its own. They are looked for in the order of the table, since each row relies on those before it.

It refuses to be: the look at the folder. That is compared with the manifest whenever it moves (`loading`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlmodel import Session

from app.candidates.publishing import StoredCandidate, stored_candidate
from app.core.clock import iso
from app.core.errors import Conflict, ToolmintError
from app.registry import evidence, repository
from app.registry.artifact import sha256
from app.registry.evidence import Bundle
from app.registry.examining import ODD, files_of, problems_with
from app.registry.models import Version
from app.spec.revisions import stored_spec

RESTORE = "Restore the database from a backup; or roll back to another version."
KEYS = "Put back evidence.key from a backup, or believe its public key: `toolmint evidence trust KEY`."


def sound(session: Session, row: Version, trusted: Sequence[str]) -> Bundle:
    """The bundle of this version that a believed key signed and that holds together, whatever else the database says now.

    Raises Conflict `bundle_missing`, `bundle_signer_unknown`, `bundle_altered`, `bundle_of_other_version`.
    """
    bundle = _believed(session, row, trusted)
    if problems := problems_with(bundle):
        raise refusal(row, "bundle_altered", problems)
    if taken := sorted(bundle.statement.members.keys() - bundle.members.keys()):  # a copy for readers; what is kept is whole
        raise refusal(row, "bundle_altered", [f"{name} was taken out of its evidence bundle" for name in taken])
    said = bundle.statement
    if (said.tenant, said.tool, said.version) != (row.tenant, row.tool, row.version):
        raise refusal(row, "bundle_of_other_version", [f"its evidence bundle is that of {said.tool}/{said.version}"])
    return bundle


def vouched(session: Session, row: Version, trusted: Sequence[str]) -> Bundle:
    """The bundle of a version that may load. Raises Conflict with the code of what disagrees, `problems` in its data."""
    bundle, stored = sound(session, row, trusted), _Stored.of(session, row)
    for code, compare in _COMPARED:
        if problems := tuple(compare(stored, bundle)):
            raise refusal(row, code, problems)
    return bundle


def refusal(row: Version, code: str, problems: Sequence[str], fix: str = RESTORE) -> Conflict:
    """Why a version does not load."""
    detail = f"Version {row.version} of {row.tool} is not what was published: {'; '.join(problems[:3])}."
    return Conflict(code, detail, fix=fix, data={"problems": list(problems)})


@contextmanager
def readable(row: Version) -> Iterator[None]:
    """Raise Conflict `version_outdated` where the block cannot read what was signed, as another release wrote it."""
    try:
        yield
    except ODD as error:
        detail = f"This release cannot read version {row.version} of {row.tool}, as it was published: {type(error).__name__}."
        fix = "Publish the tool again with this release; or roll back to another version."
        raise Conflict("version_outdated", detail, fix=fix, data={"problems": [str(error)[:300]]}) from None


def _believed(session: Session, row: Version, trusted: Sequence[str]) -> Bundle:
    kept = repository.bundles_of(session, row)
    if not kept:
        fix = f"{RESTORE} If you know where its evidence went and believe what is stored: `toolmint evidence seal`."
        raise refusal(row, "bundle_missing", ["it has no evidence bundle"], fix)
    key = next((key for key in trusted if key in kept), None)
    if key is None:
        raise refusal(row, "bundle_signer_unknown", ["no key that is believed here signed its evidence"], KEYS)
    try:
        bundle = Bundle.decode(kept[key].content.encode())
    except ToolmintError as error:
        raise refusal(row, "bundle_altered", [error.detail.rstrip(".")]) from None
    if bundle.signature.public_key != key or bundle.digest != kept[key].digest:
        raise refusal(row, "bundle_altered", ["its evidence bundle is another one than was kept"])
    return bundle


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the database says of a version, read at once."""

    row: Version
    files: Mapping[str, str]
    spec: str
    candidate: StoredCandidate | None

    @classmethod
    def of(cls, session: Session, row: Version) -> _Stored:
        files = repository.files_of(session, row.digest)
        spec = stored_spec(session, row.tenant, row.tool, row.spec_revision)
        return cls(row, files, spec, stored_candidate(session, row.candidate_id))


def _version(stored: _Stored, bundle: Bundle) -> Iterator[str]:
    said, row = bundle.statement, stored.row
    pairs = {
        "digest": (row.digest, said.artifact),
        "candidate_id": (row.candidate_id, said.candidate.id),
        "spec_revision": (row.spec_revision, said.candidate.spec_revision),
        "manifest": (row.manifest, bundle.members[evidence.MANIFEST]),
        "evidence_digest": (row.evidence_digest, said.report_digest),
        "author": (row.author, said.candidate.author),
        "published_by": (row.published_by, said.published.by),
        "reason": (row.reason, said.published.reason),
        "created_at": (iso(row.created_at), said.published.at),
    }
    yield from (f"{name} of its row was altered" for name, (here, signed) in pairs.items() if here != signed)


def _files(stored: _Stored, bundle: Bundle) -> Iterator[str]:
    here, signed = stored.files, files_of(bundle)
    yield from (f"{path} is not as signed" for path in sorted(here.keys() | signed.keys()) if here.get(path) != signed.get(path))


def _spec(stored: _Stored, bundle: Bundle) -> Iterator[str]:
    if sha256(stored.spec) != bundle.statement.candidate.spec_digest:
        yield f"revision {stored.row.spec_revision} of its spec is not as signed"


def _report(stored: _Stored, bundle: Bundle) -> Iterator[str]:
    if stored.candidate is None or sha256(stored.candidate.report) != bundle.statement.report_digest:
        yield "the report of its candidate is not as signed, or gone"


def _code(stored: _Stored, bundle: Bundle) -> Iterator[str]:
    if stored.candidate is None or stored.candidate.digest != bundle.statement.candidate.digest:
        yield "the code of its candidate is not as signed"


def _approvals(stored: _Stored, bundle: Bundle) -> Iterator[str]:
    if stored.candidate is None or stored.candidate.approvals != bundle.members[evidence.APPROVALS]:
        yield "an approval of its candidate is not as signed"


_COMPARED: Sequence[tuple[str, Callable[[_Stored, Bundle], Iterator[str]]]] = (
    ("version_altered", _version),
    ("artifact_altered", _files),
    ("spec_altered", _spec),
    ("report_altered", _report),
    ("candidate_altered", _code),
    ("approvals_altered", _approvals),
)
