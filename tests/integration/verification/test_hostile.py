"""Candidates that exhaust what they run on: each is ended within its limits and named, and the next one is verified as if nothing had been.

The gates are asked directly, as if the allow-list had let these through. It refuses to be: an escape test; those stand in `tests/escape`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.sandbox import cgroups
from app.sandbox.limits import ProcessLimits
from app.sandbox.oneshot import PATIENCE
from app.verification.examples_gate import check_examples
from app.verification.static_gates import check_imports, check_mypy, check_ruff
from app.verification.tests_gate import check_tests
from tests.support.bench import Lab, rules, subject
from tests.support.specimens import TOOL, changed

TIGHT = ProcessLimits(memory_mb=160, cpu_s=3, wall_s=4, processes=16, output_bytes=1 << 20, disk_mb=8)
SLACK_S = 20.0

SUITES = (
    (
        "makes processes without end",
        "import os\n\n\ndef test_x() -> None:\n    while True:\n        os.fork()\n",
        {"test_ended", "test_failed"},
    ),
    (
        "fills memory",
        "def test_x() -> None:\n    held = []\n    while True:\n        held.append('x' * 10**6 + str(len(held)))\n",
        {"memory_limit", "test_failed"},
    ),
    (
        "prints without end",
        "def test_x() -> None:\n    while True:\n        print('x' * 10_000)\n",
        {"test_failed", "test_ended", "test_time", "memory_limit"},
    ),
    ("matches for ever", "import re\n\n\ndef test_x() -> None:\n    assert re.fullmatch('(a+)+b', 'a' * 40)\n", {"test_time"}),
    (
        "floods its folder",
        "def test_x() -> None:\n    for n in range(10**9):\n        open(f'f{n}', 'w').close()\n",
        {"test_time", "memory_limit", "test_failed"},
    ),
    (
        "is a flood of tests",
        "import pytest\n\n\n@pytest.mark.parametrize('n', range(10**8))\ndef test_x(n: int) -> None:\n    assert n\n",
        {"memory_limit", "time_limit", "resource_limit"},
    ),
)

TOOLS = (
    ("fills memory", '    held = ["x"]\n    while len(held) < 10**9:\n        held.append("x" * 10**6 + str(len(held)))\n', "MemoryError"),
    ("calls itself", "    def deeper(n: int) -> int:\n        return deeper(n) + 1\n\n    deeper(1)\n", "RecursionError"),
    ("answers with itself", "    whole: list[object] = []\n    whole.append(whole)\n    return whole\n", "no JSON"),
    ("answers with more than it may", '    return {"sent": "x" * 10**7}\n', "guest_"),
    (
        "acts without end",
        "    import itertools\n\n    endless = (letter(f'a{n}@example.com', 'x') for n in itertools.count())\n"
        '    for _ in ctx.perform_each("send", endless):\n        pass\n',
        "effect_limit_exceeded",
    ),
)


@pytest.fixture(autouse=True)
def the_next_candidate(lab: Lab, scratch: Path) -> Iterator[None]:
    """After each, nothing is left that another candidate could meet."""
    yield
    left = [path for parent in cgroups.parents().values() for path in parent.glob(f"toolmint-{os.getpid()}-*")]
    assert left == []


@pytest.mark.parametrize(("name", "tests", "expected"), SUITES, ids=[suite[0] for suite in SUITES])
def test_a_suite_that_exhausts_its_sandbox_is_ended_and_named(lab: Lab, scratch: Path, name: str, tests: str, expected: set[str]) -> None:
    began = time.monotonic()
    outcome = lab.ask(check_tests, subject(tests=tests), scratch, test_limits=TIGHT)
    assert time.monotonic() - began < TIGHT.wall_s * PATIENCE + SLACK_S
    assert rules(outcome.findings) and set(rules(outcome.findings)) <= expected, outcome.findings
    assert all(finding.message and finding.fix for finding in outcome.findings)
    assert sum(len(str(finding.as_dict())) for finding in outcome.findings) < 30_000


@pytest.mark.parametrize(("name", "body", "said"), TOOLS, ids=[tool[0] for tool in TOOLS])
def test_a_tool_that_exhausts_its_guest_is_ended_and_named(lab: Lab, scratch: Path, name: str, body: str, said: str) -> None:
    tool = changed(TOOL, "    counts = {", body + "    counts = {")
    outcome = lab.ask(check_examples, subject(tool=tool), scratch)
    assert not outcome.passed and any(said in finding.message for finding in outcome.findings), outcome.findings


def test_the_next_candidate_is_verified_as_if_nothing_had_been(lab: Lab, scratch: Path) -> None:
    for check in (check_imports, check_tests, check_examples):
        assert lab.ask(check, subject(), scratch).passed


@pytest.mark.parametrize("text", ["lambda: " * 3000 + "1", "a if b else " * 4000 + "c"], ids=["functions", "choices"])
def test_text_that_is_made_to_break_readers_is_refused_and_breaks_none(lab: Lab, scratch: Path, text: str) -> None:
    candidate = subject(tool=f"x = {text}\n")
    outcomes = [lab.ask(check, candidate, scratch) for check in (check_imports, check_ruff, check_mypy)]
    assert rules(outcomes[0].findings) == ["syntax"] and not outcomes[2].passed
    assert all(finding.message and finding.fix for outcome in outcomes for finding in outcome.findings)
