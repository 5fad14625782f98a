"""The short form of a report keeps what an author must act on and says what it leaves out."""

from __future__ import annotations

from typing import Any

from app.candidates.shapes import FINDINGS, short_report


def report() -> dict[str, Any]:
    findings = [{"rule": "r", "message": str(number)} for number in range(FINDINGS + 3)]
    gates = [
        {"gate": "spec", "status": "passed", "duration_ms": 1, "findings": [], "evidence": {"cases": 9}},
        {"gate": "tests", "status": "failed", "duration_ms": 2, "findings": findings, "evidence": {}},
    ]
    row = {"score": 1.0, "threshold": 0.9, "evidence": [{"gate": "spec"}], "missing": []}
    rubric = [{**row, "dimension": "safety", "passed": True}, {**row, "dimension": "cost", "passed": False}]
    return {"candidate_id": "c", "digest": "d", "publishable": False, "gates": gates, "rubric": rubric}


def test_a_short_report_has_every_gate_and_score_and_the_evidence_of_what_failed() -> None:
    short = short_report(report())
    assert [(gate["gate"], gate["status"], gate["duration_ms"]) for gate in short["gates"]] == [
        ("spec", "passed", 1),
        ("tests", "failed", 2),
    ]
    assert len(short["gates"][1]["findings"]) == FINDINGS and "evidence" not in short["gates"][0]
    assert [row["evidence"] for row in short["rubric"]] == [[], [{"gate": "spec"}]]
    assert "3 more findings" in short["left_out"] and "full: true" in short["left_out"]


def test_shortening_leaves_the_report_as_it_is() -> None:
    whole = report()
    short_report(whole)
    assert whole == report()
