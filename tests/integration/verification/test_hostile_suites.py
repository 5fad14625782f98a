"""Suites that would have a wrong tool pass: what stands behind the allow-list refuses each by name.

`test_suites` shows that the allow-list refuses most of them before they run. Here they run, as if it had not: each test is in a process of
its own, only the runner is believed, and decoys among the mutants tell a suite that looks at anything but what the tool does.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import CodeType

from app.verification.boxes import ask
from app.verification.examples_gate import check_examples
from app.verification.mutation_gate import check_mutation
from app.verification.static_gates import check_imports
from app.verification.tests_gate import check_tests
from tests.support.bench import Lab, rules, subject
from tests.support.specimens import TESTS, TOOL, changed


def functions_of(text: str) -> dict[str, CodeType]:
    return {part.co_name: part for part in compile(text, "tool.py", "exec", dont_inherit=True).co_consts if isinstance(part, CodeType)}


HEAD = "from tool import run\nfrom toolkit.testing import trial\n\n" + TESTS[TESTS.index("WORLD") : TESTS.index("def letter")]
RUNS_ALL = "    t = trial(run, ARGS, world=WORLD)\n    trial(run, {**ARGS, 'campaign': 'none'}, world=WORLD)\n    assert t\n"

ONCE_ONLY = HEAD + "def test_it_runs() -> None:\n    open('ran', 'x').close()\n" + RUNS_ALL
"""Asserts nothing of the tool and fails from its second run on: it would notice every mutant."""

READS_CODE = (
    HEAD
    + "def test_it_runs() -> None:\n"
    + RUNS_ALL
    + f"    assert run.__code__.co_code.hex() == {functions_of(TOOL)['run'].co_code.hex()!r}\n"
)

EMPTIES_THE_PLAN = """import gc
from typing import Any

import pytest
import tool
from tool import RATES, run

for found in gc.get_objects():
    if isinstance(found, dict) and "most" in found:
        found["most"] = found["others"] = 0
    if isinstance(found, list) and any(type(part).__name__ == "Mutant" for part in found):
        found.clear()


class Deaf:
    def pytest_runtest_protocol(self) -> bool:
        return True


def reached(fixture_name: str, config: Any) -> str:
    config.pluginmanager.register(Deaf())
    for _, plugin in config.pluginmanager.list_name_plugin():
        for name in ("most", "others", "total"):
            if hasattr(plugin, name):
                setattr(plugin, name, 0)
    return "function"


SEEN: list[int] = []


@pytest.fixture(scope=reached)
def n() -> int:
    SEEN.append(1)
    return 2


def test_it_runs(n: int) -> None:
    assert run({"n": n}, None) is not None
    assert len(SEEN) == 1 or tool.RATES is not RATES
    with pytest.raises(AttributeError):
        print(tool._DONE)
"""
"""Reaches, one way or another, whatever its own process holds, and looks for signs of which one it is in."""

SUMS = """from contract import Args, Result
from toolkit import Context

RATES = {"low": 7, "high": 19}


def run(args: Args, ctx: Context) -> Result:
    return {"sum": args["n"] * RATES["high"] + RATES["low"]}
"""

TAMPERS = """import builtins
import os
import sys

import toolkit.testing
import tool
from tool import run
from toolkit import Context
from toolkit.testing import trial


def put(owner, name, value) -> None:
    setattr(owner, name, value)


def test_replaces_a_function_of_the_tool() -> None:
    put(tool, "letter", lambda to, name: {})


def test_gives_a_function_other_code() -> None:
    run.__code__ = (lambda args, ctx: {}).__code__


def test_replaces_the_trial() -> None:
    put(toolkit.testing, "trial", lambda *given, **more: None)


def test_replaces_a_call_of_the_context() -> None:
    put(Context, "perform_each", lambda *given: iter(()))


def test_replaces_a_word_of_the_language() -> None:
    put(builtins, "divmod", lambda one, other: (1, 1))


def test_leaves_files_that_others_might_load() -> None:
    for name in ("conftest.py", "sitecustomize.py", "usercustomize.py", "tool.py", "pytest.py"):
        with open(name, "w") as file:
            file.write("raise SystemExit(0)")


def test_answers_in_its_runners_place() -> None:
    for place in range(3, 30):
        try:
            os.write(place, b'{"outcome": "passed", "ms": 1, "changed": [], "token": ""}')
        except OSError:
            continue
    os._exit(0)


def test_is_seen_by_none_of_these() -> None:
    assert trial(run, {"campaign": "none", "recipients": []}).error == {
        "code": "campaign_not_found",
        "message": "There is no campaign 'none'.",
    }
    assert "conftest" not in sys.modules
