"""The service's memory of results: answers while it is fresh, never after a red one, and is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from app.candidates.keeping import KEEP_MS, find_kept, keep_result, prune_kept, recall_facts, remember_facts
from app.core.clock import ScriptedClock
from app.core.db import Database

FINDING = {"rule": "odd", "severity": "warning", "message": "It is odd.", "fix": "Look.", "held_out": True}
PASSED: dict[str, Any] = {"gate": "examples", "status": "passed", "duration_ms": 5, "findings": [FINDING], "evidence": {"cases": [1.5]}}
RED = {**PASSED, "status": "failed"}


def test_what_passed_answers_with_its_evidence_its_candidate_and_its_time(database: Database) -> None:
    assert find_kept(database, "key") is None
    keep_result(database, "key", "default", "cand_1", PASSED)
    keep_result(database, "key", "default", "cand_2", PASSED)
    assert find_kept(database, "key") == (PASSED, {"candidate_id": "cand_1", "at": "2026-03-01T09:00:00.000Z"})


@pytest.mark.parametrize("order", [(RED, PASSED), (PASSED, RED), (PASSED, RED, PASSED)])
def test_a_key_that_was_red_once_answers_nothing(database: Database, order: tuple[dict[str, Any], ...]) -> None:
    for result in order:
        keep_result(database, "key", "default", "cand_1", result)
    assert find_kept(database, "key") is None


def test_facts_are_those_that_were_remembered_last(database: Database) -> None:
    assert recall_facts(database, "facts") is None
    for number in (1, 2):
        remember_facts(database, "facts", "default", "mutation", f"cand_{number}", {"n": number})
    assert recall_facts(database, "facts") == {"n": 2}


def test_results_are_forgotten_after_a_month(database: Database, clock: ScriptedClock) -> None:
    keep_result(database, "old", "default", "cand_1", PASSED)
    clock.at += KEEP_MS + 1
    keep_result(database, "new", "default", "cand_1", PASSED)
    assert find_kept(database, "old") is None
    assert prune_kept(database) == 1 and find_kept(database, "new") is not None


def test_only_the_newest_results_are_kept(database: Database, clock: ScriptedClock) -> None:
    for number in range(5):
        clock.at += 1
        keep_result(database, f"key{number}", "default", "cand_1", PASSED)
    assert prune_kept(database, most=3) == 2
    assert [number for number in range(5) if find_kept(database, f"key{number}")] == [2, 3, 4]
