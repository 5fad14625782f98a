"""The diagrams of RUNTIME, written out a second time: what `state.py` allows is exactly this, and its tests notice any change to it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from app.runtime.state import (
    COUNTED,
    EFFECT_MOVES,
    MAX_CRASHES,
    OPEN_RUNS,
    RUN_MOVES,
    IllegalMove,
    backoff_ms,
    check_effect,
    check_run,
    status_of,
)
from app.spec.model import Retry

PROJECT = Path(__file__).resolve().parents[3]
EFFECTS = """
new → planned
planned → claimed, cancelled
claimed → performing, planned, retry_wait, cancelled, done, failed
performing → done, unknown, planned, retry_wait, dead, failed
retry_wait → planned, cancelled
unknown → done, planned, abandoned
dead → planned
failed → planned
abandoned → planned
cancelled → planned
done →
"""
RUNS = """
new → available, executing
scheduled → executing, cancelled
available → executing, cancelled
executing → completed, failed, cancelled, available, scheduled, quarantined
completed →
failed →
cancelled →
quarantined →
"""
REPORTED = """
planned: retrying, counted as retrying
claimed: retrying, counted as retrying
performing: retrying, counted as retrying
retry_wait: retrying, counted as retrying
unknown: unknown, counted as unknown
done: done, counted as done
failed: failed, counted as failed
dead: failed, counted as failed
abandoned: failed, counted as failed
cancelled: failed, counted as failed
"""


def _arrows(text: str) -> dict[str, set[str]]:
    lines = [line.split("→") for line in text.strip().splitlines()]
    return {before.strip(): {after.strip() for after in later.split(",") if after.strip()} for before, later in lines}


@pytest.mark.parametrize(("diagram", "moves", "check"), [(EFFECTS, EFFECT_MOVES, check_effect), (RUNS, RUN_MOVES, check_run)])
def test_the_diagram_is_the_table_and_every_other_move_is_refused_by_name(diagram: str, moves: object, check: object) -> None:
    arrows = _arrows(diagram)
    assert moves == arrows
    assert callable(check)
    for before in arrows:
        for after in arrows:
            if after in arrows[before]:
                check(before, after)
            else:
                with pytest.raises(IllegalMove, match=f"{before} → {after}$"):
                    check(before, after)


def test_a_tool_is_told_of_each_state_what_its_counts_say() -> None:
    told = [line.replace(": ", ", counted as ").split(", counted as ") for line in REPORTED.strip().splitlines()]
    assert {state: (status, counted) for state, status, counted in told} == {
        state: (status_of(state), counted) for state, counted in COUNTED.items()
    }


def test_a_run_is_open_until_it_has_ended_and_three_crashes_end_it() -> None:
    assert {"scheduled", "available", "executing"} == OPEN_RUNS == {state for state, after in RUN_MOVES.items() if after} - {"new"}
    assert MAX_CRASHES == 3


def test_a_delay_is_drawn_in_milliseconds_between_nothing_and_the_ceiling() -> None:
    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            assert a == 0
            return b

    retry = Retry(initial_delay_s=2, factor=3, max_delay_s=30)
    assert [backoff_ms(attempts, retry, Highest()) for attempts in (0, 1, 2, 3, 4)] == [2000, 2000, 6000, 18_000, 30_000]


def test_our_own_mutation_gate_over_the_state_machine_kills_at_least_80_percent() -> None:
    """The engine of the gate "mutation", over `state.py` and the unit tests that stand beside this one."""
    tests = ["tests/unit/runtime/test_state.py", "tests/unit/runtime/test_state_diagram.py"]
    request = {"module": "app.runtime.state", "path": "app/runtime/state.py", "tests": tests, "most": 1000, "seed": "state"}
    request |= {"options": ["-knot mutation_gate"], "ready": ["app.core.errors", "app.spec.model"]}
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'app/verification'}"}
    done = subprocess.run(
        [sys.executable, "-m", "inside.run_mutants"],
        input=json.dumps(request).encode(),
        capture_output=True,
        cwd=PROJECT,
        env=environment,
        timeout=300,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["baseline"] == "passed"
    left = [f"{row['line']}: {row['what']} ({row['status']})" for row in answer["mutants"] if row["status"] != "killed"]
    assert answer["tried"] == answer["total"] >= 100
    assert 1 - len(left) / answer["tried"] >= 0.8, "\n".join(left)
