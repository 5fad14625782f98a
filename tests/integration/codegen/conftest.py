"""The database on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.core.clock import ScriptedClock
from app.core.db import Database


@pytest.fixture
def clock() -> ScriptedClock:
    return ScriptedClock()


@pytest.fixture
def database(database_url: str, clock: ScriptedClock) -> Iterator[Database]:
    database = Database(database_url, clock=clock, durable=False)
    yield database
    database.close()
