"""What examples do not say, generated calls find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.verification.findings import GateOutcome
from app.verification.properties_gate import check_properties
from tests.support.bench import Lab, rules, subject
from tests.support.specimens import TOOL, changed


def test_a_correct_tool_holds_on_calls_that_nobody_wrote_down(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_properties, subject(), scratch)
    assert outcome.passed, outcome.findings
    assert outcome.evidence["proposed"] == outcome.evidence["calls"] >= 50 and outcome.evidence["ends"]["result"] >= 20
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


def test_a_tool_that_spares_the_time_of_its_examples_is_seen_in_the_present(lab: Lab, scratch: Path) -> None:
    later = 'ctx.now().date().isoformat() > "2026-03-01"'
    tool = changed(TOOL, '"failed": counts["failed"],', f'"failed": counts["failed"] + int({later}),')
    (finding,) = lab.ask(check_properties, subject(tool=tool), scratch).findings
    assert finding.rule == "property_invariant" and "admits at 2" in finding.message


def test_the_same_candidate_is_tried_with_the_same_calls(lab: Lab, scratch: Path) -> None:
    first, second = (lab.ask(check_properties, subject(), scratch).evidence for _ in range(2))
    assert first == second


def test_a_call_that_does_not_end_is_told_with_its_input_and_calls_that_were_not_made_are_counted(lab: Lab, scratch: Path) -> None:
    def asked(tool: str, patience: float) -> GateOutcome:
        return lab.runner.run(check_properties(subject(tool=tool), replace(lab.bench(scratch), patience=patience), {}))

    loop = '    n = len(args["recipients"])\n    while n >= 0:\n        n += 1\n'
    outcome = asked(changed(TOOL, "    items = [letter", f"{loop}    items = [letter"), 0.05)
    assert rules(outcome.findings) == ["property_time"] and not outcome.passed
    assert outcome.findings[0].input["args"]["campaign"] and outcome.findings[0].fix

    outcome = asked(TOOL, 0.0)
    assert rules(outcome.findings) == ["property_calls"] and outcome.passed
    assert outcome.evidence["calls"] == 0 < outcome.evidence["proposed"]
