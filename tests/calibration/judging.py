"""One candidate before the gates: the files in a folder, the same subject, line and sandbox as `toolmint verify` has.

A defect meets the gates that should see it and those that they build on; only where none of them is red does it meet the whole line, which
tells an accident from a miss. It refuses to be: lenient. A gate that breaks has seen nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from app.core.errors import Invalid
from app.core.settings import Settings
from app.sandbox.sandbox import Sandbox
from app.verification.findings import Finding, GateResult
from app.verification.gates import GATES
from app.verification.line import Gate, GateBroke, run_line
from app.verification.local import read_subject
from app.verification.report import assemble
from app.verification.rubric import thresholds_of
from app.verification.subject import Bench, Replaced, Subject
from app.verification.work import bench_for
from tests.calibration.defect import Defect, seeded
from tests.calibration.shape import Shape

Verdict = Literal["passed", "refused", "caught", "accident", "missed", "broke"]
"""Of a correct tool: passed or refused. Of a defect: caught by a gate that should, refused by another one or by another rule, not refused.
Of both: broke.
"""

RUBRIC = "rubric"
"""Stands for a gate where a dimension alone refuses."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one candidate. `by` are the gates that were red, `results` all that ran, `seconds` wall time."""

    shape: str
    defect: Defect | None
    verdict: Verdict
    by: tuple[str, ...]
    results: tuple[GateResult, ...]
    seconds: float
    problem: str = ""

    @property
    def mutation_score(self) -> float | None:
        """The share of changes that the tests noticed, where the gate got so far."""
        return next((result.evidence.get("score") for result in self.results if result.gate == "mutation"), None)


async def judge_tool(shape: Shape, sandbox: Sandbox, settings: Settings) -> Judged:
    """A correct tool: the whole line and the rubric."""
    return await _judge(shape, None, sandbox, settings, ())


async def judge_defect(shape: Shape, defect: Defect, sandbox: Sandbox, settings: Settings, *, full: bool = False) -> Judged:
    """A defect: its gates and what they need, then the whole line where none was red, or at once (`full`)."""
    wanted = () if full or RUBRIC in defect.gates else needed(defect.gates)
    judged = await _judge(shape, defect, sandbox, settings, wanted)
    if judged.verdict == "missed" and wanted:
        whole = await _judge(shape, defect, sandbox, settings, ())
        return replace(whole, seconds=round(judged.seconds + whole.seconds, 1))
    return judged


def needed(names: Sequence[str]) -> tuple[Gate, ...]:
    """The gates of these names and all that they build on, in table order. Raises KeyError for a name that is none."""
    table = {gate.name: gate for gate in GATES}
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += table[name].needs
    return tuple(gate for gate in GATES if gate.name in found)


async def _judge(shape: Shape, defect: Defect | None, sandbox: Sandbox, settings: Settings, gates: Sequence[Gate]) -> Judged:
    began = time.monotonic()
    results: tuple[GateResult, ...] = ()
    problem = ""
    try:
        candidate = await asyncio.to_thread(_subject, shape, defect)
        async with bench_for(sandbox, settings) as bench:
            results, red = await _run(candidate, bench, settings, gates)
    except Invalid as error:  # what no server would store as a spec
        red = ("spec",)
        places = [Finding.of_problem("shape", place, "spec.json") for place in error.problems]
        results = (GateResult("spec", "failed", findings=tuple(places)),)
    except GateBroke as error:
        red, problem = (), error.detail
    except Exception as error:  # noqa: BLE001  told as broken, which no promise allows, and the others are judged all the same
        red, problem = (), f"{type(error).__name__}: {error}"
    verdict = "broke" if problem else verdict_of(defect, results, red)
    return Judged(shape.name, defect, verdict, red, results, round(time.monotonic() - began, 1), problem)


async def _run(
    candidate: Subject, bench: Bench, settings: Settings, gates: Sequence[Gate]
) -> tuple[tuple[GateResult, ...], tuple[str, ...]]:
    """Every gate's result, and which were red. No gates: all of them, and the rubric."""
    results = await run_line(gates or GATES, candidate, bench, full_report=True)
    red = tuple(result.gate for result in results if result.status == "failed")
    if not gates and not red:
        report = assemble(candidate.candidate_id, candidate.digest, results, thresholds_of(settings))
        red = () if report["publishable"] else (RUBRIC,)
    return tuple(results), red


def verdict_of(defect: Defect | None, results: Sequence[GateResult], red: Sequence[str]) -> Verdict:
    """What became of a candidate that these gates refused. A defect is caught where a gate that should see it says why as it should."""
    if defect is None:
        return "refused" if red else "passed"
    if not red:
        return "missed"
    seen = set(defect.gates) & set(red)
    said = {finding.rule for result in results if result.gate in seen for finding in result.errors}
    return "caught" if seen and (not defect.rules or said & set(defect.rules)) else "accident"


def _subject(shape: Shape, defect: Defect | None) -> Subject:
    """The candidate; one whose defect is seen by comparison with what it replaces stands beside the correct tool."""
    correct = _read(shape.files)
    if defect is None:
        return correct
    candidate = _read(seeded(shape.files, defect))
    return replace(candidate, replaces=Replaced(1, correct.spec)) if "compatibility" in defect.gates else candidate


def _read(files: Mapping[str, str]) -> Subject:
    with tempfile.TemporaryDirectory(prefix="toolmint-calibration-") as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        return read_subject(Path(folder))
