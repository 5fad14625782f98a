"""How a candidate looks from outside: the JSON values of REST and MCP, from rows.

It refuses to be: a reader of rows, or a decision on who may see them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.candidates.models import Approval, Candidate, GateResult
from app.core import clock


def candidate_shape(row: Candidate) -> dict[str, Any]:
    """`{"id", "tool", "spec_revision", "state", "approval", "author", "version", …}`."""
    return {
        "id": row.id,
        "tool": row.tool,
        "spec_revision": row.spec_revision,
        "state": row.state,
        "approval": row.approval,
        "author": row.author,
        "version": row.version,
        "digest": row.digest,
        "notes": row.notes,
        "full_report": row.full_report,
        "generation_id": row.generation_id,
        "report_digest": row.report_digest,
        "error": row.error,
        "trace_id": row.trace_id,
        "created_at": clock.iso(row.created_at),
        "updated_at": clock.iso(row.updated_at),
    }


def gate_shape(row: GateResult) -> dict[str, Any]:
    """One gate as a report shows it; a gate under way has the status `running`."""
    shape = {"gate": row.gate, "status": row.status, "duration_ms": row.duration_ms, "findings": row.findings, "evidence": row.evidence}
    return {**shape, "kept": row.kept} if row.kept else shape


def approval_shape(row: Approval) -> dict[str, Any]:
    return {
        "id": row.id,
        "candidate_id": row.candidate_id,
        "decision": row.decision,
        "reason": row.reason,
        "actor": row.actor,
        "at": clock.iso(row.at),
    }


def report_shape(row: Candidate, gates: Sequence[GateResult]) -> dict[str, Any]:
    """The stored report; before there is one, what the gates have seen so far, which publishes nothing."""
    if row.report is not None:
        report: dict[str, Any] = json.loads(row.report)
        return report
    return {"candidate_id": row.id, "digest": row.digest, "publishable": False, "gates": [gate_shape(gate) for gate in gates], "rubric": []}


FINDINGS = 8


def short_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report without what only an auditor reads: no evidence where it passed, eight findings a gate; `left_out` says so."""
    gates = [{**_without(gate, "evidence"), "findings": gate["findings"][:FINDINGS]} for gate in report["gates"]]
    rubric = [{**_without(row, "evidence", "missing"), "evidence": []} if row["passed"] else dict(row) for row in report["rubric"]]
    more = sum(max(0, len(gate["findings"]) - FINDINGS) for gate in report["gates"])
    said = "the evidence of gates and of what passed" + (f", and {more} more findings" if more else "")
    return {**report, "gates": gates, "rubric": rubric, "left_out": f"{said}; full: true gives all of it"}


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


HIDDEN = "A held-out case does not hold; it is not shown to authors."


def without_held_out(value: Any) -> Any:
    """The same JSON, where each object marked `"held_out": true` keeps no input, expectation, outcome, name or wording."""
    if isinstance(value, list):
        return [without_held_out(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("held_out") is True:
        kept = {key: value[key] for key in ("gate", "rule", "severity", "status", "passed") if key in value}
        return {**kept, "held_out": True, "message": HIDDEN, "fix": "Satisfy the spec in general, not its visible examples alone."}
    return {key: without_held_out(part) for key, part in value.items()}
