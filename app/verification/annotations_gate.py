"""The gate "annotations": the hints that callers will be given, proved by what the other gates' runs did.

Each of MCP's hints is derived twice, from the spec and from what was seen, and the two are compared. A hint that promises more than the
runs bear out is refused, and so is an effect that is declared and was never done: nobody can say what it does. What passes is stored with
the version, listed to clients, and held at run time.

It refuses to be: a run. It reads facts that gates with runs have left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.spec.annotations import DESTRUCTIVE, IDEMPOTENT, OPEN_WORLD, READ_ONLY, Hints, Shown, agreed, declared_hints, shown_hints
from app.spec.model import ExecutionSpec
from app.verification.findings import Finding, GateOutcome, Severity
from app.verification.subject import Bench, Subject
from app.verification.touched import summed

SOURCES = ("examples", "effects", "rollback")
"""The gates whose runs count."""

_REPORT = "Report this: the host must hold it, whatever a tool does."
_PROMISES = {READ_ONLY: True, DESTRUCTIVE: False, IDEMPOTENT: True, OPEN_WORLD: False}
_TOLD = frozenset({IDEMPOTENT})
"""Hints that no author promises: where runs show less, that is listed, and told."""

_CONTRADICTED = {
    READ_ONLY: ("The spec declares no effect, and runs have done some.", _REPORT),
    DESTRUCTIVE: (
        "The spec says that every effect can be undone, and no run has undone all that was done: {left}.",
        "See the gate rollback; where an effect cannot be undone, set undo to null and say why in undo_reason.",
    ),
    IDEMPOTENT: (
        "{repeats} calls were made a second time and added {added} effects, so callers are told that a second call may do more.",
        "Nothing, where a call takes a part of the work at a time. Else let one call do all of it, and keep time and chance out of items.",
    ),
    OPEN_WORLD: ("A run used a connector that leaves this installation, and the spec declares none.", _REPORT),
}


async def check_annotations(subject: Subject, _bench: Bench, seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """`hints` are what both spec and runs bear out, `declared` what the spec has; the rest is the evidence, and `proved` says of which."""
    shown = shown_by(seen)
    declared, proved = declared_hints(subject.spec, subject.catalog), shown_hints(subject.spec, subject.catalog, shown)
    findings = [*_contradictions(declared, proved, shown), *_unproved(subject.spec, shown)]
    wrong = {finding.message.partition(":")[0] for finding in findings if finding.severity == "error"}
    done = {f"effect {effect.id}": shown.effects.get(effect.id, 0) > 0 for effect in subject.spec.effects}
    evidence = {
        "hints": agreed(declared, proved),
        "declared": declared,
        "runs": shown.runs,
        "reads": dict(shown.reads),
        "effects": dict(shown.effects),
        "repeats": shown.repeats,
        "added": shown.added,
        "undone": sorted(shown.undone),
        "proved": {hint: hint not in wrong for hint in declared} | done,
    }
    return GateOutcome(findings, evidence)


def shown_by(seen: Mapping[str, Mapping[str, Any]]) -> Shown:
    """What the gates' facts show together; a gate that noted nothing shows nothing."""
    facts = [seen[gate] for gate in SOURCES if gate in seen]
    total = summed(fact["touched"] for fact in facts if "touched" in fact).as_dict()
    repeats = [fact["repeats"] for fact in facts if "repeats" in fact]
    return Shown(
        runs=total["runs"],
        reads=total["reads"],
        effects=total["effects"],
        repeats=sum(each["calls"] for each in repeats),
        added=sum(each["added"] for each in repeats),
        undone=frozenset(name for fact in facts for name, undone in fact.get("undone", {}).items() if undone),
    )


def _contradictions(declared: Hints, proved: Hints, shown: Shown) -> Iterator[Finding]:
    left = ", ".join(sorted(name for name, times in shown.effects.items() if times and name not in shown.undone))
    for hint, (message, fix) in _CONTRADICTED.items():
        if declared[hint] == _PROMISES[hint] != proved[hint]:
            said = message.format(left=left, repeats=shown.repeats, added=shown.added)
            severity: Severity = "warning" if hint in _TOLD and shown.repeats else "error"
            yield Finding("hint_contradicted", f"{hint}: {said}", fix, severity, "spec.json", expected=declared[hint], got=proved[hint])


def _unproved(spec: ExecutionSpec, shown: Shown) -> Iterator[Finding]:
    for effect in spec.effects:
        if not shown.effects.get(effect.id):
            message = (
                f"The spec declares the effect {effect.id!r}, and none of {shown.runs} runs has done it, so nothing proves what it does."
            )
            yield Finding("effect_never_done", message, "Add an example in which it is done, or remove it from the spec.", file="spec.json")
    for read in spec.reads:
        if not shown.reads.get(read.id):
            message = f"The spec declares the read {read.id!r}, and none of {shown.runs} runs has made it."
            fix = "Add an example that reads it, or remove it from the spec: declare no more than is used."
            yield Finding("read_never_made", message, fix, "warning", file="spec.json")
