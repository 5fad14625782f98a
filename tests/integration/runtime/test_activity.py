"""Tools are in demand while one runs, and for a moment after one was called."""

from __future__ import annotations

import time

import pytest

from app.core import ids
from app.core.db import Database
from app.runtime.activity import in_demand
from app.runtime.process import Call
from app.sandbox.sandbox import Sandbox
from tests.support.worlds import CALLER, world

pytestmark = pytest.mark.anyio


async def test_tools_are_in_demand_while_one_runs_and_for_a_moment_after_one_was_called(database: Database, sandbox: Sandbox) -> None:
    long_ago, a_minute = -1, 60_000
    assert not in_demand(database, a_minute)
    async with world(database, sandbox) as w:
        _, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": ["ada@example.org"]}))
        assert execution is not None
        assert in_demand(database, long_ago), "it is not over yet"
        await w.runtime.drive(execution)
        assert not in_demand(database, long_ago) and in_demand(database, a_minute)


def test_the_earliest_id_of_an_instant_is_above_all_before_it_and_below_all_since() -> None:
    before = ids.new("run", time.time_ns() // 1_000_000 - 60_001)
    earliest = ids.earliest("run", 60_000)
    assert before < earliest < ids.new("run") and len(before) == len(earliest)
