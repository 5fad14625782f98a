"""The short form of `make chaos`: two workers, three kills that count and a zombie, while both policies send."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.chaos.__main__ import SEED
from tests.chaos.scenarios import SHORT
from tests.chaos.show import perform


@pytest.mark.timeout(300)
def test_nothing_is_lost_or_doubled_while_workers_are_killed_stopped_and_woken(tmp_path: Path) -> None:
    (scenario,) = SHORT
    found = perform(tmp_path, scenario, SEED, time.monotonic() + 240)
    assert found.broken == [], f"seed {SEED}"
    assert found.effective >= scenario.kills and found.zombies >= scenario.zombies and found.around["redis"] >= scenario.redis
