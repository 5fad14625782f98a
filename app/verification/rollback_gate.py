"""The gate "rollback": a drill. Publish, call, publish again, call, roll back, call: answers, keys and ledger as promised.

The second version is the candidate's twin: what a version promises across a publication is that its effects stay done. Whether it can be
undone is the spec's word: an effect with `undo` counts whole, one that says why there is none counts half.

It refuses to be: a comparison with the version that it replaces; that is compatibility's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from app.core.errors import ToolmintError
from app.spec.model import ExecutionSpec
from app.verification import repository
from app.verification.drill import Drill, drilled
from app.verification.findings import Finding, GateOutcome
from app.verification.path_gate import busiest
from app.verification.stage import Key, Row
from app.verification.subject import Bench, Subject

_SAY = {
    "published": "The first version did not answer the call.",
    "replaced": "The second version did not answer after it was published.",
    "rolled_back": "The first version did not answer after the roll back.",
    "answers": "A call after the roll back is answered differently from the same call before it.",
    "keys_kept": "A later version, or the roll back, planned effects under new keys.",
    "nothing_repeated": "An effect was performed again by a later version or after the roll back.",
    "audited": "The audit trail lacks a publication or the roll back.",
}
_CALLED_AGAIN = "Make the example's call end with a result each time it is made: what was done before comes back as skipped."
_FIX = {
    "published": _CALLED_AGAIN,
    "replaced": _CALLED_AGAIN,
    "rolled_back": _CALLED_AGAIN,
    "answers": "Make the result depend on args, reads and outcomes alone.",
    "keys_kept": "Build items from args and reads so that the spec's key is the same for the same work.",
    "nothing_repeated": "Perform through ctx alone; the ledger then holds across versions.",
}


async def check_rollback(subject: Subject, bench: Bench, _seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """`drill` maps each promise to whether it held; `undo` is how much of the tool can be taken back."""
    example = busiest(subject.spec)
    if example is None:
        message = "No example ends with a result, so there is nothing to drill with."
        return GateOutcome([Finding("no_successful_example", message, "Add an example with a result.", file="spec.json")])
    try:
        async with drilled(bench, subject, example) as drill:
            held = await _drill(drill, example.args)
    except ToolmintError as error:
        message = f"The drill could not be ended: {error.detail}"
        return GateOutcome([Finding("drill_refused", message, error.fix or "Report this.", got=error.code)], {"drill": {"ended": False}})
    findings = [
        Finding(f"rollback_{name}", _SAY[name], _FIX.get(name, "Report this: the platform must hold it."), input={"example": example.name})
        for name, kept in held.items()
        if not kept
    ]
    return GateOutcome(findings, {"drill": held, "undo": undo_share(subject.spec), "example": example.name})


async def _drill(drill: Drill, args: Mapping[str, Any]) -> dict[str, bool]:
    first = await drill.publish()
    one = await drill.call(args, key="first")  # keys of their own: a natural run key would replay the first answer
    after_one = await asyncio.to_thread(drill.stage.ledger)
    second = await drill.publish()
    two = await drill.call(args, key="second")
    after_two = await asyncio.to_thread(drill.stage.ledger)
    back = await drill.roll_back()
    three = await drill.call(args, key="third")
    after_three = await asyncio.to_thread(drill.stage.ledger)
    return {
        "published": one["version"] == first and one["state"] == "completed",
        "replaced": two["version"] == second and two["state"] == "completed",
        "rolled_back": three["version"] == first == back and three["state"] == "completed",
        "answers": three["result"] == two["result"],
        "keys_kept": set(after_one) == set(after_two) == set(after_three),
        "nothing_repeated": _repeated_nothing(after_one, after_three),
        "audited": await asyncio.to_thread(_audited, drill),
    }


def _repeated_nothing(before: Mapping[Key, Row], after: Mapping[Key, Row]) -> bool:
    return all(after[key].performed == row.performed for key, row in before.items() if row.state == "done" and key in after)


def _audited(drill: Drill) -> bool:
    with drill.database.reading() as session:
        done = [event.action for event in repository.audit_events(session) if event.outcome == "done" and event.actor == drill.operator.id]
    return done.count("version.published") == 2 and done.count("tool.rolled_back") == 1


def undo_share(spec: ExecutionSpec) -> float:
    """1 where every effect can be taken back (or there is none), half for each that only says why it cannot."""
    if not spec.effects:
        return 1.0
    return sum(1.0 if effect.undo is not None else 0.5 for effect in spec.effects) / len(spec.effects)
