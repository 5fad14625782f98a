"""How findings about runs under schedules are worded: one fix for each rule, and the short names of keys and ledgers.

It refuses to be: a judge. What must hold is said by `clean`, `disturbed` and `variations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app.spec.model import Example
from app.verification.findings import Finding, Severity
from app.verification.stage import Key, Row

_DETERMINISM = "Take time, randomness and ids from the context, iterate over nothing unordered, and count an unknown outcome as unknown."
_KEYS = "Build items from args and reads so that the spec's key is the same for the same work; put no time, random value or new id into it."
_LISTS = "Make of each item of the list the same effect wherever it stands: no position, counter or neighbour in what the key is made of."
FIXES: Mapping[str, str] = MappingProxyType(
    {
        "effects_time": "Do less in one example.",
        "new_effects_on_repeat": _KEYS,
        "performed_twice": "Ask for the same work under the same key, whatever became of it before; the host decides what is done again.",
        "fails_on_repeat": "Return a result whatever was done before: count what is skipped as skipped.",
        "state_between_calls": "Keep nothing between calls and take what items are made of from args, reads and the context alone.",
        "moving_time_differs": "Decide by one ctx.now() of the run what is due; that time has passed since may be written down, no more.",
        "other_time_breaks": "Expect every date: count what it makes impossible as failed, or end the run with ToolError(code, message).",
        "other_time_differs": "Say in the description what depends on the date, and remove what should not.",
        "replay_differs": _DETERMINISM,
        "unrepeatable": _DETERMINISM,
        "resume_fails": _DETERMINISM,
        "resume_differs": _DETERMINISM,
        "ledger_differs": _DETERMINISM,
        "ends_badly": "Count every outcome in one field of the result (Outcome.status), or end the run with ToolError(code, message).",
        "best_effort_stops": "Go on with the rest and report it, or declare the effect required in the spec.",
        "refusal_swallowed": "Look at outcome.status: say in the result what is not done, or raise ToolError.",
        "repeated_under_another_key": "Never do it again under another key: what is unknown may have happened, what is retrying will.",
        "half_done": "Write what belongs together as one effect (records.put_many with atomic), or in an order that the invariant allows.",
        "not_recovered": "Ask for every effect in every run, and go on where an outcome is `done` or `skipped`: both mean that it is done.",
        "done_otherwise": "Take what an item needs from a `skipped` outcome as from a `done` one: it carries the same receipt.",
        "twins_differ": "Make keys of args and of what both calls read alike, and treat `skipped` as done.",
        "overwrites_what_it_read": "Pass expected_version=row['version'] with what was read, and count a version_conflict as failed.",
        "wrong_item_follows": "Keep each outcome with its own item: zip what was performed, all of it, with its outcomes.",
        "order_changes_keys": _LISTS,
        "duplicates_change_keys": _LISTS,
        "items_share_a_key": _LISTS,
        "one_key_for_two": "Give what differs a key of its own, or put what belongs to one key together before it is performed.",
        "list_fails": "Count an item that comes twice as a duplicate (Outcome.status), and take the list in any order.",
        "effect_unproven": "Add an example that performs it, or remove it from the spec.",
        "effect_undisturbed": "Add an example in which it is done.",
        "one_key_only": "Add an example with two different items.",
    }
)


def found(
    example: Example,
    rule: str,
    message: str,
    expected: Any = None,
    got: Any = None,
    *,
    args: Mapping[str, Any] | None = None,
    severity: Severity = "error",
) -> Finding:
    """A finding about the tool in the world of `example`, called with its arguments or with `args`."""
    given = {"example": example.name, "args": example.args if args is None else args}
    held_out = example.visibility == "held_out"
    return Finding(rule, message, FIXES[rule], severity, "tool.py", input=given, expected=expected, got=got, held_out=held_out)


def named(key: Key) -> str:
    """An effect with its key, short."""
    return f"{key[0]} {key[1][:120]}"


def some_keys(ledger: Mapping[Key, Row]) -> list[str]:
    """Up to 20 keys of a ledger."""
    return [named(key) for key in sorted(ledger)[:20]]


def some_states(ledger: Mapping[Key, Row]) -> dict[str, str]:
    """The states of up to 20 effects."""
    return {named(key): row.state for key, row in sorted(ledger.items())[:20]}
