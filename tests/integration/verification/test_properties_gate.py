"""What examples do not say, generated calls find."""

from __future__ import annotations

from pathlib import Path

from app.verification.properties_gate import check_properties
from tests.support.bench import Lab, rules, subject
from tests.support.specimens import TOOL, changed


def test_a_correct_tool_holds_on_calls_that_nobody_wrote_down(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_properties, subject(), scratch)
    assert outcome.passed, outcome.findings
    assert outcome.evidence["calls"] >= 50 and outcome.evidence["ends"]["result"] >= 20
    assert all(case["passed"] for case in outcome.evidence["cases"])


def test_a_crash_is_found_and_told_with_a_small_input(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, "    items = [letter", '    if len(args["recipients"]) > 3:\n        raise KeyError("crowd")\n    items = [letter')
    (finding,) = lab.ask(check_properties, subject(tool=tool), scratch).findings
    assert finding.rule == "property_crash" and "KeyError" in finding.message and finding.line
    assert len(finding.input["args"]["recipients"]) == 4, "it was made as small as it can be"
    assert finding.fix.startswith("Handle what the schema admits")


def test_a_count_that_is_wrong_for_some_inputs_breaks_an_invariant(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, '"failed": counts["failed"],', '"failed": counts["failed"] + (1 if len(args["recipients"]) > 2 else 0),')
    findings = lab.ask(check_properties, subject(tool=tool), scratch).findings
    assert rules(findings) == ["property_invariant"], findings


def test_the_same_candidate_is_tried_with_the_same_calls(lab: Lab, scratch: Path) -> None:
    first, second = (lab.ask(check_properties, subject(), scratch).evidence for _ in range(2))
    assert first == second
