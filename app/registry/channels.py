"""Which version answers a call, and moving that: channels with weights, roll back in one call.

It refuses to be: a rollout. Weights are read here; what changes them by evidence comes from elsewhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from app.access.permissions import use_case
from app.core import feed
from app.core.actor import Actor
from app.core.errors import Conflict, Invalid, NotFound, Problem, ToolmintError
from app.observability import audit
from app.registry import repository
from app.registry.catalog import Catalog
from app.registry.entries import STABLE, Entry, Pointer
from app.registry.models import Version

MOST_REASON = 1000
ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Choice:
    """The version that answers, the channel that led there (None: the caller pinned it), and why, for the run's row."""

    version: int
    channel: str | None
    reason: str


def choose(entry: Entry, actor: Actor, run_key: str | None, version: int | None = None) -> Choice:
    """A pinned version, else by the weights of the channels: the same run key, or else the same actor, gets the same one."""
    if version is not None:
        return Choice(version, None, "pinned by the caller")
    takers = [pointer for pointer in entry.pointers if pointer.weight > 0] or [entry.pointers[0]]
    if len(takers) == 1:
        return Choice(takers[0].version, takers[0].channel, "the only channel with weight")
    by, subject = ("run key", run_key) if run_key is not None else ("actor", actor.id)
    taker = _at(takers, _point(entry, by, subject or "", sum(pointer.weight for pointer in takers)))
    return Choice(taker.version, taker.channel, f"by weight, sticky by {by}")


def _point(entry: Entry, by: str, subject: str, total: int) -> int:
    mark = hashlib.sha256(f"{entry.tenant}\n{entry.name}\n{by}\n{subject}".encode()).digest()
    return int.from_bytes(mark[:8], "big") % total


def _at(takers: list[Pointer], point: int) -> Pointer:
    for pointer in takers:
        point -= pointer.weight
        if point < 0:
            return pointer
    return takers[-1]


@use_case("tools:rollback")
def roll_back(actor: Actor, catalog: Catalog, tool: str, reason: str, version: int | None = None) -> dict[str, Any]:
    """Point `stable` to the version before the present one, or to `version`: `{"tool", "channel", "version", "before", "reason"}`.

    The version before is the one that the present one replaced when it was published, so that rolling back twice goes back twice.
    Raises NotFound `tool_not_found`, `version_not_found`, Conflict `nothing_to_roll_back`, Invalid `reason_invalid`.
    """
    check_reason(reason)
    refusal: ToolmintError | None = None
    with catalog.database.writing() as session:
        if repository.tool(session, actor.tenant, tool) is None:
            raise no_tool(tool)
        repository.held_tool(session, actor.tenant, tool)
        present = repository.channel(session, actor.tenant, tool, STABLE)
        target = version if version is not None else _before(session, actor, tool)
        refusal = _refusal(session, actor, tool, present.version if present else None, target)
        if refusal is None and target is not None:
            step = repository.move(session, actor.tenant, tool, STABLE, target, ROLL_BACK, reason.strip(), actor.id)
            audit.record(session, actor, "tool.rolled_back", tool, "done", before=step.before, after=target, reason=step.reason)
            feed.announce(session, "tools.changed", tool, actor.tenant, verb=ROLL_BACK, version=target)
        elif refusal is not None:
            audit.record(session, actor, "tool.rolled_back", tool, "refused", code=refusal.code)
    if refusal is not None:
        raise refusal
    catalog.forget(actor.tenant)
    return {"tool": tool, "channel": STABLE, "version": step.after, "before": step.before, "reason": step.reason}


def check_reason(reason: str) -> None:
    """Raise Invalid `reason_invalid` unless somebody could learn something from it."""
    if not reason.strip() or len(reason) > MOST_REASON:
        problem = Problem("$.reason", f"must be 1 to {MOST_REASON} characters", "Say why; it goes into the audit trail.")
        raise Invalid("reason_invalid", "This needs a reason.", problems=[problem])


def no_tool(tool: str) -> NotFound:
    """The answer for an unknown tool, and for one that the actor may not know of: the same."""
    return NotFound("tool_not_found", f"There is no tool {tool[:80]!r} that you may call.", fix="List the tools to see which there are.")


def _before(session: Session, actor: Actor, tool: str) -> int | None:
    moves = repository.moves_of(session, actor.tenant, tool, STABLE)
    if not moves:
        return None
    present = moves[0].after
    brought = next((move for move in moves if move.after == present and move.verb != ROLL_BACK), None)
    return brought.before if brought is not None else None


def _refusal(session: Session, actor: Actor, tool: str, present: int | None, target: int | None) -> ToolmintError | None:
    if target is None:
        fix = "Name the version to go to; where there is no other, publish one, and pause the tool meanwhile."
        return Conflict("nothing_to_roll_back", f"{tool} has no version before the present one.", fix=fix)
    row: Version | None = repository.version(session, actor.tenant, tool, target)
    if row is None:
        return NotFound("version_not_found", f"{tool} has no version {target}.", fix="See GET /tools/{name} for its versions.")
    if row.state == "yanked":
        return Conflict("version_yanked", f"Version {target} of {tool} was withdrawn.", fix="Name another version.")
    if target == present:
        return Conflict("nothing_to_roll_back", f"{tool} is at version {target} already.", fix="Name another version.")
    return None
