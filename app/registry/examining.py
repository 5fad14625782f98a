"""Whether an evidence bundle holds together, from nothing but the bundle itself: the same checks offline and before a version loads.

Each check is a row of a table: what it establishes, and a function that names what is wrong. They run in order and each may rely on
those before it; the first that fails ends the examination.

It refuses to be: trust. Who signed is compared with believed keys by whoever examines; anybody can sign a bundle that holds together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.candidates.files import candidate_digest, source_file
from app.candidates.shapes import without_held_out
from app.core.actor import SYSTEM
from app.core.signing import holds
from app.registry.artifact import Artifact, problems_of
from app.registry.evidence import (
    APPROVALS,
    GENERATION,
    MANIFEST,
    MAY_BE_HELD_OUT,
    REPORT,
    SHOWN_REPORT,
    SPEC,
    Bundle,
    member,
)

FILES = "files/"
SOURCES = ("tool.py", "test_tool.py")
ODD = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a text raises that is no JSON, or JSON of another form than expected."""
_KNOWN = {SPEC, REPORT, SHOWN_REPORT, APPROVALS, GENERATION}
_NEEDED = {SPEC, REPORT, APPROVALS, MANIFEST, *(FILES + name for name in ("spec.json", "tool.py", "test_tool.py", "contract.py"))}


@dataclass(frozen=True, slots=True)
class Seen:
    """A check that was made: what it establishes, and what is wrong, one line each."""

    check: str
    establishes: str
    problems: tuple[str, ...]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Gate(_Part):
    gate: str
    status: str


class _Score(_Part):
    dimension: str
    score: float
    threshold: float
    passed: bool


class _Report(_Part):
    candidate_id: str
    digest: str
    publishable: bool
    gates: list[_Gate]
    rubric: list[_Score]


class _Manifest(_Part):
    tool: str
    spec_digest: str
    files: dict[str, str]


class _Decision(_Part):
    candidate_id: str
    actor: str
    decision: str


class _Approvals(_Part):
    approval: str
    decisions: list[_Decision]


class _Usage(_Part):
    id: str
    calls: list[dict[str, Any]]
    usd: str | None


def examine(bundle: Bundle) -> list[Seen]:
    """Every check up to the first that fails. It holds together if the last one has no problems."""
    seen: list[Seen] = []
    for name, establishes, check in CHECKS:
        try:
            problems = tuple(check(bundle))
        except ODD as error:  # a signer that is not ours may have signed anything
            problems = (f"a member cannot be read: {type(error).__name__}",)
        seen.append(Seen(name, establishes, problems))
        if problems:
            break
    return seen


def problems_with(bundle: Bundle) -> tuple[str, ...]:
    """What the first failing check found; empty if the bundle holds together."""
    return examine(bundle)[-1].problems


def files_of(bundle: Bundle) -> dict[str, str]:
    """The files of the version by path, without the manifest."""
    return {name.removeprefix(FILES): text for name, text in bundle.members.items() if name.startswith(FILES) and name != MANIFEST}


def _signature(bundle: Bundle) -> Iterator[str]:
    if not holds(bundle.signature, bundle.statement.signed()):
        yield "the signature does not belong to this statement"


def _members(bundle: Bundle) -> Iterator[str]:
    named = bundle.statement.members
    for name in sorted(_NEEDED - named.keys()):
        yield f"the statement names no {name}"
    for name in sorted(name for name in named if name not in _KNOWN and not name.startswith(FILES)):
        yield f"the statement names {name}, which is no part of such a bundle"
    for name in sorted(bundle.members.keys() - named.keys()):
        yield f"{name} is not in the statement"
    for name, facts in sorted(named.items()):
        if facts.held_out and name not in MAY_BE_HELD_OUT:
            yield f"the statement calls {name} held out"
        if name not in bundle.members:
            if not facts.held_out:
                yield f"{name} is missing"
        elif member(bundle.members[name], held_out=facts.held_out) != facts:
            yield f"{name} was altered"


def _artifact(bundle: Bundle) -> Iterator[str]:
    statement = bundle.statement
    yield from problems_of(Artifact(statement.artifact, bundle.members[MANIFEST], files_of(bundle)))
    pinned = _Manifest.model_validate(json.loads(bundle.members[MANIFEST]))
    if (pinned.tool, pinned.spec_digest) != (statement.tool, statement.candidate.spec_digest):
        yield "the manifest is that of another tool or spec"


