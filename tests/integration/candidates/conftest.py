"""A scratch database on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.clock import ScriptedClock
from app.core.db import Database
from tests.support.scratch import scratch_database


@pytest.fixture
def clock() -> ScriptedClock:
    return ScriptedClock()


@pytest.fixture
def database(tmp_path: Path, clock: ScriptedClock) -> Iterator[Database]:
    database = scratch_database(tmp_path, clock)
    yield database
    database.close()
