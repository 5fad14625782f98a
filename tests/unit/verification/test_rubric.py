"""Scores come from evidence; what is missing blocks."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.settings import Settings
from app.verification.findings import Finding, GateResult
from app.verification.report import assemble
from app.verification.rubric import DIMENSIONS, score, thresholds_of

THRESHOLDS = thresholds_of(Settings())
EVIDENCE: dict[str, dict[str, Any]] = {
    "spec": {},
    "imports": {},
    "ruff": {},
    "mypy": {},
    "examples": {"cases": [{"name": "a", "passed": True}, {"name": "b", "passed": True}], "errors_coded": {"a": True}},
    "effects": {"cases": [{"name": "a", "passed": True}]},
    "policy": {"refused": {"undeclared": True}},
    "tests": {"passed": 3, "collected": 3},
    "compatibility": {"kept": {"keys": True}},
    "properties": {"cases": [{"name": "inputs", "passed": True}]},
    "mutation": {"score": 0.9, "must_killed": {"an effect": True}},
    "path": {"observed": {"run_row": True}},
    "rollback": {"drill": {"answers": True}, "undo": 0.5},
    "cost": {"saving": 0.9},
    "annotations": {"proved": {"readOnlyHint": True}},
}


def results(**changes: GateResult) -> list[GateResult]:
    passed = {name: GateResult(name, "passed", 1, (), evidence) for name, evidence in EVIDENCE.items()}
    return list({**passed, **changes}.values())


def scores(**changes: GateResult) -> dict[str, tuple[float, bool]]:
    return {dimension.dimension: (dimension.score, dimension.passed) for dimension in score(results(**changes), THRESHOLDS)}


def test_a_clean_candidate_reaches_every_threshold() -> None:
    assert list(scores()) == ["correctness", "safety", "idempotency", "observability", "rollback", "cost"]
    assert all(passed for _, passed in scores().values())
    assert scores()["rollback"] == (0.9, True)
    assert assemble("cand_1", "d", results(), THRESHOLDS)["publishable"] is True


@pytest.mark.parametrize("gate", sorted({part.gate for parts in DIMENSIONS.values() for part in parts}))
def test_a_dimension_without_evidence_blocks(gate: str) -> None:
    skipped = {gate: GateResult(gate, "skipped")}
    blocked = [name for name, parts in DIMENSIONS.items() if any(part.gate == gate for part in parts)]
    found = score(results(**skipped), THRESHOLDS)
    assert [dimension.dimension for dimension in found if not dimension.passed] == blocked
    assert all(name.startswith(f"{gate}.") for dimension in found for name in dimension.missing)
    assert assemble("cand_1", "d", results(**skipped), THRESHOLDS)["publishable"] is False


def test_a_gate_that_noted_nothing_is_no_evidence() -> None:
    assert scores(examples=GateResult("examples", "passed", 1, (), {"cases": []}))["correctness"] == (0.625, False)


def test_scores_follow_the_evidence() -> None:
    half = GateResult("examples", "failed", 1, (), {"cases": [{"passed": True}, {"passed": False}], "errors_coded": {"a": True}})
    assert scores(examples=half)["correctness"] == (0.8, False)
    warned = GateResult("ruff", "passed", 1, (Finding("odd", "It is odd.", "Look.", severity="warning"),), {})
    assert scores(ruff=warned)["safety"] == (0.992, True)
    wrong = GateResult("mypy", "failed", 1, (Finding("wrong", "It is wrong.", "Mend."),), {})
    assert scores(mypy=wrong)["safety"] == (0.8, False)


def test_every_link_names_a_gate_a_fact_and_its_value() -> None:
    report = assemble("cand_1", "d", results(), THRESHOLDS)
    links = [link for dimension in report["rubric"] for link in dimension["evidence"]]
    assert len(links) == sum(len(parts) for parts in DIMENSIONS.values())
    assert all(set(link) == {"gate", "fact", "value", "weight", "at"} for link in links)


def test_every_link_can_be_followed_in_the_report() -> None:
    report = assemble("cand_1", "d", results(), THRESHOLDS)
    for link in (link for dimension in report["rubric"] for link in dimension["evidence"]):
        found: Any = report
        for step in link["at"].split("/")[1:]:
            found = found[int(step) if isinstance(found, list) else step]
        gate = report["gates"][int(link["at"].split("/")[2])]
        assert gate["gate"] == link["gate"] and found == (
            gate["findings"] if link["fact"] == "findings" else gate["evidence"][link["fact"]]
        )


def test_a_report_has_the_shape_of_the_interface_() -> None:
    report = assemble("cand_1", "d", results(), THRESHOLDS)
    assert list(report) == ["candidate_id", "digest", "publishable", "gates", "rubric", "verified_with", "difference"]
    finding = Finding("wrong", "It is wrong.", "Mend.").as_dict()
    assert set(finding) == {"rule", "severity", "file", "line", "message", "fix", "input", "expected", "got"}


def test_one_red_gate_is_not_publishable_even_where_all_scores_hold() -> None:
    red = GateResult("spec", "failed", 1, (Finding("spec_lint", "It is loose.", "Close it."),), {})
    assert assemble("cand_1", "d", results(spec=red), THRESHOLDS)["publishable"] is False


def test_thresholds_are_settings() -> None:
    strict = thresholds_of(Settings.from_env({"TOOLMINT_RUBRIC_ROLLBACK": "0.95"}))
    assert assemble("cand_1", "d", results(), strict)["publishable"] is False
