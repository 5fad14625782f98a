"""What is listed as read-only changes nothing, whatever its spec says; and what became no effect is in the audit trail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import col, select

from app.core.db import Database
from app.observability.models import AuditEvent
from app.runtime import queue
from app.runtime.models import Effect
from app.sandbox.sandbox import Sandbox
from tests.support.worlds import CALLER, World, world

pytestmark = pytest.mark.anyio
ADA, BOB = "ada@example.org", "bob@example.org"


def refusals(w: World) -> list[tuple[str, str, dict[str, Any]]]:
    with w.database.reading() as session:
        events = session.exec(select(AuditEvent).where(AuditEvent.action == "effect.refused").order_by(col(AuditEvent.id))).all()
    return [(event.actor, event.target, event.body or {}) for event in events]


async def test_a_version_listed_as_read_only_performs_nothing_whatever_its_spec_declares(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        assert w.programs[1].spec.effects
        w.programs[1] = replace(w.programs[1], read_only=True)
        begun, ending = await w.call(group="g", to=[ADA])
        assert ending is not None and ending.error is not None and ending.error["code"] == "version_read_only"
        assert w.sent() == [] and w.run(begun.run_id)["effects"] == {}
        assert refusals(w) == [(CALLER.id, "send_notes/send", {"code": "version_read_only", "run": begun.run_id})]


async def test_what_waits_in_the_queue_of_such_a_version_stays_there(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox, script=[{"effect": "send", "when": {}, "answer": "refuse_now", "times": 1}]) as w:
        await w.call(group="g", to=[ADA])
        w.programs[1] = replace(w.programs[1], read_only=True)
        with database.writing() as session:
            effect = session.exec(select(Effect)).one()
            effect.next_at = 0
        assert await queue.work_queue(w.runtime) == 1
        with database.reading() as session:
            effect = session.exec(select(Effect)).one()
        assert (effect.state, effect.error_code) == ("planned", "version_read_only") and w.sent() == []


async def test_items_that_make_no_key_are_audited_once_for_each_effect_and_code(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        begun, ending = await w.call(group="g", to=["no address", ADA, "nor this"])
        assert ending is not None and ending.result is not None and ending.result["failed"] == 2
        assert w.sent() == [ADA]
        assert refusals(w) == [(CALLER.id, "send_notes/send", {"code": "item_invalid", "run": begun.run_id, "items": 2})]
