"""How long a verification takes: the campaign tool from nothing, and again after one of its tests has changed."""

from __future__ import annotations

import ast
import asyncio
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from app.core.settings import Settings
from app.sandbox.sandbox import Sandbox
from app.verification.kept_files import KeptFiles
from app.verification.local import read_subject
from app.verification.subject import Subject
from app.verification.work import bench_for, examine
from tests.bench.table import Row

TOOL = Path(__file__).parents[2] / "generated_tools" / "messaging" / "campaign_send_bulk"
SUITE = "test_tool.py"
ONE_MORE = "\n\ndef test_the_bench_changed_the_tests() -> None:\n    assert callable(run)\n"
WHOLE_MS = 10_000
SHARE = 1 / 3


def measured(folder: Path) -> list[Row]:
    """All with all gates; the second and third against a third of the first."""
    whole, added, decisive = asyncio.run(_timed(folder))
    return [
        Row("a verification of the campaign tool (all gates)", whole, WHOLE_MS, "ms", "1, at most 1.5", "10 s", most=1.5),
        Row("  again, after a test was added", added, whole * SHARE, "ms", "at most 1", "a third of it", most=1),
        Row("  again, after the test that decides most has changed", decisive, whole * SHARE, "ms", "at most 1", "a third of it", most=1),
    ]


async def _timed(folder: Path) -> tuple[float, float, float]:
    """Milliseconds, in a worker's conditions: the sandbox is proven and the template database is there."""
    settings, subject = Settings(home=folder), read_subject(TOOL)
    suite = subject.files[SUITE]
    sandbox = Sandbox(folder, idle_per_tool=0)
    await sandbox.start()
    try:
        keeper = KeptFiles(folder / "kept")
        async with bench_for(sandbox, settings):
            pass  # makes the template
        whole = await _verified(sandbox, settings, subject, keeper)
        added = await _verified(sandbox, settings, _with_suite(subject, suite + ONE_MORE), keeper)
        other = _with_suite(subject, _changed(suite, _most_decisive(keeper.folder)))
        return whole, added, await _verified(sandbox, settings, other, keeper)
    finally:
        await sandbox.stop()


def _with_suite(subject: Subject, suite: str) -> Subject:
    return replace(subject, files={**subject.files, SUITE: suite})


def _most_decisive(kept: Path) -> str:
    """The test without which the most mutants have to be tried again, by the facts of the mutation gate."""
    facts = next(value for path in kept.iterdir() if "mutants" in (value := json.loads(path.read_text())))
    names = [name.partition("::")[2].partition("[")[0] for name, _ in facts["tests"]]
    ran: Counter[str] = Counter()
    for _, killed, tests in facts["mutants"]:
        ran.update({names[test] for test in tests} if killed else ())
    return ran.most_common(1)[0][0]


def _changed(suite: str, test: str) -> str:
    """The suite with one assertion more in that test."""
    function = next(node for node in ast.parse(suite).body if isinstance(node, ast.FunctionDef) and node.name == test)
    lines = suite.splitlines(keepends=True)
    lines.insert(function.body[-1].lineno - 1, "    assert callable(run)\n")
    return "".join(lines)


async def _verified(sandbox: Sandbox, settings: Settings, subject: Subject, keeper: KeptFiles) -> float:
    began = time.perf_counter()
    async with bench_for(sandbox, settings) as bench:
        report = await examine(subject, bench, settings, full_report=False, keeper=keeper)
    if not report["publishable"]:
        raise AssertionError(f"not publishable: {[gate for gate in report['gates'] if gate['status'] != 'passed']}")
    return (time.perf_counter() - began) * 1000
