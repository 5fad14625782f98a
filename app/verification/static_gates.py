"""The gates that read: spec, imports and syntax, ruff, mypy. Candidate text is parsed in the sandbox only.

It refuses to be: proof of behaviour. On a public set of bug and fix pairs static checks told none apart; what runs is judged by runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.candidates.files import checked_files
from app.core.errors import Invalid, TooLarge
from app.spec.checking import WALL_LIMIT_S, check
from app.verification.boxes import STATIC, Cut, ask, broken, refuse_cut
from app.verification.findings import Finding, GateOutcome
from app.verification.subject import Bench, Subject

Seen = Mapping[str, Mapping[str, Any]]

RUFF_RULES = "F,E9,E722,S,BLE,ASYNC,DTZ,B,PLE,T20"
_TEST_ONLY_ALLOWED = ("S", "T20", "B011", "B015", "B017")
_RUFF = ["ruff", "check", "--isolated", "--no-cache", "--ignore-noqa", "--target-version", "py311", "--output-format", "json"]
_MYPY = [
    "python",
    "-m",
    "mypy",
    "--config-file=",
    "--strict",
    "--no-incremental",
    "--cache-dir=/dev/null",
    "--output=json",
    "--no-error-summary",
]
_MYPY += ["--warn-unreachable", "--enable-error-code=possibly-undefined", "--enable-error-code=truthy-bool", "tool.py"]
_TYPED = "Make it agree with contract.py and the toolkit's types; contract.py is generated from the spec and is not yours to change."


async def check_spec(subject: Subject, bench: Bench, _seen: Seen) -> GateOutcome:
    """The spec is for this tool and clean by today's lint; the files are exactly two, of the right size and plain."""
    findings: list[Finding] = []
    if subject.spec.name != subject.tool:
        message = f"The spec is for {subject.spec.name!r}, the candidate for {subject.tool!r}."
        findings.append(Finding("spec_name", message, "Submit the candidate to the tool that its spec names."))
    try:
        async with bench.sandbox.aside() as place:
            await check(subject.spec.body(), subject.catalog, wall_limit_s=WALL_LIMIT_S * bench.patience, place=place)
    except (Invalid, TooLarge) as error:  # a check that itself failed says nothing of the spec, and breaks the gate
        findings += [Finding.of_problem("spec_lint", problem, "spec.json") for problem in error.problems]
        findings += [] if error.problems else [Finding("spec_lint", error.detail, error.fix, file="spec.json")]
    try:
        checked_files([{"path": path, "content": content} for path, content in subject.files.items()])
    except Invalid as error:
        findings += [Finding.of_problem("files", problem) for problem in error.problems]
    if not subject.spec.examples:
        message = "The spec has no example: nothing says what this tool does."
        findings.append(Finding("no_examples", message, "Add at least one example with its world, result and effects.", file="spec.json"))
    held_out = sum(example.visibility == "held_out" for example in subject.spec.examples)
    sizes = {path: len(content.encode()) for path, content in subject.files.items()}
    evidence = {"spec_digest": subject.spec.digest, "bytes": sizes, "examples": len(subject.spec.examples), "held_out": held_out}
    return GateOutcome(findings, evidence)


async def check_imports(subject: Subject, bench: Bench, _seen: Seen) -> GateOutcome:
    """The allow-list over the syntax tree; its facts name every effect and read in the code."""
    try:
        answer = await ask(bench.sandbox, "allowlist", {"files": dict(subject.files)})
    except Cut as cut:
        return GateOutcome([cut.finding])
    return GateOutcome([Finding.of(row) for row in answer["findings"]], answer["facts"])


async def check_ruff(subject: Subject, bench: Bench, _seen: Seen) -> GateOutcome:
    """Ruff with a fixed rule set, no configuration and no way to switch a rule off."""
    command = [*_RUFF, "--select", RUFF_RULES, *sorted(subject.files)]
    done = await bench.sandbox.run_once(command, subject.files, STATIC)
    try:
        refuse_cut("ruff", done)
    except Cut as cut:
        return GateOutcome([cut.finding])
    if done.exit not in (0, 1):
        raise broken("ruff", done)
    rows = [row for row in json.loads(done.stdout) if not _fine_in_a_test(row)]
    return GateOutcome([_of_ruff(row) for row in rows], {"rules": RUFF_RULES, "found": len(rows)})


async def check_mypy(subject: Subject, bench: Bench, _seen: Seen) -> GateOutcome:
    """Mypy, strict, against the contract generated from the spec; 0.6 s without a cache."""
    files = {"tool.py": subject.files["tool.py"], "contract.py": subject.contract}
    done = await bench.sandbox.run_once(_MYPY, files, STATIC)
    try:
        refuse_cut("mypy", done)
    except Cut as cut:
        return GateOutcome([cut.finding])
    if done.exit not in (0, 1, 2):
        raise broken("mypy", done)
    if b"INTERNAL ERROR" in done.stderr:
        message = "The type checker cannot read this file."
        return GateOutcome([Finding("mypy:unreadable", message, "Write plainer code: no huge literals, less nesting.", file="tool.py")])
    rows = [json.loads(line) for line in done.stdout.decode().splitlines() if line.startswith("{")]
    if done.exit and not rows:
        raise broken("mypy", done)
    findings = [_of_mypy(row) for row in rows if row["severity"] == "error"]
    return GateOutcome(findings, {"strict": True, "found": len(findings)})


def _fine_in_a_test(row: Mapping[str, Any]) -> bool:
    return row["filename"].endswith("test_tool.py") and (row["code"] or "").startswith(_TEST_ONLY_ALLOWED)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _of_ruff(row: Mapping[str, Any]) -> Finding:
    file = row["filename"].rsplit("/", 1)[-1]
    advice = (row.get("fix") or {}).get("message") or f"See the rule {row['name']}."
    return Finding(
        f"ruff:{row['code'] or 'syntax'}", _sentence(row["message"]), f"{advice.rstrip('.')}.", file=file, line=row["location"]["row"]
    )


def _of_mypy(row: Mapping[str, Any]) -> Finding:
    hint = f"{row['hint'].strip()} " if row.get("hint") else ""
    return Finding(f"mypy:{row['code'] or 'error'}", _sentence(row["message"]), f"{hint}{_TYPED}", file=row["file"], line=row["line"])
