"""What changed against the version that is replaced is told from the two reports: scores, gates, findings."""

from __future__ import annotations

from typing import Any

from app.verification.against import against
from app.verification.findings import Finding, GateResult
from app.verification.report import assemble
from app.verification.subject import Replaced
from tests.support.specimens import specimen_spec
from tests.unit.verification.test_rubric import THRESHOLDS, results

OLD_WARNING = Finding("odd", "It was odd.", "Look.", severity="warning", file="tool.py", line=3)
MOVED = Finding("odd", "It is odd.", "Look.", severity="warning", file="tool.py", line=7)


def report(**changes: GateResult) -> dict[str, Any]:
    return assemble("cand_1", "d", results(**changes), THRESHOLDS)


def ruff(*findings: Finding) -> dict[str, GateResult]:
    return {"ruff": GateResult("ruff", "passed", 1, findings, {})}


def test_a_first_version_differs_from_nothing() -> None:
    assert report()["difference"] is None


def test_scores_are_set_side_by_side_in_the_rubrics_order() -> None:
    worse = {"mutation": GateResult("mutation", "passed", 1, (), {"score": 0.7})}
    found = against(3, report(), report(**worse))
    assert (
        found["version"] == 3
        and found["known"]
        and [row["dimension"] for row in found["scores"]]
        == [*("correctness", "safety", "idempotency", "observability", "rollback", "cost")]
    )
    assert found["scores"][0] == {"dimension": "correctness", "before": 0.975, "after": 0.925, "change": -0.05}
    assert all(row["change"] == 0 for row in found["scores"][1:]) and found["gates"] == []


def test_gates_that_changed_are_named_also_those_that_one_report_does_not_have() -> None:
    before = report(mypy=GateResult("mypy", "failed", 1, (), {}))
    before["gates"] = [gate for gate in before["gates"] if gate["gate"] != "annotations"]
    assert against(3, before, report())["gates"] == [
        {"gate": "mypy", "before": "failed", "after": "passed"},
        {"gate": "annotations", "before": None, "after": "passed"},
    ]


def test_findings_are_new_or_gone_by_what_they_say_and_not_by_their_line() -> None:
    before, after = report(**ruff(OLD_WARNING, MOVED)), report(**ruff(Finding("odd", "It is odd.", "Look.", "warning", "tool.py", 9)))
    found = against(3, before, after)["findings"]
    assert found["new"] == []
    assert [(row["gate"], row["message"], row["line"]) for row in found["gone"]] == [("ruff", "It was odd.", 3)]
    assert [row["message"] for row in against(3, after, before)["findings"]["new"]] == ["It was odd."]


def test_a_held_out_finding_stays_marked() -> None:
    hidden = Finding("example_result", "Example 'x': …", "Mend.", held_out=True)
    after = report(examples=GateResult("examples", "failed", 1, (hidden,), {}))
    assert against(1, report(), after)["findings"]["new"][0]["held_out"] is True


def test_a_version_whose_report_is_gone_is_named_all_the_same() -> None:
    found = assemble("cand_1", "d", results(), THRESHOLDS, Replaced(5, specimen_spec()))["difference"]
    assert found == {"version": 5, "known": False, "scores": [], "gates": [], "findings": {"new": [], "gone": []}}
