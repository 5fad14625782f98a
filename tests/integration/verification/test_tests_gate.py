"""The author's tests decide only where they exist, ran and held."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.verification.boxes import DYNAMIC
from app.verification.tests_gate import check_tests
from tests.support.bench import Lab, rules, subject
from tests.support.specimens import TESTS, TOOL, changed

HEAD = "import pytest\nfrom tool import run\n"


def test_the_specimens_tests_pass_and_are_counted(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_tests, subject(), scratch)
    assert outcome.passed, outcome.findings
    assert outcome.evidence["passed"] == outcome.evidence["collected"] == 3


def test_a_wrong_tool_is_told_by_the_assertion_that_failed(lab: Lab, scratch: Path) -> None:
    tool = changed(TOOL, '"sent": counts["done"],\n        "skipped"', '"sent": counts["done"] + 1,\n        "skipped"')
    (finding,) = lab.ask(check_tests, subject(tool=tool), scratch).findings
    assert finding.rule == "test_failed" and finding.file == "test_tool.py"
    assert "test_each_recipient_is_greeted_once" in finding.message and "assert" in finding.message
    assert finding.line == TESTS[: TESTS.index("assert t.result ==")].count("\n") + 1


@pytest.mark.parametrize(
    ("tests", "rule"),
    [
        ("from tool import run\n\nCASES = [run]\n", "no_tests"),
        ("from tool import walk\n\n\ndef test_x() -> None:\n    assert walk\n", "tests_unreadable"),
        (HEAD + "\n@pytest.mark.skip\ndef test_x() -> None:\n    assert False\n", "test_skipped"),
        (HEAD + "\n@pytest.mark.xfail\ndef test_x() -> None:\n    assert False\n", "test_skipped"),
        (
            HEAD + "\ndef test_a() -> None:\n    pytest.exit('no', returncode=0)\n\ndef test_b() -> None:\n    assert False\n",
            "test_ended",
        ),
        (HEAD + "\ndef test_x() -> None:\n    raise SystemExit(0)\n", "test_failed"),
        (
            HEAD + "\n@pytest.fixture\ndef f() -> None:\n    raise ValueError\n\ndef test_x(f: None) -> None:\n    pass\n",
            "test_failed",
        ),
    ],
)
def test_tests_that_prove_nothing_are_refused(lab: Lab, scratch: Path, tests: str, rule: str) -> None:
    assert rule in rules(lab.ask(check_tests, subject(tests=tests), scratch).findings)


@pytest.mark.parametrize("said", [b"", b"{}", b'{"exit": 0}', b"no JSON", b'{"exit": 0, "collected": 2, "tests": [], "broken": []}', b"[]"])
def test_a_run_that_its_tests_end_with_words_of_their_own_is_refused(lab: Lab, scratch: Path, said: bytes) -> None:
    tests = (
        f"import os\n\n\ndef test_x() -> None:\n    for place in range(3, 12):\n        try:\n            os.write(place, {said!r})\n"
        "        except OSError:\n            continue\n    os._exit(0)\n"
    )
    outcome = lab.ask(check_tests, subject(tests=tests), scratch)
    assert rules(outcome.findings) == ["test_ended"] and not outcome.passed


def test_a_test_sees_neither_the_held_out_examples_nor_the_network(lab: Lab, scratch: Path) -> None:
    tests = """
import json
import socket


def test_x() -> None:
    names = [example["name"] for example in json.load(open("spec.json"))["examples"]]
    assert names == ["two recipients", "one is refused for good", "no such campaign"]
    try:
        socket.create_connection(("127.0.0.1", 80), 0.2)
    except OSError:
        return
    raise AssertionError("there is a network")
"""
    outcome = lab.ask(check_tests, subject(tests=tests), scratch)
    assert outcome.passed, outcome.findings


def test_tests_that_do_not_end_are_cut(lab: Lab, scratch: Path) -> None:
    tests = HEAD + "\ndef test_x() -> None:\n    while True:\n        assert run\n"
    outcome = lab.ask(check_tests, subject(tests=tests), scratch, test_limits=replace(DYNAMIC, wall_s=1.0))
    assert rules(outcome.findings) == ["time_limit"]


SUMS = """from contract import Args, Result
from toolkit import Context


def run(args: Args, ctx: Context) -> Result:
    return args["n"] + 1
"""
PASSES = """from tool import run

BASE = 1


def test_one() -> None:
    assert run({"n": 1}, None) == BASE + 1


def test_two() -> None:
    assert run({"n": 2}, None) == 3


def test_three() -> None:
    assert run({"n": 3}, None) == 4
"""


@pytest.mark.parametrize(
    ("old", "new", "remembered", "passed"),
    [
        ("BASE = 1", "BASE = 1\n\n# a remark", 3, 3),
        ("== 3", "== 5", 2, 2),
        ("def test_two", "def test_new() -> None:\n    assert run({'n': 9}, None) == 10\n\n\ndef test_two", 3, 4),
        ("BASE = 1", "BASE = 2", 0, 2),
    ],
    ids=["a remark", "a test that fails now", "a test more", "another context"],
)
def test_tests_that_passed_on_this_tool_are_run_again_only_where_they_may_say_something_else(
    lab: Lab, scratch: Path, old: str, new: str, remembered: int, passed: int
) -> None:
    first = lab.ask(check_tests, subject(tool=SUMS, tests=PASSES), scratch)
    assert first.passed and first.evidence["remembered"] == 0
    outcome = lab.ask(check_tests, subject(tool=SUMS, tests=changed(PASSES, old, new)), scratch, seen={"tests": first.facts or {}})
    assert (outcome.evidence["remembered"], outcome.evidence["passed"]) == (remembered, passed), outcome
    assert outcome.passed == (passed == outcome.evidence["collected"])
