"""The gate "tests": the author's `test_tool.py` passes on the candidate, in a sandbox with toolkit, contract and tool alone.

Each test runs in a process of its own, which can neither keep anything for the next nor say what became of another. A suite that ends its
process, answers in its runner's place, or leaves tool or toolkit other than it found them is refused by name.

It refuses to be: a measure of what the tests are worth. Tests that assert nothing pass here; mutation tells.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Mapping
from typing import Any

from app.core.errors import Failed
from app.verification.boxes import SAID_NOTHING, Cut, ask
from app.verification.findings import Finding, GateOutcome
from app.verification.subject import Bench, Subject

_MEND = "Where the test says what the spec says, mend tool.py; else mend the test."
_OUTCOMES: Mapping[str, tuple[str, str, str]] = {
    "skipped": ("test_skipped", "was skipped and proves nothing", "Remove the mark; a test either holds or does not."),
    "lost": ("test_lost", "was lost and proves nothing", "Let the test run end by itself: no pytest.exit, no SystemExit."),
    "ended": (
        "test_ended",
        "ended its own process, or answered in the place of its runner",
        "Let the test return: no exit, no endless loop, no words but assertions.",
    ),
}
_KILLED: Mapping[int, tuple[str, str, str]] = {
    -signal.SIGXCPU: ("test_time", "took more time than a test may take", "Look for a loop or a pattern that does not end."),
    -signal.SIGALRM: ("test_waits", "waits, and does nothing else", "Leave the waiting out: a trial's time is what trial(…, now=…) says."),
    -signal.SIGKILL: ("test_killed", "was killed for the memory or the time that it took", "Try fewer and smaller values."),
}
"""How a test's process was ended from outside, by its status."""
_KEPT = "Give trial(...) the args, world, script or now that bring the case about, and change copies only."


async def check_tests(subject: Subject, bench: Bench, seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """Every collected test ran and passed, and there is at least one.

    What passed in the last suite that did is in `seen`: a test that is unchanged, in an unchanged file, is not run again.
    """
    files = {**subject.files, "contract.py": subject.contract, "spec.json": subject.guest_spec}
    token = secrets.token_hex(16)
    try:
        answer = await ask(bench.sandbox, "run_tests", {"token": token, "former": seen.get("tests")}, files=files, limits=bench.test_limits)
    except Cut as cut:
        return GateOutcome([cut.finding])
    except Failed as error:  # the tests were collected in their runner's process: one that says nothing was ended by them
        if error.code != SAID_NOTHING:
            raise
        return GateOutcome([_ended(error.detail)])
    if not _well_formed(answer, token):
        return GateOutcome([_ended("The test run gave an answer that is not its own.")])
    findings = [_of_broken(row) for row in answer["broken"]]
    findings += [_tampered("Importing test_tool.py", name) for name in answer["changed"]]
    findings += [_tampered(row["name"], name, row["line"]) for row in answer["tests"] for name in row.get("changed", ())]
    findings += [finding_of(row) for row in answer["tests"] if row["outcome"] != "passed"]
    if not answer["tests"] and not findings:
        message = "test_tool.py holds no test."
        findings.append(
            Finding("no_tests", message, "Write functions named test_… that call trial(run, …) and assert.", file="test_tool.py")
        )
    passed = sum(row["outcome"] == "passed" for row in answer["tests"])
    evidence = {"passed": passed, "collected": answer["collected"], "remembered": answer["remembered"], "tests": _names(answer["tests"])}
    return GateOutcome(findings, evidence, answer["facts"])


def _well_formed(answer: Any, token: str) -> bool:
    """Whether the runner itself said it, who alone was told the token."""
    return (
        isinstance(answer, dict)
        and answer.get("token") == token
        and set(answer) == {"token", "collected", "tests", "broken", "changed", "facts", "remembered"}
        and len(answer["tests"]) == answer["collected"]
    )


def _ended(message: str) -> Finding:
    return Finding("tests_ended", message, "Let the tests end by themselves, and print nothing past pytest.", file="test_tool.py")


def _tampered(who: str, name: str, line: int | None = None) -> Finding:
    return Finding("tampering", f"{who} changed {name}, which is not the tests' own.", _KEPT, file="test_tool.py", line=line)


def _of_broken(row: Mapping[str, Any]) -> Finding:
    return Finding("tests_unreadable", "test_tool.py could not be imported.", _MEND, file="test_tool.py", line=1, got=row["message"])


def finding_of(row: Mapping[str, Any]) -> Finding:
    """What is said of a test that did not pass."""
    name = row["name"]
    if row["outcome"] == "failed":
        said = str(row.get("message", "it failed")).split("\n", 1)[0]
        return Finding("test_failed", f"{name}: {said}", _MEND, file="test_tool.py", line=row.get("line"), got=row.get("trace"))
    rule, what, fix = _KILLED.get(row.get("status", 0)) or _OUTCOMES.get(row["outcome"], _OUTCOMES["ended"])
    return Finding(rule, f"{name} {what}.", fix, file="test_tool.py", line=row.get("line"))


def _names(tests: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": row["name"], "outcome": row["outcome"], "ms": row["ms"]} for row in tests[:200]]
