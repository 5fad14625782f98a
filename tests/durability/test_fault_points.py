"""Every fault point is passed by the code and armed by a test; a process killed at each leaves what one clean run leaves.

What is killed is a whole process; the judge is the diary of what happened outside, and the ledger once an operator has looked up
what was in doubt.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.faults import POINTS
from app.runtime.state import EFFECT_MOVES, RUN_MOVES
from tests.durability.chapters import CHAPTERS, PASSED, REACHED, points_of
from tests.durability.doomed import AT_ONCE, CLEAN, LEDGER
from tests.support.postgres import PostgresServer
from tests.support.processes import ROOT, start_module

ELSEWHERE = {
    "decision.part.before": "tests/integration/runtime/test_redrives.py",
    "decision.part.after": "tests/integration/runtime/test_redrives.py",
    "outbox.relayed": "tests/durability/worker/test_wakeups.py",
    "candidate.gate.after": "tests/integration/candidates/test_candidates.py",
    "publish.files.after": "tests/integration/registry/test_registry.py",
}
"""Points outside runs and effects, by the file of tests that arms each."""
NOT_ON_POSTGRESQL = "effect.performing-planned"  # no departures are noted there, so nothing is begun before there is a place for it
MAY_REPEAT = {"repeats"}


def test_every_named_fault_point_is_passed_once() -> None:
    sources = [path.read_text() for room in ("app", "jobs") for path in (ROOT / room).rglob("*.py")]
    passed = [name for source in sources for name in re.findall(r'\bfault\("([a-z.]+)"\)', source)]
    assert set(passed) == POINTS
    assert max(Counter(passed).values()) == 1


def test_every_fault_point_is_armed_by_a_test() -> None:
    by_chapters = [point for chapter in CHAPTERS for point in PASSED.get(chapter, ())]
    assert Counter([*by_chapters, *ELSEWHERE]) == Counter(POINTS)
    for point, file in ELSEWHERE.items():
        assert point in (ROOT / file).read_text(), f"{file} does not arm {point}"


def test_every_transition_has_a_chapter_that_dies_before_and_after_it() -> None:
    machines = {"effect": EFFECT_MOVES, "run": RUN_MOVES}
    moves = [
        f"{name}.{before}-{after}" for name, machine in machines.items() for before, afters in machine.items() for after in sorted(afters)
    ]
    assert Counter(move for chapter in CHAPTERS for move in REACHED[chapter]) == Counter(moves)


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """PostgreSQL databases for a few processes at once; none where each has a SQLite file of its own."""
    if request.param == "sqlite":
        yield []
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    names = [server.lend(request.getfixturevalue("postgres_template")) for _ in range(AT_ONCE)]
    yield [server.url(name) for name in names]
    for name in names:
        server.give_back(name)


@pytest.mark.parametrize("chapter", list(CHAPTERS))
def test_a_process_killed_at_any_point_leaves_the_ledger_of_a_clean_run(tmp_path: Path, chapter: str, urls: list[str]) -> None:
    child = start_module("tests.durability.doomed", str(tmp_path), chapter, *urls, output=tmp_path / "output")
    assert child.process.wait(timeout=280) == 0, child.text()
    ended = dict(line.rsplit(" ", 1) for line in child.text().splitlines())
    passed = [point for point in points_of(chapter) if not (urls and point.startswith(NOT_ON_POSTGRESQL))]
    assert ended == dict.fromkeys(points_of(chapter), "0") | dict.fromkeys(passed, "-9")
    clean, sent = ledger(tmp_path / CLEAN)["states"], Counter(diary(tmp_path / CLEAN))
    assert "unknown" not in clean.values() and max(sent.values(), default=1) == 1
    for point in points_of(chapter):
        assert ledger(tmp_path / point)["states"] == clean, point
        found = Counter(diary(tmp_path / point))
        assert found.keys() == sent.keys(), point
        doubted = Counter(ledger(tmp_path / point)["doubts"])
        for to, copies in found.items():
            assert copies == 1 or (chapter in MAY_REPEAT and copies <= 1 + doubted[to]), (point, to)


def ledger(folder: Path) -> dict[str, Any]:
    """By subject: the state of each effect, and how often it was in doubt."""
    told: dict[str, Any] = json.loads((folder / LEDGER).read_text())
    return told


def diary(folder: Path) -> list[str]:
    """To whom was sent, repeats included."""
    path = folder / "diary"
    return path.read_text().split() if path.exists() else []
