"""Pause and resume: a tool, a connector, everything; and how connectors are right now.

A pause of a tool stops its calls and its runs. One of a connector stops effects that go through it: runs that come to one wait, reads
and dry runs go on. Every process obeys within a second.

It refuses to be: a cancellation. What waits goes on where it was when the pause is over; nothing is repeated and nothing is lost.
"""

from __future__ import annotations

from typing import Any

from app.access.permissions import use_case
from app.core.actor import Actor
from app.core.errors import Invalid, NotFound, Problem
from app.core.pages import MOST, Page, decode, encode
from app.invocation.desk import Calls
from app.registry.channels import no_tool
from app.runtime.flow import pausing

SCOPES = ("tool", "connector", "everything")
PAUSE = "runs:pause"


@use_case(PAUSE)
def pause(actor: Actor, calls: Calls, scope: str, name: str, reason: str) -> dict[str, Any]:
    """Pause; again with another reason changes the reason. Returns `{"scope", "name", "reason", "actor", "since"}`.

    Raises NotFound `tool_not_found`, `connector_not_found`, Invalid `scope_invalid`, `reason_invalid`.
    """
    _check(actor, calls, scope, name)
    return pausing.begin_pause(actor, calls.database, scope, name, reason)


@use_case(PAUSE)
def resume(actor: Actor, calls: Calls, scope: str, name: str) -> dict[str, Any]:
    """End a pause; returns what it was. Raises NotFound `not_paused`, Invalid `scope_invalid`."""
    if scope not in SCOPES or (scope == "everything") == bool(name):
        raise _no_scope()
    return pausing.end_pause(actor, calls.database, scope, name)


@use_case(None)
def list_pauses(actor: Actor, calls: Calls, cursor: str | None = None, limit: int = 50) -> Page:
    """What is paused, and why. Pauses of tools that the actor may not know of are left out."""
    known = [row for row in pausing.pauses_of(calls.database, actor.tenant) if row["scope"] != "tool" or _knows(actor, calls, row["name"])]
    return _page(known, lambda row: f"{row['scope']} {row['name'] or ''}", cursor, limit)


@use_case(None)
def list_connectors(actor: Actor, calls: Calls, cursor: str | None = None, limit: int = 50) -> Page:
    """Each connector with `role`, `local`, `paused` (its pause or null), `circuit` (`closed`, `open`, `half_open`) and `circuits`.

    A circuit is that of one tool; the connector shows the state that stands for the most trouble.
    """
    kinds = calls.runtime.connectors.catalog.kinds
    paused = {row["name"]: row for row in pausing.pauses_of(calls.database, actor.tenant) if row["scope"] == "connector"}
    circuits = pausing.circuits_of(calls.database, actor.tenant)
    rows = []
    for name, kind in sorted(kinds.items()):
        its = [row for row in circuits if row["connector"].partition("/")[0] == name]
        states = {row["state"] for row in its}
        rows.append(
            {
                "name": name,
                "role": kind.role,
                "local": kind.local,
                "paused": paused.get(name),
                "circuit": "open" if "open" in states else "half_open" if states else "closed",
                "circuits": [row for row in its if _knows(actor, calls, row["tool"])],
            }
        )
    return _page(rows, lambda row: row["name"], cursor, limit)


def _check(actor: Actor, calls: Calls, scope: str, name: str) -> None:
    if scope not in SCOPES or (scope == "everything") == bool(name):
        raise _no_scope()
    if scope == "tool" and name not in calls.catalog.entries(actor.tenant):
        raise no_tool(name)
    if scope == "connector" and name not in calls.runtime.connectors.effects:
        known = ", ".join(sorted(calls.runtime.connectors.effects))
        raise NotFound("connector_not_found", f"There is no connector {name!r} that has effects.", fix=f"Name one of {known}.")


def _no_scope() -> Invalid:
    problem = Problem("$.scope", f"must be one of {', '.join(SCOPES)}, with a name unless it is everything", "Name what to pause.")
    return Invalid("scope_invalid", "It is not clear what to pause.", problems=[problem])


def _knows(actor: Actor, calls: Calls, tool: str) -> bool:
    entry = calls.catalog.entries(actor.tenant).get(tool)
    return actor.may(PAUSE) or (entry is not None and entry.visible_to(actor))


def _page(rows: list[dict[str, Any]], key: Any, cursor: str | None, limit: int) -> Page:
    if not 1 <= limit <= MOST:
        raise Invalid("limit_invalid", f"limit is {limit}; it must be 1 to {MOST}.", fix=f"Ask for at most {MOST} and follow next_cursor.")
    after = str(decode(cursor, 1)[0]) if cursor else ""
    left = sorted((row for row in rows if key(row) > after), key=key)
    return {"items": left[:limit], "next_cursor": encode([key(left[limit - 1])]) if len(left) > limit else None}
