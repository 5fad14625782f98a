"""How long a verification takes: the campaign tool from nothing, and again after one of its tests has changed."""

from __future__ import annotations

import asyncio
import time
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
ONE_MORE = "\n\ndef test_the_bench_changed_the_tests() -> None:\n    assert callable(run)\n"
WHOLE_MS = 10_000
SHARE = 1 / 3


def measured(folder: Path) -> list[Row]:
    """Both, with all gates; the second against a third of the first."""
    whole, again = asyncio.run(_timed(folder))
    return [
        Row("a verification of the campaign tool (all gates)", whole, WHOLE_MS, "ms", "1, at most 1.5", "10 s", most=1.5),
        Row("  again, after one of its tests has changed", again, whole * SHARE, "ms", "at most 1", "a third of it", most=1),
    ]


async def _timed(folder: Path) -> tuple[float, float]:
    """Milliseconds, in a worker's conditions: the sandbox is proven and the template database is there."""
    settings, subject = Settings(home=folder), read_subject(TOOL)
    changed = replace(subject, files={**subject.files, "test_tool.py": subject.files["test_tool.py"] + ONE_MORE})
    sandbox = Sandbox(folder, idle_per_tool=0)
    await sandbox.start()
    try:
        keeper = KeptFiles(folder / "kept")
        async with bench_for(sandbox, settings):
            pass  # makes the template
        return await _verified(sandbox, settings, subject, keeper), await _verified(sandbox, settings, changed, keeper)
    finally:
        await sandbox.stop()


async def _verified(sandbox: Sandbox, settings: Settings, subject: Subject, keeper: KeptFiles) -> float:
    began = time.perf_counter()
    async with bench_for(sandbox, settings) as bench:
        report = await examine(subject, bench, settings, full_report=False, keeper=keeper)
    if not report["publishable"]:
        raise AssertionError(f"not publishable: {[gate for gate in report['gates'] if gate['status'] != 'passed']}")
    return (time.perf_counter() - began) * 1000
