"""Two that wait for each other on PostgreSQL: one of them is ended, and does the same again."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from app.core.db import Database
from app.runtime import decisions
from app.runtime.models import Effect, Run
from app.sandbox.sandbox import Sandbox
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, world

pytestmark = pytest.mark.anyio
ADA = "ada@example.org"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_cancellation_that_the_database_ends_for_another_is_done_again(database: Database, sandbox: Sandbox) -> None:
    script = [{"effect": "send", "when": {"to": ADA}, "answer": "crash_before"}]
    async with world(database, sandbox, script=script, on_unknown="retry") as w:
        run_id, _ = await w.call_and_die(group="g", to=[ADA])
        with database.writing() as other:
            other.connection().execute(sa.text("SET LOCAL deadlock_timeout = '60s'"))  # so that the cancellation is the one to be ended
            other.exec(select(Effect).where(col(Effect.run_id) == run_id).with_for_update()).all()
            cancelling = asyncio.create_task(asyncio.to_thread(decisions.cancel_run, CALLER, database, run_id))
            await until(lambda: waits_for_a_lock(database))
            await asyncio.to_thread(other.exec, select(Run).where(col(Run.id) == run_id).with_for_update())
        assert (await cancelling)["state"] == "cancelled" and w.states() == {ADA: "cancelled"}


def waits_for_a_lock(database: Database) -> bool:
    """Whether some session of this database waits for another's lock."""
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with database.reading() as session:
        return session.connection().execute(sa.text(query)).first() is not None
