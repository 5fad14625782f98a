"""The gate "mutation": the author's tests notice small changes to the tool, and every change that a business cannot afford to miss.

What survives is told as the test to write, with the line and what changed. Coverage gates nothing: a suite without assertions was measured
at 100 % coverage and a third of the mutants killed.

It refuses to be: fooled by passing tests. It asks what they would say of a tool that does something else.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.core.errors import Failed
from app.verification.boxes import SAID_NOTHING, Cut, ask
from app.verification.findings import Finding, GateOutcome
from app.verification.subject import Bench, Subject

MOST = 600
"""Changes that must be noticed: all are tried, and a tool that has more is refused. The largest tools that are admitted have fewer."""
OTHERS = 80
"""Of the other changes so many are tried, a sample that the candidate's digest draws from all its functions alike."""
WALL_S = 150.0
TOOL = frozenset({"tool.py"})
_STATUSES = frozenset({"killed", "survived", "uncovered"})
_TOLD = 12


async def check_mutation(subject: Subject, bench: Bench, seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """Every mutant that must be noticed was killed, and of all at least `bench.mutation_score`.

    What is sampled depends on the tool alone, and what the last suite that passed here said of its mutants is in `seen`: where only one
    test is another, only that one is asked.
    """
    files = {**subject.files, "contract.py": subject.contract, "spec.json": subject.guest_spec}
    token = secrets.token_hex(16)
    run = {"module": "tool", "path": "tool.py", "tests": ["test_tool.py"]}
    request = {"token": token, **run, "most": MOST, "others": OTHERS, "seed": subject.only(TOOL).digest, "former": seen.get("mutation")}
    try:
        answer = await ask(bench.sandbox, "run_mutants", request, files=files, limits=replace(bench.test_limits, wall_s=WALL_S))
    except Cut as cut:
        return GateOutcome([cut.finding])
    except Failed as error:  # the tests share a process with their runner: one that says nothing was ended by them
        if error.code != SAID_NOTHING:
            raise
        return GateOutcome([_ended(error.detail)])
    if not isinstance(answer, dict) or answer.pop("token", None) != token or not _well_formed(answer):
        return GateOutcome([_ended("The run gave an answer that is not its own.")])
    if answer["baseline"] == "too_many":
        return GateOutcome([_too_many(answer["must"])])
    if answer["baseline"] != "passed":
        return GateOutcome([_ended("The tests did not pass on the tool itself when they were run again.")])
    if failed := [finding for name, finding in _DECEIVED.items() if answer["decoys"][name] == "killed"]:
        return GateOutcome(failed[:1])
    return replace(_judged(answer, bench.mutation_score), facts=answer["facts"])


def _judged(answer: Mapping[str, Any], threshold: float) -> GateOutcome:
    rows: Sequence[Mapping[str, Any]] = answer["mutants"]
    killed = sum(row["status"] == "killed" for row in rows)
    score = round(killed / len(rows), 3) if rows else 0.0
    left = [row for row in rows if row["status"] != "killed"]
    must = [row for row in left if row["must"]]
    findings = [_survived(row, "error") for row in must]
    if score < threshold:
        findings.append(
            Finding(
                "mutation_score",
                f"The tests notice {killed} of {len(rows)} changes to the tool; {threshold:.0%} is asked for.",
                "Assert results, effects and their items in more cases; the changes that nothing noticed are listed.",
                file="test_tool.py",
            )
        )
        findings += [_survived(row, "error") for row in left if not row["must"]][:_TOLD]
    evidence = {
        "score": score,
        "killed": killed,
        "tried": len(rows),
        "of": answer["total"],
        "remembered": answer["remembered"],
        "coverage": answer["coverage"],
        "must_killed": {f"line {row['line']}: {row['what']}"[:200]: row["status"] == "killed" for row in rows if row["must"]},
        "survivors": [{name: row[name] for name in ("line", "what", "status")} | {"test": _test_for(row)} for row in left][:50],
    }
    return GateOutcome(findings, evidence)


def _survived(row: Mapping[str, Any], severity: Any) -> Finding:
    reached = "no test reaches that line" if row["status"] == "uncovered" else "every test still passes"
    return Finding(
        "mutant_survived",
        f"tool.py line {row['line']}: {row['what']}, and {reached}.",
        _test_for(row),
        severity=severity,
        file="tool.py",
        line=row["line"],
    )


def _test_for(row: Mapping[str, Any]) -> str:
    return _TEST_TO_WRITE.get(row["kind"], "Write a test whose expected result or effects differ when this changes.")


_DECEIVED = {
    "unchanged": Finding(
        "tests_unsteady",
        "The tests pass on the tool once and fail on the very same tool the next time: they say something of themselves, not of it.",
        "Keep nothing between runs of a test, and draw no lots.",
        file="test_tool.py",
    ),
    "rewritten": Finding(
        "tests_read_the_code",
        "The tests fail on a rewrite of the tool that does exactly the same: they look at its code instead of at what it does.",
        "Assert what trial(...) returns: result, error, effects, world, logs.",
        file="test_tool.py",
    ),
}
"""What is said of a suite that fails on a decoy."""

_TEST_TO_WRITE = {
    "effect_deleted": "Write a test that asserts this effect in trial(…).effects, with its item and status.",
    "item_changed": "Write a test that asserts the whole item of this effect in trial(…).effects.",
    "raise_passed": "Write a test that brings about this error and asserts trial(…).error['code'].",
    "condition_negated": "Write one test for each side of this condition, with different expected results.",
    "comparison": "Write a test on the boundary itself and one just beyond it, with different expected results.",
    "logic": "Write a test in which one part of this condition holds and the other does not.",
    "arithmetic": "Write a test that asserts the computed value, with operands for which no other operation gives the same.",
    "constant": "Write a test whose expected result, item or error code depends on this very value.",
    "choice": "Write one test for each of the two values, and assert what comes of it.",
    "deleted": "Write a test that asserts what this statement leaves behind.",
    "flow": "Write a test in which something is left to do after this point, and assert whether it was done.",
    "result": "Write a test that asserts the whole of what is returned here.",
}


def _well_formed(answer: Any) -> bool:
    """Whether all was tried that is tried of a tool of so many changes, and each has a status."""
    if not isinstance(answer, dict) or answer.get("baseline") not in ("passed", "failed", "too_many"):
        return False
    if answer["baseline"] != "passed":
        return answer["baseline"] == "failed" or isinstance(answer.get("must"), int)
    rows = answer.get("mutants")
    return (
        set(answer) == {"baseline", "total", "must", "tried", "coverage", "mutants", "decoys", "facts", "remembered"}
        and set(answer["decoys"]) == set(_DECEIVED)
        and isinstance(rows, list)
        and all(isinstance(row, dict) and row.get("status") in _STATUSES for row in rows)
        and sum(row["must"] for row in rows) == answer["must"] <= MOST
        and len(rows) == answer["tried"] == answer["must"] + min(OTHERS, answer["total"] - answer["must"])
        and isinstance(answer["coverage"], float)
    )


def _too_many(must: int) -> Finding:
    return Finding(
        "too_many_changes",
        f"The tool has {must} conditions, raises, effects and item fields that tests must notice; {MOST} are tried.",
        "Shorten it: a table instead of a chain of ifs, one function instead of copies; or make two tools of it.",
        file="tool.py",
    )


def _ended(message: str) -> Finding:
    return Finding("tests_ended", message, "Let the tests end by themselves, and give the same on every run.", file="test_tool.py")
