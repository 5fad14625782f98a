"""A version that is listed as read-only, because its runs showed nothing else, performs nothing: not by a call, not by a rehearsal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlmodel import select

from app.core.db import Database
from app.invocation.calling import call_tool
from app.observability.models import AuditEvent
from app.runtime.models import Effect
from app.sandbox.sandbox import Sandbox
from tests.support.published import CALLER, house, proof_of, release
from tests.support.worlds import SENDER, sender_spec

pytestmark = pytest.mark.anyio
ARGS = {"group": "g", "to": ["a@example.com"]}


async def test_a_version_that_is_listed_as_read_only_cannot_perform_what_its_spec_declares(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release, h.catalog, sender_spec(), SENDER, proof=proof_of())
        entry = h.catalog.entries(CALLER.tenant)["send_notes"]
        assert entry.spec.effects and entry.shape["annotations"]["readOnlyHint"] is True
        answer = await call_tool(CALLER, h.calls, "send_notes", ARGS)
        assert answer.body["state"] == "failed" and answer.body["error"]["code"] == "version_read_only"
        rehearsed = await call_tool(CALLER, h.calls, "send_notes", ARGS, dry_run=True)
        assert rehearsed.body["error"]["code"] == "version_read_only" and not rehearsed.body["plan"]
        with database.reading() as session:
            assert session.exec(select(Effect)).all() == [] and h.connectors.performed == []
            refused = session.exec(select(AuditEvent).where(AuditEvent.action == "effect.refused")).all()
        assert [(event.target, (event.body or {})["code"]) for event in refused] == [("send_notes/send", "version_read_only")] * 2


async def test_a_version_that_was_proved_to_perform_does_so(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        proof = proof_of(readOnlyHint=False, destructiveHint=True, openWorldHint=True)
        await asyncio.to_thread(release, h.catalog, sender_spec(), SENDER, proof=proof)
        answer = await call_tool(CALLER, h.calls, "send_notes", ARGS)
        assert answer.body["result"]["done"] == 1 and answer.evidence.annotations["from"] == "runs"
