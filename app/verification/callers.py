"""Actors without permission at a published tool: each is told that there is no such tool, and nothing of its call remains.

It refuses to be: a test of every door. REST, MCP and the dashboard call the one use case that is called here.
"""

from __future__ import annotations

import asyncio
from typing import Any

from app.core.actor import Actor
from app.core.errors import ToolmintError
from app.invocation.calling import Waiting, call_tool
from app.verification import repository
from app.verification.drill import Drill, drilled
from app.verification.subject import Bench, Subject

CODE = "tool_not_found"


async def refused_callers(subject: Subject, bench: Bench) -> list[dict[str, Any]]:
    """A row for each permission that a caller must hold and one lacks: `{"case", "asked", "code", "ended", "audited", "left"}`."""
    async with drilled(bench, subject, subject.spec.examples[0]) as drill:
        await drill.publish()
        return [await _refused(drill, permission) for permission in sorted(subject.caller.permissions)]


async def _refused(drill: Drill, permission: str) -> dict[str, Any]:
    whole = drill.subject.caller
    actor = Actor(f"key_without_{permission.replace(':', '_')}", "stranger", whole.tenant, whole.permissions - {permission})
    code = None
    try:
        await call_tool(actor, drill.calls, drill.subject.tool, dict(drill.subject.spec.examples[0].args), waiting=Waiting(wait_s=5))
    except ToolmintError as error:
        code = error.code
    audited, left = await asyncio.to_thread(_looked, drill, actor.id)
    ended = "refused" if code == CODE and audited and not left else "not_held"
    name = f"caller without {permission}"
    return {"case": name, "asked": drill.subject.tool, "code": CODE, "ended": ended, "audited": audited, "left": left}


def _looked(drill: Drill, actor: str) -> tuple[bool, int]:
    """Whether the refusal is in the audit trail, and how many runs and effects there are."""
    with drill.database.reading() as session:
        events = repository.audit_events(session)
        runs = repository.runs(session)
    told = any(event.actor == actor and event.action == "tool.called" and event.outcome == "refused" for event in events)
    return told, runs + len(drill.stage.ledger()) + len(drill.stage.connectors.performed)
