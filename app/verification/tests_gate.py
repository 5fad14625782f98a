"""The gate "tests": the author's `test_tool.py` passes on the candidate, in a sandbox with toolkit, contract and tool alone.

It refuses to be: a measure of what the tests are worth. Tests that assert nothing pass here; mutation tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.errors import Failed
from app.verification.boxes import Cut, ask
from app.verification.findings import Finding, GateOutcome
from app.verification.subject import Bench, Subject

_MEND = "Where the test says what the spec says, mend tool.py; else mend the test."


async def check_tests(subject: Subject, bench: Bench, _seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """Every collected test ran and passed, and there is at least one."""
    files = {**subject.files, "contract.py": subject.contract, "spec.json": subject.guest_spec}
    try:
        answer = await ask(bench.sandbox, "run_tests", {}, files=files, limits=bench.test_limits)
    except Cut as cut:
        return GateOutcome([cut.finding])
    except Failed as error:  # the tests share a process with their runner: one that says nothing was ended by them
        return GateOutcome([_ended(error.detail)])
    if (
        not isinstance(answer, dict)
        or set(answer) != {"exit", "collected", "tests", "broken"}
        or len(answer["tests"]) != answer["collected"]
    ):
        return GateOutcome([_ended("The test run gave an answer that is not its own.")])
    findings = [_of_broken(row) for row in answer["broken"]]
    findings += [_of_test(row) for row in answer["tests"] if row["outcome"] != "passed"]
    if not answer["tests"] and not findings:
        message = "test_tool.py holds no test."
        findings.append(
            Finding("no_tests", message, "Write functions named test_… that call trial(run, …) and assert.", file="test_tool.py")
        )
    if answer["exit"] != 0 and not findings:
        findings.append(_ended(f"The test run ended with pytest's status {answer['exit']}."))
    passed = sum(row["outcome"] == "passed" for row in answer["tests"])
    return GateOutcome(findings, {"passed": passed, "collected": answer["collected"], "tests": _names(answer["tests"])})


def _ended(message: str) -> Finding:
    return Finding("tests_ended", message, "Let the tests end by themselves, and print nothing past pytest.", file="test_tool.py")


def _of_broken(row: Mapping[str, Any]) -> Finding:
    return Finding("tests_unreadable", "test_tool.py could not be imported.", _MEND, file="test_tool.py", line=1, got=row["message"])


def _of_test(row: Mapping[str, Any]) -> Finding:
    name = row["name"]
    if row["outcome"] == "failed":
        said = str(row.get("message", "it failed")).split("\n", 1)[0]
        return Finding("test_failed", f"{name}: {said}", _MEND, file="test_tool.py", line=row.get("line"), got=row.get("trace"))
    rule, fix = ("test_skipped", "Remove the mark; a test either holds or does not.")
    if row["outcome"] == "lost":
        rule, fix = ("test_lost", "Let the test run end by itself: no pytest.exit, no SystemExit.")
    return Finding(rule, f"{name} was {row['outcome']} and proves nothing.", fix, file="test_tool.py", line=row.get("line"))


def _names(tests: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": row["name"], "outcome": row["outcome"], "ms": row["ms"]} for row in tests[:200]]
