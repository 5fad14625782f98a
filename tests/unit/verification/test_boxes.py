"""How a check that was ended is told: by its limit where it used it up, as nobody's fault where the machine hardly let it run."""

from __future__ import annotations

import pytest

from app.core.errors import Failed
from app.sandbox.oneshot import PATIENCE, Completed
from app.verification.boxes import Cut, refuse_cut

WALL_MS = 1000 * PATIENCE


def test_a_check_that_used_its_time_is_the_candidates_fault() -> None:
    with pytest.raises(Cut) as cut:
        refuse_cut("mypy", Completed(137, b"", b"", WALL_MS, 1000, "time"))
    assert cut.value.finding.rule == "time_limit" and cut.value.finding.fix


def test_a_check_that_was_kept_from_the_processor_breaks_and_refuses_nobody() -> None:
    with pytest.raises(Failed) as failed:
        refuse_cut("mypy", Completed(137, b"", b"", WALL_MS, 40, "time"))
    assert failed.value.code == "machine_busy" and "Verify again" in failed.value.fix


def test_where_the_processors_time_is_not_known_the_clock_decides() -> None:
    with pytest.raises(Cut):
        refuse_cut("mypy", Completed(137, b"", b"", 1000, None, "time"))
