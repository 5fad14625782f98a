"""Spec, imports, ruff and mypy, each in the sandbox, on a correct candidate and on defective ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.verification.static_gates import check_imports, check_mypy, check_ruff, check_spec
from tests.support.bench import Lab, rules, subject
from tests.support.specimens import TESTS, TOOL, changed, specimen_spec


def test_the_specimen_passes_every_static_gate(lab: Lab, scratch: Path) -> None:
    for check in (check_spec, check_imports, check_ruff, check_mypy):
        outcome = lab.ask(check, subject(), scratch)
        assert outcome.passed and not outcome.findings, outcome.findings


def test_a_spec_of_another_tool_or_without_examples_is_refused(lab: Lab, scratch: Path) -> None:
    spec = specimen_spec(name="other", examples=())
    outcome = lab.ask(check_spec, subject(spec=spec), scratch)
    assert "no_examples" in rules(outcome.findings)
    loose = specimen_spec(inputs={"type": "object"})
    outcome = lab.ask(check_spec, subject(spec=loose), scratch)
    assert set(rules(outcome.findings)) == {"spec_lint"} and all(finding.fix for finding in outcome.findings)


def test_files_of_the_wrong_form_are_refused(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_spec, subject(tool=TOOL + "\n# \u202e\n", tests=""), scratch)
    assert rules(outcome.findings) == ["files", "files"]


def test_a_forbidden_import_is_refused_with_its_line_and_the_facts_are_kept(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_imports, subject(tool=changed(TOOL, "from contract", "import socket\nfrom contract")), scratch)
    assert [(finding.rule, finding.file, finding.line) for finding in outcome.findings] == [("import", "tool.py", 5)]
    assert [call["id"] for call in outcome.evidence["calls"]] == ["sender", "send"]


@pytest.mark.parametrize("text", ["-" * 50_000 + "1", "9" * 5000, " + ".join(["1"] * 20_000), "(" * 5000 + ")" * 5000])
def test_text_that_breaks_a_checker_is_the_candidates_fault(lab: Lab, scratch: Path, text: str) -> None:
    outcomes = [lab.ask(check, subject(tool=f"x = {text}\n"), scratch) for check in (check_imports, check_mypy)]
    assert not any(outcome.passed for outcome in outcomes)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("ToolError\n\n\ndef", "ToolError\n\nimport json\n\n\ndef", "ruff:F401"),
        ("    ctx.log(", '    print("sent")\n    ctx.log(', "ruff:T201"),
        ("    ctx.log(", "    try:\n        pass\n    except Exception:\n        pass\n    ctx.log(", "ruff:BLE001"),
        ("    ctx.log(", "    missing.append(1)\n    ctx.log(", "ruff:F821"),
        ("    ctx.log(", "    missing.append(1)  # noqa: F821\n    ctx.log(", "ruff:F821"),
    ],
)
def test_ruff_refuses_with_its_own_rule(lab: Lab, scratch: Path, old: str, new: str, rule: str) -> None:
    assert rule in rules(lab.ask(check_ruff, subject(tool=changed(TOOL, old, new)), scratch).findings)


def test_ruff_lets_a_test_assert_and_finds_its_unused_names(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_ruff, subject(tests="import json\n" + TESTS), scratch)
    assert [(finding.rule, finding.file) for finding in outcome.findings] == [("ruff:F401", "test_tool.py")]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('"unknown": counts["unknown"],', '"unknown": "none",', "typeddict-item"),
        ('"failed": counts["failed"],\n', "", "typeddict-item"),
        ('args["recipients"]]', 'args["people"]]', "typeddict-item"),
        ('"text": "Good morning."}', '"body": "Good morning."}', "typeddict-item"),
        ("counts[outcome.status] += 1", "counts[outcome.state] += 1", "attr-defined"),
        ("def letter(to: str, name: str) -> SendItem:", "def letter(to, name):", "no-untyped-def"),
    ],
)
def test_mypy_holds_the_tool_to_its_contract(lab: Lab, scratch: Path, old: str, new: str, rule: str) -> None:
    found = lab.ask(check_mypy, subject(tool=changed(TOOL, old, new)), scratch).findings
    assert f"mypy:{rule}" in rules(found), found
    assert all(finding.line and finding.file == "tool.py" for finding in found)
