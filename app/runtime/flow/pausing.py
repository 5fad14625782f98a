"""Pauses as rows, and open circuits as people see them. Who may pause what is decided by `invocation.pausing`.

It refuses to be: what obeys. Every process watches the table (`board`).
"""

from __future__ import annotations

from typing import Any

from app.core.actor import Actor
from app.core.clock import iso
from app.core.db import Database
from app.core.errors import Invalid, NotFound, Problem
from app.runtime.models import Pause
from app.runtime.repository import flow as repository
from app.runtime.repository.flow import CircuitName, Opened


def begin_pause(actor: Actor, database: Database, scope: str, name: str, reason: str) -> dict[str, Any]:
    """Pause, or give a pause another reason. Raises Invalid `reason_invalid`."""
    if not 3 <= len(reason.strip()) <= 500:
        problem = Problem("$.reason", "must have 3 to 500 characters", "Say why; everybody who is refused reads it.")
        raise Invalid("reason_invalid", "A pause needs a reason.", problems=[problem])
    with database.writing() as session:
        return pause_row(repository.set_pause(session, actor, scope, name, reason.strip()))


def end_pause(actor: Actor, database: Database, scope: str, name: str) -> dict[str, Any]:
    """End a pause and return what it was. Raises NotFound `not_paused`."""
    with database.writing() as session:
        row = repository.end_pause(session, actor, scope, name)
        if row is not None:
            return pause_row(row)
    what = f"The {scope} {name}" if name else "Everything"
    raise NotFound("not_paused", f"{what} is not paused.", fix="See GET /pauses for what is; a tool may wait for a pause of everything.")


def pauses_of(database: Database, tenant: str) -> list[dict[str, Any]]:
    """Every pause of a tenant, oldest first."""
    with database.reading() as session:
        return [pause_row(row) for row in repository.pauses(session) if row.tenant == tenant]


def circuits_of(database: Database, tenant: str) -> list[dict[str, Any]]:
    """Every open circuit of a tenant, by connector and tool."""
    now = database.clock.now()
    with database.reading() as session:
        found = sorted((name, opened) for name, opened in repository.circuits(session).items() if name.tenant == tenant)
    return [circuit_row(name, opened, now) for name, opened in found]


def pause_row(row: Pause) -> dict[str, Any]:
    """A pause as REST, MCP and pages show it."""
    return {"scope": row.scope, "name": row.name or None, "reason": row.reason, "actor": row.actor, "since": iso(row.at)}


def circuit_row(name: CircuitName, opened: Opened, now: int) -> dict[str, Any]:
    """An open circuit as REST, MCP and pages show it. `half_open`: its next trial is due or under way."""
    return {
        "connector": name.connector,
        "tool": name.tool,
        "state": "open" if now < opened.trial_at else "half_open",
        "error": opened.error,
        "trials": opened.trials,
        "opened_at": iso(opened.opened_at),
        "trial_at": iso(opened.trial_at),
    }
