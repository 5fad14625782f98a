"""The evidence of a published version as one file that anyone can check offline: a statement, the members that it names, a signature.

One file of JSON with exactly one spelling: keys sorted, no spaces, no escape that is not needed (RFC 8785), so that any other byte is
another file, and a reader needs no archive format that two programs could read in two ways. The signature covers the statement, and the
statement names every member by its SHA-256. A copy for readers who may not see held-out examples leaves out the members that hold them:
statement, signature and digest stay the same.

It refuses to be: a judge. Whether it holds together is asked in `examining`, whether the database agrees in `agreement`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from app.core.errors import Invalid
from app.core.signing import Signature

FORMAT: Literal["toolmint-evidence/1"] = "toolmint-evidence/1"
MEDIA_TYPE = "application/vnd.toolmint.evidence+json"
MOST_BYTES = 32_000_000

MANIFEST = "files/manifest.json"
GUEST_SPEC = "files/spec.json"
TOOL = "files/tool.py"
SPEC = "spec.json"
REPORT = "report.json"
SHOWN_REPORT = "report.shown.json"
APPROVALS = "approvals.json"
GENERATION = "generation.json"
MAY_BE_HELD_OUT = frozenset({SPEC, REPORT})
"""The only members that a copy may lack: the whole spec with its held-out examples, and the report as it tells of them."""

Why = Literal["published", "upgraded", "sealed anew"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Member(_Strict):
    """One text of the bundle: its size in bytes of UTF-8 and their SHA-256. `held_out`: a copy may lack it."""

    bytes: int
    sha256: str
    held_out: bool


class Candidate(_Strict):
    """What was verified, and by whom it was written. `generation`: the model's work of this id wrote it here."""

    id: str
    digest: str
    author: str
    spec_revision: int
    spec_digest: str
    generation: str | None


class Published(_Strict):
    """By whom, why and when (ISO, UTC) it was published."""

    by: str
    reason: str
    at: str


class Sealed(_Strict):
    """When and why this bundle was signed, and by which release. Only `published` is from the moment of publication."""

    at: str
    why: Why
    toolmint: str


class Statement(_Strict):
    """What the signer says. `artifact` is the SHA-256 of the manifest, which names each file of the version by its own."""

    format: Literal["toolmint-evidence/1"]
    tenant: str
    tool: str
    version: int
    artifact: str
    candidate: Candidate
    published: Published
    sealed: Sealed
    members: dict[str, Member]

    @property
    def report_digest(self) -> str:
        """SHA-256 of the report that the version was published on."""
        return self.members[REPORT].sha256 if REPORT in self.members else ""

    def signed(self) -> bytes:
        """The bytes that the signature covers; the prefix keeps them apart from whatever else the key may ever sign."""
        return f"{FORMAT}\n".encode() + one_spelling(self.model_dump())


class _Signature(_Strict):
    public_key: str
    value: str


class _Envelope(_Strict):
    statement: Statement
    members: dict[str, str]
    signature: _Signature


@dataclass(frozen=True, slots=True)
class Bundle:
    """`members` maps names to texts; those that a copy lacks are only named in the statement."""

    statement: Statement
    members: Mapping[str, str]
    signature: Signature

    @property
    def digest(self) -> str:
        """SHA-256 of the statement: the same for the whole bundle and for a copy without held-out members."""
        return hashlib.sha256(one_spelling(self.statement.model_dump())).hexdigest()

    def encode(self) -> bytes:
        """The file."""
        signature = {"public_key": self.signature.public_key, "value": self.signature.value}
        return one_spelling({"statement": self.statement.model_dump(), "members": dict(self.members), "signature": signature})

    def shown(self) -> Bundle:
        """A copy without the members that hold what only readers with `specs:held_out` may see."""
        kept = {name: text for name, text in self.members.items() if not self.statement.members[name].held_out}
        return Bundle(self.statement, kept, self.signature)

    @classmethod
    def decode(cls, content: bytes) -> Bundle:
        """The bundle of a file. Raises Invalid `bundle_unreadable` for anything but the one spelling of a bundle."""
        if len(content) > MOST_BYTES:
            raise _unreadable(f"it has more than {MOST_BYTES} bytes")
        try:
            envelope = _Envelope.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            raise _unreadable(f"{'.'.join(str(part) for part in first['loc']) or 'the file'}: {first['msg']}") from None
        bundle = cls(envelope.statement, envelope.members, Signature(envelope.signature.public_key, envelope.signature.value))
        if not bundle._spelled(content):
            raise _unreadable("the same content has another spelling")
        return bundle

    def _spelled(self, content: bytes) -> bool:
        try:
            return self.encode() == content
        except UnicodeEncodeError:  # half of a surrogate pair, which no file holds
            return False


def one_spelling(value: Any) -> bytes:
    """RFC 8785 for what is in a bundle: objects with ASCII keys, texts, whole numbers, truth values.

    Far faster than the general form for texts of some hundred kilobytes; a test compares the two.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def member(text: str, *, held_out: bool = False) -> Member:
    """How a statement names this text."""
    content = text.encode()
    return Member(bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), held_out=held_out)


def _unreadable(why: str) -> Invalid:
    return Invalid("bundle_unreadable", f"This is no evidence bundle, or it was altered: {why}."[:600], fix="Download it again.")
