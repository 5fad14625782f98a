"""The gate "rollback": a drill, and the way back that the spec declares.

The drill publishes, calls, publishes again, calls, rolls back and calls, while beside it the same three calls are made with nothing
published in between: answers, keys and ledger must be the same. The second version is the candidate's twin: what a version promises
across a publication is that its effects stay done. Where there is a version that the candidate would replace, that one is drilled with the
candidate as well (`former`). Each declared undo is carried out (`undoing`); an effect that cannot be undone says why,
and counts half.

It refuses to be: a comparison with the version that it replaces; that is compatibility's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from app.core.errors import ToolmintError
from app.spec.model import Example, ExecutionSpec
from app.verification import repository, undoing
from app.verification.drill import Drill, drilled
from app.verification.findings import Finding, GateOutcome
from app.verification.former import drill_former
from app.verification.path_gate import busiest
from app.verification.stage import Key, Played, Row, staged
from app.verification.subject import Bench, Subject
from app.verification.touched import touched

_SAY = {
    "published": "The first version did not answer the call.",
    "replaced": "The second version did not answer after it was published.",
    "rolled_back": "The first version did not answer after the roll back.",
    "answers": "The calls are answered differently from the same calls without a publication or a roll back between them.",
    "keys_kept": "The calls plan effects under other keys than the same calls without a publication or a roll back between them.",
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
    """`drill` maps each promise to whether it held; `undo` is how much of the tool can be taken back, `undone` what was, by effect."""
    example = busiest(subject.spec)
    if example is None:
        message = "No example ends with a result, so there is nothing to drill with."
        return GateOutcome([Finding("no_successful_example", message, "Add an example with a result.", file="spec.json")])
    try:
        held, plays = await _drilled(subject, bench, example)
    except ToolmintError as error:
        message = f"The drill could not be ended: {error.detail}"
        return GateOutcome([Finding("drill_refused", message, error.fix or "Report this.", got=error.code)], {"drill": {"ended": False}})
    findings = [
        Finding(f"rollback_{name}", _SAY[name], _FIX.get(name, "Report this: the platform must hold it."), input={"example": example.name})
        for name, kept in held.items()
        if not kept
    ]
    former, told = await drill_former(subject, bench)
    findings += told
    taken = await undoing.taken_back(subject, bench)
    findings += [finding for one in taken for _, finding in one.findings]
    undone = undoing.undone(subject.spec, taken)
    evidence = {
        "drill": held,
        "former": former,
        "undo": undo_share(subject.spec, undone),
        "undone": undone,
        "undo_cases": [one.as_dict() for one in taken],
        "stays": {effect.id: effect.undo_reason for effect in subject.spec.effects if effect.undo is None},
        "example": example.name,
        "touched": touched([*plays, *(play for one in taken for play in one.plays)]),
    }
    return GateOutcome(findings, evidence)


async def _drilled(subject: Subject, bench: Bench, example: Example) -> tuple[dict[str, bool], list[Played]]:
    """What held, and the calls that were made without the drill."""
    async with drilled(bench, subject, example) as drill:
        walked = await drill.walk(example.args, subject, subject)
        audited = await asyncio.to_thread(_audited, drill)
    plain, plays = await _plain(subject, bench, example)
    held = walked.held | {
        "answers": [answer["result"] for answer in walked.answers] == [played.result for played in plays],
        "keys_kept": [set(ledger) for ledger in walked.ledgers] == [set(ledger) for ledger in plain],
        "audited": audited,
    }
    return held, plays


async def _plain(subject: Subject, bench: Bench, example: Example) -> tuple[list[dict[Key, Row]], list[Played]]:
    """The same three calls of one version."""
    ledgers, plays = [], []
    program = subject.program()
    async with staged(bench, example, subject.caller, program) as stage:
        for _ in range(3):
            plays.append(await stage.play(program, example.args))
            ledgers.append(await asyncio.to_thread(stage.ledger))
    return ledgers, plays


def _audited(drill: Drill) -> bool:
    with drill.database.reading() as session:
        done = [event.action for event in repository.audit_events(session) if event.outcome == "done" and event.actor == drill.operator.id]
    return done.count("version.published") == 2 and done.count("tool.rolled_back") == 1


def undo_share(spec: ExecutionSpec, undone: Mapping[str, bool]) -> float:
    """1 where every effect was taken back (or there is none), half for each that says why it cannot be, nothing for one that was not."""
    if not spec.effects:
        return 1.0
    return sum(float(undone[effect.id]) if effect.id in undone else 0.5 for effect in spec.effects) / len(spec.effects)
