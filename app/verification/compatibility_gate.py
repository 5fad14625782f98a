"""The gate "compatibility": what changes for callers, readers of results and the ledger against the version that this one replaces.

A changed key is refused: what is done would be done again. Changes that break callers or readers are told, with their place; whether they
are wanted is for the person who approves.

It refuses to be: a guess about behaviour. It compares contracts; what the tool does is other gates' matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.spec.compatibility import Change, changes
from app.verification.findings import Finding, GateOutcome, Severity
from app.verification.subject import Bench, Subject

_MEANS = {
    "keys": "What version {version} has done is not known under the new key and would be done again.",
    "breaking": "Callers and readers of version {version} meet this once the channel moves.",
}
_FIX = {
    "keys": "Keep the key as it was. For work that is meant to be done anew, give the effect a new id.",
    "breaking": "Keep it as it was, or make what is new optional; else tell those who call this tool before it is published.",
}


async def check_compatibility(subject: Subject, _bench: Bench, _seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """No key of an effect that stays has changed; every breaking change is a warning."""
    if subject.replaces is None:
        return GateOutcome([], {"replaces": None, "kept": {"nothing is replaced": True}})
    found = changes(subject.replaces.spec, subject.spec)
    findings = [_finding(change, subject.replaces.version) for change in found if change.kind != "compatible"]
    kept = {"keys": all(change.kind != "keys" for change in found)}
    counts = {kind: sum(change.kind == kind for change in found) for kind in ("compatible", "breaking", "keys")}
    told = [{"kind": change.kind, "path": change.path, "message": change.message} for change in found]
    return GateOutcome(findings, {"replaces": subject.replaces.version, "kept": kept, "counts": counts, "changes": told[:100]})


def _finding(change: Change, version: int) -> Finding:
    rule = "key_changed" if change.kind == "keys" else "breaking_change"
    severity: Severity = "error" if change.kind == "keys" else "warning"
    message = f"{change.path}: {change.message} {_MEANS[change.kind].format(version=version)}"
    return Finding(rule, message, _FIX[change.kind], severity, "spec.json")