def _candidate(bundle: Bundle) -> Iterator[str]:
    files = [source_file(name, bundle.members[FILES + name]) for name in SOURCES]
    facts = bundle.statement.candidate
    if candidate_digest(facts.spec_digest, files) != facts.digest:
        yield "the candidate's digest is not that of this code for this spec"


def _spec(bundle: Bundle) -> Iterator[str]:
    if bundle.statement.members[SPEC].sha256 != bundle.statement.candidate.spec_digest:
        yield "spec.json is not the spec that the candidate was verified against"
    if SPEC in bundle.members:
        whole, guest = json.loads(bundle.members[SPEC]), json.loads(bundle.members[FILES + "spec.json"])
        kept = [example for example in whole["examples"] if example["visibility"] != "held_out"]
        if {**whole, "examples": kept} != guest:
            yield "the spec that runs is not the one that was verified"


def _report(bundle: Bundle) -> Iterator[str]:
    texts = [bundle.members[name] for name in (REPORT, SHOWN_REPORT) if name in bundle.members]
    if not texts:
        yield "no report is in it"
        return
    report = _Report.model_validate(json.loads(texts[0]))
    facts = bundle.statement.candidate
    if (report.candidate_id, report.digest) != (facts.id, facts.digest):
        yield "the report is about another candidate"
    if not report.publishable:
        yield "the report does not let the candidate pass"
    if not (report.gates and report.rubric):
        yield "the report tells of no gates, or of no scores"
    yield from (f"the gate {gate.gate} has {gate.status}" for gate in report.gates if gate.status != "passed")
    yield from (f"{row.dimension} misses its threshold" for row in report.rubric if not (row.passed and row.score >= row.threshold))
    if len(texts) == 2 and without_held_out(json.loads(texts[0])) != json.loads(texts[1]):
        yield "the report without held-out cases tells of another one"


def _generation(bundle: Bundle) -> Iterator[str]:
    generation = bundle.statement.candidate.generation
    found = GENERATION in bundle.members
    usage = _Usage.model_validate(json.loads(bundle.members[GENERATION])) if found else None
    if generation != (usage.id if usage else None):
        yield f"{GENERATION} is not about the generation that wrote the candidate"


def _approval(bundle: Bundle) -> Iterator[str]:
    approvals = _Approvals.model_validate(json.loads(bundle.members[APPROVALS]))
    effects = bool(json.loads(bundle.members[FILES + "spec.json"])["effects"])
    facts = bundle.statement.candidate
    others = [row for row in approvals.decisions if row.candidate_id == facts.id]
    said = {row.decision for row in others if row.actor != facts.author or row.actor == SYSTEM.id}
    if "reject" in {row.decision for row in others} or approvals.approval not in ("approved", "none_needed"):
        yield "it was rejected, or waits for an approval"
    if effects and "approve" not in said:
        yield "it has effects, and nobody but its author approved it"


Check = tuple[str, str, Callable[[Bundle], Iterator[str]]]
CHECKS: Sequence[Check] = (
    ("signature", "the key that it names signed this statement", _signature),
    ("members", "every part is the one that the statement names by its SHA-256", _members),
    ("artifact", "the manifest of the version pins these very files", _artifact),
    ("candidate", "these files, for this spec, are the candidate that was verified", _candidate),
    ("spec", "the spec that runs is the one that was verified", _spec),
    ("report", "every gate passed on it, every score reaches its threshold", _report),
    ("generation", "what writing it used is that of the generation which wrote it, if one did", _generation),
    ("approval", "what has effects was approved by another actor than its author, or came with the release", _approval),
)


def told(bundle: Bundle) -> dict[str, Any]:
    """What a bundle that holds together tells, for people: versions of the checkers, gates, scores, decisions, usage."""
    report = json.loads(bundle.members.get(REPORT) or bundle.members[SHOWN_REPORT])
    approvals = json.loads(bundle.members[APPROVALS])
    usage = json.loads(bundle.members[GENERATION]) if GENERATION in bundle.members else None
    return {
        "gates": {gate["gate"]: gate["status"] for gate in report["gates"]},
        "scores": {row["dimension"]: [row["score"], row["threshold"]] for row in report["rubric"]},
        "decisions": approvals["decisions"],
        "verified_with": report.get("verified_with"),
        "usage": usage,
    }
