"""The state machines as pure functions."""

from __future__ import annotations

import random

import pytest

from app.runtime.state import (
    COUNTED,
    EFFECT_MOVES,
    RUN_MOVES,
    IllegalMove,
    after_refusal,
    backoff_ms,
    check_effect,
    check_run,
    decide,
)
from app.spec.model import Retry

HERE = (1, 0)


@pytest.mark.parametrize(
    ("state", "mine", "asked", "retry_failed", "expected"),
    [
        ("planned", True, HERE, False, "claim"),
        ("planned", False, None, False, "claim"),
        ("cancelled", False, None, False, "claim"),
        ("done", True, HERE, False, "done"),
        ("done", True, (1, 5), False, "duplicate"),
        ("failed", True, (2, 0), True, "duplicate"),
        ("done", False, None, False, "skipped"),
        ("done", False, HERE, False, "skipped"),
        ("done", False, (1, 3), False, "duplicate"),
        ("claimed", False, None, False, "wait"),
        ("performing", False, None, False, "wait"),
        ("retry_wait", False, None, False, "retrying"),
        ("unknown", False, None, True, "unknown"),
        ("failed", False, None, False, "failed"),
        ("dead", False, None, False, "failed"),
        ("abandoned", False, None, False, "failed"),
        ("failed", False, None, True, "claim"),
        ("dead", False, None, True, "claim"),
        ("abandoned", False, None, True, "claim"),
        ("failed", True, HERE, True, "failed"),
    ],
)
def test_a_second_item_with_the_same_key_gets_what_the_table_says(
    state: str, mine: bool, asked: tuple[int, int] | None, retry_failed: bool, expected: str
) -> None:
    assert decide(state, HERE, asked, mine=mine, retry_failed=retry_failed) == expected


def test_every_state_of_an_effect_is_reachable_and_counted() -> None:
    reached = {"new"}
    while more := {after for before in reached for after in EFFECT_MOVES[before]} - reached:
        reached |= more
    assert reached == set(EFFECT_MOVES)
    assert set(COUNTED) == set(EFFECT_MOVES) - {"new"}


def test_done_is_the_only_effect_state_without_a_way_out() -> None:
    assert [state for state, after in EFFECT_MOVES.items() if not after] == ["done"]


def test_runs_end_in_four_states() -> None:
    assert {state for state, after in RUN_MOVES.items() if not after} == {"completed", "failed", "cancelled", "quarantined"}


@pytest.mark.parametrize("move", [("done", "planned"), ("planned", "performing"), ("performing", "claimed"), ("claimed", "unknown")])
def test_a_move_that_the_diagram_lacks_is_refused(move: tuple[str, str]) -> None:
    with pytest.raises(IllegalMove):
        check_effect(*move)


def test_a_finished_run_cannot_be_taken_up_again() -> None:
    with pytest.raises(IllegalMove):
        check_run("completed", "executing")


def test_attempts_are_capped() -> None:
    retry = Retry(max_attempts=3)
    assert [after_refusal(attempts, retry) for attempts in (1, 2, 3, 4)] == ["retry_wait", "retry_wait", "dead", "dead"]


def test_backoff_is_full_jitter_under_a_growing_capped_ceiling() -> None:
    source, retry = random.Random(20261122), Retry(initial_delay_s=2, factor=2, max_delay_s=10)
    for attempts, ceiling in ((1, 2000), (2, 4000), (3, 8000), (4, 10_000), (9, 10_000)):
        drawn = [backoff_ms(attempts, retry, source) for _ in range(300)]
        assert 0 <= min(drawn) < ceiling * 0.1, (attempts, min(drawn))
        assert ceiling * 0.9 < max(drawn) <= ceiling, (attempts, max(drawn))
