"""The proof of a version's hints, as its signed report holds it, and what callers are told of it.

It refuses to be: a second copy. What was proved stands in the report alone; the report is in the version's evidence bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.spec.annotations import HINTS

GATE = "annotations"
_TOLD = ("runs", "reads", "effects", "repeats", "added", "undone")
FROM_SPEC: Mapping[str, Any] = {"from": "spec"}

Proof = Mapping[str, Any]
"""`{"hints", "runs", "reads", "effects", "repeats", "added", "undone"}`: the facts of the gate that proves hints."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an answer names as its version's evidence: the digest of the report, and on what the version's hints rest."""

    report: str = ""
    annotations: Mapping[str, Any] = field(default_factory=lambda: FROM_SPEC)


def proof_in(report: Mapping[str, Any]) -> Proof | None:
    """The proof that a report holds; None where its gate did not pass, or its facts are not those of this release."""
    for gate in report.get("gates", ()):
        facts = gate.get("evidence") or {}
        if gate["gate"] == GATE and gate["status"] == "passed" and facts.keys() >= {"hints", *_TOLD} and _complete(facts["hints"]):
            return {name: facts[name] for name in ("hints", *_TOLD)}
    return None


def _complete(hints: Any) -> bool:
    return isinstance(hints, dict) and hints.keys() == set(HINTS) and all(isinstance(hint, bool) for hint in hints.values())


def told(proof: Proof | None) -> Mapping[str, Any]:
    """`{"from": "runs", "runs", "reads", "effects", "repeats", "added", "undone"}`, or `{"from": "spec"}` of what has no proof."""
    return FROM_SPEC if proof is None else {"from": "runs", **{name: proof[name] for name in _TOLD}}
