"""Tests are worth what they notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.verification.mutation_gate import MOST, check_mutation
from tests.support.bench import Lab, rules, subject
from tests.support.specimens import TESTS, changed

HEAD = "from tool import run\nfrom toolkit.testing import trial\n\n" + TESTS[TESTS.index("WORLD") : TESTS.index("def test_each")]

VACUOUS = (
    HEAD
    + """
def test_everything_runs() -> None:
    for campaign in ("spring", "none"):
        t = trial(run, {**ARGS, "campaign": campaign}, world=WORLD)
        assert t is not None
    trial(run, ARGS, after=trial(run, ARGS, world=WORLD))
"""
)


def test_a_suite_that_asserts_results_errors_and_whole_items_passes(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_mutation, subject(), scratch)
    assert outcome.passed, outcome.findings
    assert outcome.evidence["score"] >= 0.8 and outcome.evidence["tried"] == outcome.evidence["of"]
    assert all(outcome.evidence["must_killed"].values())


def test_a_suite_that_reaches_every_line_and_asserts_nothing_is_refused(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_mutation, subject(tests=VACUOUS), scratch)
    assert not outcome.passed
    assert {"mutation_score", "mutant_survived"} == set(rules(outcome.findings))
    assert outcome.evidence["coverage"] >= 0.95 and outcome.evidence["score"] < 0.6, "coverage is shown and gates nothing"
    assert all(survivor["test"].startswith("Write ") for survivor in outcome.evidence["survivors"])
    deleted = next(finding for finding in outcome.findings if "performs nothing" in finding.message)
    assert deleted.file == "tool.py" and deleted.line and "every test still passes" in deleted.message
    assert deleted.fix == "Write a test that asserts this effect in trial(…).effects, with its item and status."


def test_one_item_field_that_no_test_looks_at_is_enough_to_refuse(lab: Lab, scratch: Path) -> None:
    tests = changed(
        TESTS, 'assert t.items("send") == [letter("a@example.com"), letter("b@example.com")]', 'assert len(t.items("send")) == 2'
    )
    findings = lab.ask(check_mutation, subject(tests=tests), scratch).findings
    assert set(rules(findings)) == {"mutant_survived"}
    assert {finding.message.split("the item's ")[1].split(" ")[0] for finding in findings} == {"'subject'", "'text'"}


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("    import tool\n    tool.run = lambda args, ctx: None\n    assert tool.run(None, None) is None", "mutant_survived"),
        ("    import os\n    os._exit(0)", "tests_ended"),
    ],
    ids=["replaces the tool", "ends its runner"],
)
def test_a_suite_that_tries_something_else_than_the_tool_is_refused(lab: Lab, scratch: Path, body: str, rule: str) -> None:
    tests = f"from tool import run\n\n\ndef test_x() -> None:\n{body}\n    assert run\n"
    outcome = lab.ask(check_mutation, subject(tests=tests), scratch)
    assert rule in rules(outcome.findings), outcome.findings


def test_a_mutant_that_never_ends_is_noticed_by_its_time(lab: Lab, scratch: Path) -> None:
    tool = (
        '"""Counts."""\n\nfrom contract import Args, Result\nfrom toolkit import Context\n\n\n'
        "def run(args: Args, ctx: Context) -> Result:\n    left = 3\n    while left > 0:\n        left -= 1\n    return left\n"
    )
    tests = "from tool import run\n\n\ndef test_it_ends() -> None:\n    assert run({}, None) == 0\n"
    outcome = lab.ask(check_mutation, subject(tool=tool, tests=tests), scratch)
    assert outcome.passed, outcome.findings


CLASSES = """from enum import Enum

from contract import Args, Result
from toolkit import Context


class Percent(Enum):
    LOW = 7


class Bounds:
    MOST = 100


def run(args: Args, ctx: Context) -> Result:
    return {"tax": min(args["net"] * Percent.LOW.value, Bounds.MOST)}
"""


def test_what_stands_in_the_body_of_a_class_is_changed_for_the_tests_as_well(lab: Lab, scratch: Path) -> None:
    tests = (
        "from tool import Percent, run\n\n\ndef test_a_tax() -> None:\n    assert [p.value for p in Percent] == [7]\n"
        "    assert [run({'net': n}, None) for n in (2, 99)] == [{'tax': 14}, {'tax': 100}]\n"
    )
    outcome = lab.ask(check_mutation, subject(tool=CLASSES, tests=tests), scratch)
    assert outcome.passed and outcome.evidence["score"] == 1.0, outcome.evidence


def test_a_tool_with_more_changes_to_be_noticed_than_are_tried_is_told_to_be_shortened(lab: Lab, scratch: Path) -> None:
    padding = "".join(f"    if args['n'] == {n}:\n        return {{'n': {n}}}\n" for n in range(MOST + 1))
    tool = "from contract import Args, Result\nfrom toolkit import Context\n\n\ndef run(args: Args, ctx: Context) -> Result:\n"
    findings = lab.ask(check_mutation, subject(tool=f"{tool}{padding}    return {{}}\n"), scratch).findings
    assert rules(findings) == ["too_many_changes"] and "601 conditions" in findings[0].message


SUMS = """from contract import Args, Result
from toolkit import Context


def run(args: Args, ctx: Context) -> Result:
    left = args["n"] - 2
    if left > 40:
        return {"sum": left + 19}
    return {"sum": left - 4}
"""
NOTICES = """from tool import run


def test_small() -> None:
    assert run({"n": 5}, None) == {"sum": -1}


def test_large() -> None:
    assert run({"n": 43}, None) == {"sum": 60}


def test_between() -> None:
    assert run({"n": 42}, None) == {"sum": 36}
"""
"""Some mutants are noticed by `test_large` alone, and to others it says nothing, however long each test takes."""


@pytest.mark.parametrize(
    ("old", "new", "remembered"),
    [
        ("def test_between", "def test_more() -> None:\n    assert run({'n': 50}, None)['sum'] == 67\n\n\ndef test_between", "all"),
        ("== {'sum': 60}", "!= {'sum': 59}", "some"),
        ("    assert run({'n': 43}, None) == {'sum': 60}", "    pass", "some"),
        ("from tool import run", "from tool import run\n\nLEAST = 1", "none"),
    ],
    ids=["a test more", "a weaker test", "a test that says nothing", "another context"],
)
def test_after_a_change_of_a_test_mutants_are_judged_as_if_nothing_were_remembered(
    lab: Lab, scratch: Path, old: str, new: str, remembered: str
) -> None:
    first = lab.ask(check_mutation, subject(tool=SUMS, tests=NOTICES), scratch)
    assert first.passed and first.facts and first.evidence["remembered"] == 0, first.findings
    assert first.evidence["score"] == 1.0
    large = [name for name, _ in first.facts["tests"]].index("test_tool.py::test_large")
    without = sum(large not in tests for _, _, tests in first.facts["mutants"])
    assert 0 < without < len(first.facts["mutants"]) == first.evidence["tried"]
    other = subject(tool=SUMS, tests=changed(NOTICES.replace('"', "'"), old, new))
    anew = lab.ask(check_mutation, other, scratch)
    built_on = lab.ask(check_mutation, other, scratch, seen={"mutation": first.facts})
    assert built_on.evidence["remembered"] == {"all": first.evidence["tried"], "some": without, "none": 0}[remembered]
    assert built_on.findings == anew.findings
    assert {**built_on.evidence, "remembered": 0} == anew.evidence
