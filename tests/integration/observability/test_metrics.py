"""Metrics of many processes are one page, and a death takes nothing back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.observability import metrics

CHILD = """
import os, signal, sys
from pathlib import Path
from app.observability import metrics
metrics.start(Path(sys.argv[1]))
metrics.RUNS.labels("completed").inc(3)
metrics.RUN_SECONDS.observe(0.2)
metrics.UNKNOWN.set(7)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def stopped() -> Iterator[None]:
    yield
    metrics.stop()


def killed_child(folder: Path) -> None:
    assert subprocess.run([sys.executable, "-c", CHILD, str(folder)], check=False).returncode == -9


def line(name: str) -> str | None:
    found = [text for text in metrics.render().decode().splitlines() if text.startswith(name + " ")]
    return found[0].removeprefix(name + " ") if found else None


def test_nothing_is_counted_or_written_before_the_start(tmp_path: Path) -> None:
    metrics.RUNS.labels("completed").inc()
    assert metrics.render() == b"" and list(tmp_path.iterdir()) == []


def test_counts_of_several_processes_are_added_and_survive_a_kill(tmp_path: Path) -> None:
    killed_child(tmp_path)
    metrics.start(tmp_path)
    killed_child(tmp_path)
    metrics.RUNS.labels("completed").inc()
    metrics.RUNS.labels("failed").inc()
    metrics.EFFECTS.labels("email.send", "done").inc(5)
    assert line('toolmint_runs_total{state="completed"}') == "7.0"
    assert line('toolmint_runs_total{state="failed"}') == "1.0"
    assert line("toolmint_run_seconds_count") == "2.0"
    assert line('toolmint_effects_total{connector="email.send",state="done"}') == "5.0"


def test_files_of_the_dead_are_folded_into_one(tmp_path: Path) -> None:
    for _ in range(3):
        killed_child(tmp_path)
    metrics.start(tmp_path)
    names = {path.name for path in tmp_path.glob("*.db")}
    own = {name for name in names if not name.endswith("_0.db")}
    assert {"counter_0.db", "histogram_0.db"} == names - own and len(own) == 3
    assert line('toolmint_runs_total{state="completed"}') == "9.0"
    assert line('toolmint_run_seconds_bucket{le="0.25"}') == "3.0"


def test_a_gauge_shows_the_latest_value(tmp_path: Path) -> None:
    metrics.start(tmp_path)
    metrics.UNKNOWN.set(4)
    metrics.UNKNOWN.set(2)
    assert line("toolmint_effects_unknown") == "2.0"
