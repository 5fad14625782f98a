"""Findings and outcomes: what a gate says about a candidate, as values in the shape of a report.

It refuses to be: prose. A finding names its rule and says how to mend it; where it comes from a run it has input, expected and got.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from app.core.errors import Problem

Severity = Literal["error", "warning"]
Status = Literal["passed", "failed", "skipped"]
MOST_FINDINGS = 50
MOST_VALUE = 4000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing seen. `held_out`: it tells of a case that authors must not see; readers without the permission get it masked."""

    rule: str
    message: str
    fix: str
    severity: Severity = "error"
    file: str | None = None
    line: int | None = None
    input: Any = None
    expected: Any = None
    got: Any = None
    held_out: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Finding:
        """From the JSON of a program that ran inside the sandbox, or of a stored result."""
        return cls(**{name: row[name] for name in cls.__slots__ if name in row})

    @classmethod
    def of_problem(cls, rule: str, problem: Problem, file: str | None = None) -> Finding:
        return cls(rule, f"{problem.path}: {problem.message}", problem.fix, file=file)

    def as_dict(self) -> dict[str, Any]:
        """The report's shape; `held_out` only where it is true."""
        row = {name: getattr(self, name) for name in ("rule", "severity", "file", "line", "message", "fix")}
        row |= {name: _bounded(getattr(self, name)) for name in ("input", "expected", "got")}
        return {**row, "held_out": True} if self.held_out else row


def _bounded(value: Any) -> Any:
    """The value, or the beginning of its JSON text where it would swell the report."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return value if len(text) <= MOST_VALUE else f"{text[:MOST_VALUE]} … ({len(text)} characters of JSON)"


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """What a gate saw. `evidence` are measured facts, JSON; the rubric is computed from them and from the findings.

    `facts`, JSON too, are what the gate would know the next time, where it passed and what they depend on is the same.
    """

    findings: Sequence[Finding] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] | None = None

    @property
    def passed(self) -> bool:
        return all(finding.severity != "error" for finding in self.findings)


@dataclass(frozen=True, slots=True)
class GateResult:
    """One line of a report. `kept`: it was not computed now but in the verification of `candidate_id`, then (`at`), on equal inputs."""

    gate: str
    status: Status
    duration_ms: int = 0
    findings: tuple[Finding, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, gate: str, outcome: GateOutcome, duration_ms: int) -> GateResult:
        ordered = sorted(outcome.findings, key=lambda finding: finding.severity)
        return cls(gate, "passed" if outcome.passed else "failed", duration_ms, tuple(ordered[:MOST_FINDINGS]), dict(outcome.evidence))

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def as_dict(self) -> dict[str, Any]:
        row = {
            "gate": self.gate,
            "status": self.status,
            "duration_ms": self.duration_ms,
            "findings": [finding.as_dict() for finding in self.findings],
            "evidence": dict(self.evidence),
        }
        return {**row, "kept": dict(self.kept)} if self.kept else row

    @classmethod
    def from_dict(cls, row: Mapping[str, Any], kept: Mapping[str, Any]) -> GateResult:
        """The reverse, for a result that was kept."""
        findings = tuple(Finding.of(finding) for finding in row["findings"])
        return cls(row["gate"], row["status"], row["duration_ms"], findings, row["evidence"], kept)
