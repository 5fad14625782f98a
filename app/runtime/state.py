"""The state machines of runs and effects: pure functions over names, asserted on every write.

It refuses to be: a store. Who may make a transition, and when, is guarded by the SQL in `repository.py`.

Effects: planned → claimed → performing (committed before the first byte that may commit) → done. From performing back to planned goes
only what certainly has not left.
Local effects go from claimed to their end in the one transaction that also performs them, so they are never unknown.
"""

from __future__ import annotations

import random
from typing import Literal

from app.spec.model import Retry

NEW = "new"
EFFECT_MOVES: dict[str, frozenset[str]] = {
    NEW: frozenset({"planned"}),
    "planned": frozenset({"claimed", "cancelled"}),
    "claimed": frozenset({"performing", "planned", "retry_wait", "cancelled", "done", "failed"}),
    "performing": frozenset({"done", "unknown", "planned", "retry_wait", "dead", "failed"}),
    "retry_wait": frozenset({"planned", "cancelled"}),
    "unknown": frozenset({"done", "planned", "abandoned"}),
    "done": frozenset(),
    "dead": frozenset({"planned"}),
    "failed": frozenset({"planned"}),
    "abandoned": frozenset({"planned"}),
    "cancelled": frozenset({"planned"}),
}
RUN_MOVES: dict[str, frozenset[str]] = {
    NEW: frozenset({"available", "executing"}),
    "scheduled": frozenset({"executing", "cancelled"}),
    "available": frozenset({"executing", "cancelled"}),
    "executing": frozenset({"completed", "failed", "cancelled", "available", "scheduled", "quarantined"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
    "quarantined": frozenset(),
}
OPEN_RUNS = frozenset({"scheduled", "available", "executing"})
MAX_CRASHES = 3

Status = Literal["done", "skipped", "duplicate", "retrying", "failed", "unknown"]
COUNTED: dict[str, str] = {
    "done": "done",
    "planned": "retrying",
    "claimed": "retrying",
    "performing": "retrying",
    "retry_wait": "retrying",
    "unknown": "unknown",
    "failed": "failed",
    "dead": "failed",
    "abandoned": "failed",
    "cancelled": "failed",
}


class IllegalMove(AssertionError):
    """A transition that the diagram does not have: a bug of ours, never of a caller."""


def check_effect(before: str, after: str) -> None:
    """Assert that an effect may move from `before` to `after`."""
    if after not in EFFECT_MOVES[before]:
        raise IllegalMove(f"effect: {before} → {after}")


def check_run(before: str, after: str) -> None:
    """Assert that a run may move from `before` to `after`."""
    if after not in RUN_MOVES[before]:
        raise IllegalMove(f"run: {before} → {after}")


Place = tuple[int, int]
"""Where a run asks for an effect: the step, and the item's index within the step."""

Decision = Literal["claim", "wait", "done", "skipped", "duplicate", "retrying", "unknown", "failed"]


def decide(state: str, here: Place, asked: Place | None, *, mine: bool, retry_failed: bool) -> Decision:
    """What an item at `here` gets whose key is there already, in `state`; ARCHITECTURE.md has the table.

    `mine`: the effect is the asking run's own. `asked`: where that run has asked for it before, if it has.
    """
    if asked is not None and asked != here:
        return "duplicate"
    match state:
        case "planned" | "cancelled":
            return "claim"
        case "claimed" | "performing":
            return "wait"
        case "done":
            return "done" if mine else "skipped"
        case "retry_wait":
            return "retrying"
        case "unknown":
            return "unknown"
        case _:
            return "claim" if retry_failed and not mine else "failed"


def status_of(state: str) -> Status:
    """The outcome that a tool is told of an effect of its own run in `state`."""
    named: dict[str, Status] = {"done": "done", "unknown": "unknown", "failed": "failed", "dead": "failed", "abandoned": "failed"}
    return named.get(state, "retrying" if state != "cancelled" else "failed")


def after_refusal(attempts: int, retry: Retry) -> str:
    """Where a definite transient refusal leads after `attempts` attempts."""
    return "retry_wait" if attempts < retry.max_attempts else "dead"


def backoff_ms(attempts: int, retry: Retry, source: random.Random) -> int:
    """Full jitter: uniform between 0 and the capped exponential delay after `attempts` attempts, in ms."""
    ceiling = min(retry.max_delay_s, retry.initial_delay_s * retry.factor ** max(0, attempts - 1))
    return round(source.uniform(0, ceiling) * 1000)