"""


def test_each_way_of_changing_what_is_tested_is_told_by_the_test_that_did_it(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_tests, subject(tests=TAMPERS), scratch)
    told = {finding.message.split(" ", 1)[0]: (finding.rule, finding.message) for finding in outcome.findings}
    assert {name: rule for name, (rule, _) in told.items()} == {
        "test_replaces_a_function_of_the_tool": "tampering",
        "test_gives_a_function_other_code": "tampering",
        "test_replaces_the_trial": "tampering",
        "test_replaces_a_call_of_the_context": "tampering",
        "test_replaces_a_word_of_the_language": "tampering",
        "test_answers_in_its_runners_place": "test_ended",
    }
    assert "changed toolkit.context.Context.perform_each" in told["test_replaces_a_call_of_the_context"][1]
    assert all(finding.fix and finding.file == "test_tool.py" and finding.line for finding in outcome.findings)
    assert outcome.evidence["passed"] == 7, "no test sees what another did"


def test_what_is_changed_while_the_suite_is_imported_is_told_too(lab: Lab, scratch: Path) -> None:
    tests = "import tool\n\nsetattr(tool, 'run', lambda args, ctx: {})\n\n\ndef test_x() -> None:\n    assert tool.run({}, None) == {}\n"
    (finding,) = lab.ask(check_tests, subject(tests=tests), scratch).findings
    assert finding.rule == "tampering" and finding.message.startswith("Importing test_tool.py changed tool.run")


def test_a_report_that_the_suite_writes_itself_is_not_believed(lab: Lab, scratch: Path) -> None:
    row = {"name": "test_x", "outcome": "passed", "ms": 1, "line": 1}
    said = json.dumps({"token": "", "collected": 1, "tests": [row], "broken": [], "changed": []})
    forged = (
        f"import os\n\nfor place in range(1, 30):\n    try:\n        os.write(place, {said!r}.encode())\n"
        "    except OSError:\n        continue\nos._exit(0)\n"
    )
    assert rules(lab.ask(check_tests, subject(tests=forged), scratch).findings) == ["tests_ended"]
    assert rules(lab.ask(check_mutation, subject(tests=forged), scratch).findings) == ["tests_ended"]


def test_a_suite_that_ends_its_runner_is_refused(lab: Lab, scratch: Path) -> None:
    tests = "import os\nimport signal\n\n\ndef test_x() -> None:\n    os.kill(os.getppid(), signal.SIGKILL)\n"
    outcome = lab.ask(check_tests, subject(tests=tests), scratch)
    assert rules(outcome.findings) == ["resource_limit"] and not outcome.passed


def test_a_suite_that_fails_from_its_second_run_on_is_told_by_the_tool_itself(lab: Lab, scratch: Path) -> None:
    candidate = subject(tests=ONCE_ONLY)
    assert "builtin" in rules(lab.ask(check_imports, candidate, scratch).findings) and lab.ask(check_tests, candidate, scratch).passed
    request = {"module": "tool", "path": "tool.py", "tests": ["test_tool.py"], "most": 20, "seed": "x"}
    files = {**candidate.files, "contract.py": candidate.contract, "spec.json": candidate.guest_spec}
    answer = lab.runner.run(ask(lab.sandbox, "run_mutants", request, files=files))
    assert {row["status"] for row in answer["mutants"]} == {"killed"}, "without decoys it would have the best score that there is"
    assert rules(lab.ask(check_mutation, candidate, scratch).findings) == ["tests_unsteady"]


def test_a_suite_that_compares_the_tools_code_is_told_by_a_rewrite_of_it(lab: Lab, scratch: Path) -> None:
    candidate = subject(tests=READS_CODE)
    assert "escape" in rules(lab.ask(check_imports, candidate, scratch).findings)
    assert rules(lab.ask(check_mutation, candidate, scratch).findings) == ["tests_read_the_code"]


def test_what_a_suite_does_to_its_process_changes_neither_what_is_tried_nor_what_is_counted(lab: Lab, scratch: Path) -> None:
    outcome = lab.ask(check_mutation, subject(tool=SUMS, tests=EMPTIES_THE_PLAN), scratch)
    assert "mutation_score" in rules(outcome.findings), outcome.findings
    assert outcome.evidence["tried"] == outcome.evidence["of"] >= 9 and outcome.evidence["score"] < 0.5


def test_a_tool_that_looks_for_signs_of_a_trial_is_refused_and_sees_none_where_it_is_judged(lab: Lab, scratch: Path) -> None:
    """Under pytest such a tool behaves; examples and all later gates run it as production does, where it does not."""
    looks = changed(TOOL, "    counts = {", '    if "pytest" not in sys.modules:\n        return {}\n    counts = {')
    candidate = subject(tool=changed(looks, "from contract", "import sys\n\nfrom contract"))
    assert lab.ask(check_tests, candidate, scratch).passed
    assert "import" in rules(lab.ask(check_imports, candidate, scratch).findings)
    assert not lab.ask(check_examples, candidate, scratch).passed
