"""The database is on a clock that the test moves."""

from __future__ import annotations

import pytest

from app.core.clock import ScriptedClock


@pytest.fixture
def clock() -> ScriptedClock:
    return ScriptedClock()
