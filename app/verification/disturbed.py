"""Runs that are disturbed in one place, what is made of them afterwards, and what must hold.

A run under a schedule is taken up again wherever its process died; one that was refused something dies as it hands its result over, so
that every schedule is also a resume. Then doubts are resolved, the queue does what is due, and the same call is made again. Each is
compared with one clean run: what the tool heard as in that run must come to the same; what it heard otherwise must show.

It refuses to be: strict about what a tool does with a refusal. It may stop or go on, as long as nothing is done twice, hidden or lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.runtime.program import Program
from app.runtime.state import COUNTED
from app.spec.invariants import check_expressions, roots_of
from app.spec.model import Effect, ExecutionSpec, Invariant
from app.spec.paths import names_in
from app.spec.schemas import json_path
from app.verification.clean import Clean, to_an_end
from app.verification.declared import SETTLED, declared, is_local_effect, is_repeated, may_repeat
from app.verification.differences import differences
from app.verification.findings import Finding, Severity
from app.verification.leaves import leaves
from app.verification.schedules import DEATHS, Schedule
from app.verification.stage import Interruption, Key, Played, Row, Stage, staged
from app.verification.subject import Bench, Subject
from app.verification.witness import Moment
from app.verification.wording import found, named, some_states

_CUES = {
    "refuse_now": "refuse_now",
    "refuse_for_good": "refuse_for_good",
    "lose_reply": "lose_reply",
    "crash_before": "crash_before",
    "crash_after": "crash",
}
_ALIKE = 0.5


@dataclass(frozen=True, slots=True)
class Disturbed:
    """A run under a schedule with the ledger that it left, then the same call again, as often as there is more to do, and what is left."""

    schedule: Schedule
    clean: Clean
    played: Played
    ledger: Mapping[Key, Row]
    again: Played
    after: Mapping[Key, Row]
    records: Mapping[tuple[str, str], Any]

    @property
    def told(self) -> str | None:
        """What the tool was told of the target at last; None where it did not ask for it, or there is none."""
        of_target = (one.status for one in self.played.done if (one.effect, one.key) == self.schedule.target)
        return next(of_target, None)


async def run_disturbed(subject: Subject, bench: Bench, clean: Clean, schedule: Schedule) -> Disturbed:
    """Play one schedule of the matrix, a cut or a stop."""
    program, example = subject.program(), clean.example
    async with staged(bench, example, subject.caller, program, script=_script(subject.spec, clean, schedule)) as stage:
        stage.interruptions += _interruptions(subject.spec, stage, program, schedule)
        played = await stage.play(program, example.args, clean.played.seed)
        stage.interruptions.clear()
        ledger = await asyncio.to_thread(stage.ledger)
        await stage.settle()
        again = await stage.play(program, example.args, clean.played.seed if schedule.kind == "stopped" else None)
        if clean.goes_on:
            await to_an_end(stage, program, example)
        after = await asyncio.to_thread(stage.ledger)
        return Disturbed(schedule, clean, played, ledger, again, after, await asyncio.to_thread(stage.records))


def _script(spec: ExecutionSpec, clean: Clean, schedule: Schedule) -> list[dict[str, Any]]:
    target = schedule.target
    if target is None or _dies_when_told(spec, schedule):
        return []
    if schedule.kind == "refuse_all":
        return [{"effect": target[0], "answer": "refuse_for_good"}]
    return [{"effect": target[0], "id": clean.ledger[target].id, "answer": _CUES[schedule.kind], "times": 1}]


def _dies_when_told(spec: ExecutionSpec, schedule: Schedule) -> bool:
    """A local effect is done when it is committed, so a process that dies after it dies between that and telling the tool."""
    return schedule.kind == "crash_after" and schedule.target is not None and is_local_effect(declared(spec, schedule.target[0]))


def _interruptions(spec: ExecutionSpec, stage: Stage, program: Program, schedule: Schedule) -> Iterator[Interruption]:
    def is_asked(moment: Moment) -> bool:
        return moment.what == "asks" and moment.nth == schedule.at

    def is_told(moment: Moment) -> bool:
        args = schedule.example.args
        asked = ((act.effect, stage.key_of(program, args, act.effect, act.item)[1]) for act in moment.acts)
        return moment.what == "told" and any(key == schedule.target for key in asked)

    if schedule.at is not None:
        yield Interruption("die" if schedule.kind == "cut" else "cancel", is_asked)
    elif _dies_when_told(spec, schedule):
        yield Interruption("die", is_told)
    elif schedule.kind not in DEATHS:
        yield Interruption("die", lambda moment: moment.what == "ends")


def judge_disturbed(spec: ExecutionSpec, seen: Disturbed) -> list[Finding]:
    """What does not hold, by the first check that finds something: what follows from it would only repeat it."""
    checks = (_met, _repetition, _ending, _together, _ledger, _visible, _second_call, _recovery, _content)
    return next((findings for check in checks if (findings := list(check(spec, seen)))), [])


def _otherwise(seen: Disturbed) -> set[Key]:
    """Effects of which the tool heard otherwise than in the clean run.

    Beside the target there may be others: a cue of the example that answers so many times may meet another item once one is repeated.
    """
    was = _heard(seen.clean.played)
    other = {key for key, status in _heard(seen.played).items() if key in was and status != was[key] and not {status, was[key]} <= SETTLED}
    return other | ({seen.schedule.target} if seen.schedule.target is not None and seen.told not in SETTLED else set())


def _heard(played: Played) -> dict[Key, str]:
    """What a run's tool was told of each key at first."""
    return {(one.effect, one.key): one.status for one in reversed(played.done) if one.key is not None}


def _as_ever(seen: Disturbed) -> bool:
    """Whether the tool heard of everything what it hears in a clean run, so that it must come to the same."""
    return not _otherwise(seen)


def _may_stop(spec: ExecutionSpec, seen: Disturbed) -> bool:
    """Whether the tool may leave work undone: something that it requires was not done."""
    return any(declared(spec, key[0]).criticality == "required" for key in _otherwise(seen))


def _met(_spec: ExecutionSpec, seen: Disturbed) -> Iterator[Finding]:
    """The run came to the place of the schedule: the same call in the same world asks for the same."""
    kind = seen.schedule.kind
    stopped = seen.played.state == "cancelled" if kind == "stopped" else len(seen.played.attempts) > 1
    if not stopped or (seen.schedule.target is not None and seen.told is None and seen.played.state == "completed"):
        message = f"A run {seen.schedule} does not come to that place, although one run in the same world did."
        yield found(seen.clean.example, "unrepeatable", message, some_states(seen.clean.ledger), some_states(seen.ledger))


def _repetition(_spec: ExecutionSpec, seen: Disturbed) -> Iterator[Finding]:
    """The resumed attempt asks again for what the first one asked for, and ends as that did."""
    first, last = seen.played.attempts[0], seen.played.attempts[-1]
    for index, (asked, again) in enumerate(zip(first.acts, last.acts, strict=False), 1):
        if (asked.effect, asked.item) != (again.effect, again.item):
            place = differences({"id": asked.effect, "item": asked.item}, {"id": again.effect, "item": again.item})[0]
            message = f"A run {seen.schedule}, resumed, asks for another item {index}: {place}."
            yield found(seen.clean.example, "resume_differs", message, asked.item, again.item)
            return
    told = [[act.outcome and act.outcome["status"] for act in attempt.acts] for attempt in (first, last)]
    if told[0] != told[1] or first.end is None or last.end is None:  # it may have been told more: what was in doubt was done again
        return
    if places := differences(dict(first.end), dict(last.end)):
        message = f"A run {seen.schedule}, resumed as it was about to end, ends in another way: {places[0]}."
        yield found(seen.clean.example, "resume_differs", message, first.end, last.end)


def _ending(spec: ExecutionSpec, seen: Disturbed) -> Iterator[Finding]:
    played, clean = seen.played, seen.clean.played
    if seen.schedule.kind == "stopped" or (played.state, played.error_code) == (clean.state, clean.error_code):
        return
    if not _as_ever(seen) and played.state == "completed":
        return
    if played.is_business_error and _may_stop(spec, seen):
        return
    rule = "resume_fails" if seen.schedule.kind in DEATHS else "ends_badly"
    if played.is_business_error and not _as_ever(seen):
        rule = "best_effort_stops"
    said = str((played.error or {}).get("message", ""))[:400]
    message = f"A run {seen.schedule} ends {played.state!r} with {played.error_code!r}: {said}."
    yield found(seen.clean.example, rule, message, clean.state, played.error)


def _together(spec: ExecutionSpec, seen: Disturbed) -> Iterator[Finding]:
    """Of records that belong together by an invariant over effects alone, a run that ends with an error leaves all or none."""
    invariants = [one for one in spec.invariants if _is_about_records(spec, one)]
    if not seen.played.is_business_error or not invariants:
        return
    counts = _counts(seen.ledger)
    broken = check_expressions(invariants, roots_of(spec, {}, {}, counts))
    for one in broken:
        if not check_expressions([each for each in invariants if each.id == one.id], roots_of(spec, {}, {}, {})):
            message = f"A run {seen.schedule} ends with {seen.played.error_code!r} and leaves half of it done: {one.message}."
            yield found(seen.clean.example, "half_done", message, one.expr, counts)


def _is_about_records(spec: ExecutionSpec, invariant: Invariant) -> bool:
    local = {effect.id for effect in spec.effects if is_local_effect(effect)}
    paths = names_in(invariant.expr).paths
    return bool(paths) and all(len(path) > 1 and path[0] == "effects" and path[1] in local for path in paths)


def _counts(ledger: Mapping[Key, Row]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for (effect, _), row in ledger.items():
        counts.setdefault(effect, Counter()).update([COUNTED[row.state], "distinct"])
    return {effect: dict(count) for effect, count in counts.items()}


def _ledger(spec: ExecutionSpec, seen: Disturbed) -> Iterator[Finding]:
    clean, target = seen.clean.ledger, seen.schedule.target
    for key in sorted(set(clean) | set(seen.ledger)):
        wrong = _row_differs(spec, seen, key)
        if wrong is not None:
            rule, what = wrong
            message = f"A run {seen.schedule}: {named(key)} {what}."
            yield found(seen.clean.example, rule, message, some_states(clean), some_states(seen.ledger))
            return
    if target is not None and not _as_ever(seen) and (twin := _twin_of(spec, seen, seen.ledger)) is not None:
        message = f"A run {seen.schedule} performs the same work again as {named(twin)}."
        yield found(seen.clean.example, "repeated_under_another_key", message, some_states(clean), some_states(seen.ledger))


def _row_differs(spec: ExecutionSpec, seen: Disturbed, key: Key) -> tuple[str, str] | None:
    """The rule that one row breaks, and how."""
    effect, clean, row = declared(spec, key[0]), seen.clean.ledger.get(key), seen.ledger.get(key)
    if row is not None and is_repeated(effect, row.performed, clean.performed if clean else 1):
        return "performed_twice", f"was performed {row.performed} times"
    if key == seen.schedule.target or _may_stop(spec, seen) or seen.schedule.kind == "stopped":
        return None
    if seen.schedule.kind == "refuse_all" and seen.schedule.target is not None and key[0] == seen.schedule.target[0]:
        return None
    if clean is None:
        return ("ledger_differs", "is not planned by one clean run") if _as_ever(seen) else None
    if row is None:
        return "ledger_differs", "is missing"
    if row.state != clean.state and row.state not in _doubtful(effect, seen):
        return "ledger_differs", f"ends {row.state!r}; one clean run leaves {clean.state!r}"
    return None


def _doubtful(effect: Effect, seen: Disturbed) -> tuple[str, ...]:
    """States that a dead process may leave an effect in that was under way."""
    if seen.schedule.kind not in DEATHS or is_local_effect(effect):
        return ()
    return ("planned", "retry_wait", "done") if may_repeat(effect) else ("unknown",)


def _twin_of(spec: ExecutionSpec, seen: Disturbed, ledger: Mapping[Key, Row]) -> Key | None:
    """An effect that looks like the target and has another key, which no clean run plans, where the target was or will be done."""
    target = seen.schedule.target
    if target is None or seen.schedule.kind in ("refuse_for_good", "refuse_all") or target not in ledger:
        return None
    item = ledger[target].item
    strangers = [key for key in ledger if key not in seen.clean.whole and key[0] == target[0]]
    return next((key for key in strangers if _likeness(item, ledger[key].item) >= _ALIKE), None)


def _likeness(left: Any, right: Any) -> float:
    """The share of the left value's leaves that the right one has in the same place."""
    here, there = dict(leaves(left)), dict(leaves(right))
    return sum(bool(there.get(path, ...) == leaf) for path, leaf in here.items()) / max(1, len(here))


def _visible(spec: ExecutionSpec, seen: Disturbed) -> Iterator[Finding]:
    """What is required and was not done can be seen in the result. What the queue goes on with is told as a warning only."""
    target = seen.schedule.target
    if target is None or seen.told in SETTLED or declared(spec, target[0]).criticality != "required":
        return
    if seen.played.state != "completed" or seen.played.result != seen.clean.played.result:
        return
    message = f"A run {seen.schedule} returns what it returns when all is done; the tool was told {seen.told!r}."
    severity: Severity = "warning" if seen.told == "retrying" else "error"
    yield found(seen.clean.example, "refusal_swallowed", message, "another result, or an error", seen.played.result, severity=severity)


def _second_call(spec: ExecutionSpec, seen: Disturbed) -> Iterator[Finding]:
    again, call = seen.again, f"After a run {seen.schedule}, settled, the same call"
    for key, row in seen.after.items():
        before = max((ledger[key].performed for ledger in (seen.clean.ledger, seen.ledger) if key in ledger), default=1)
        if is_repeated(declared(spec, key[0]), row.performed, before):
            yield found(seen.clean.example, "performed_twice", f"{call} performs {named(key)} again.", 1, row.performed)
            return
    ends_well = again.state == "completed" or again.state == seen.clean.again.state
    if ends_well or (again.is_business_error and not _is_done(seen)):
        return
    said = str((again.error or {}).get("message", ""))[:300]
    message = f"{call} ends {again.state!r} with {again.error_code!r}: {said}."
    rule = "fails_on_repeat" if again.is_business_error else "ends_badly"
    yield found(seen.clean.example, rule, message, seen.clean.again.state, again.error)


def _is_done(seen: Disturbed) -> bool:
    """Whether nothing stands in the way any more: the target was done in the end."""
    target = seen.schedule.target
    return target is None or (target in seen.after and seen.after[target].state == "done")


def _recovery(spec: ExecutionSpec, seen: Disturbed) -> Iterator[Finding]:
    """Once nothing stands in the way, the same call completes what one clean run does; or leaves the records that it leaves."""
    if not _is_done(seen):
        return
    wanted = [key for key in seen.clean.done if declared(spec, key[0]).criticality == "required"]
    missing = [key for key in wanted if key not in seen.after or seen.after[key].state != "done"]
    if missing and (seen.records != seen.clean.records or not _declared_local(spec, missing)):
        message = f"After a run {seen.schedule}, settled, the same call does not do {named(missing[0])}, which one clean run does."
        yield found(seen.clean.example, "not_recovered", message, some_states(seen.clean.ledger), some_states(seen.after))
    elif (twin := _twin_of(spec, seen, seen.after)) is not None:
        message = f"After a run {seen.schedule}, settled, the same call performs the same work again as {named(twin)}."
        yield found(seen.clean.example, "repeated_under_another_key", message, some_states(seen.clean.ledger), some_states(seen.after))


def _content(_spec: ExecutionSpec, seen: Disturbed) -> Iterator[Finding]:
    """What a second call does for a run that was stopped, drawing the same, is what one run does, save for what differs with the time."""
    if seen.schedule.kind != "stopped":
        return
    for key in seen.clean.done:
        elsewhere = dict(leaves(seen.clean.elsewhere.get(key)))
        now = dict(leaves(seen.after[key].item)) if key in seen.after else {}
        for path, leaf in leaves(seen.clean.ledger[key].item):
            if leaf == elsewhere.get(path, ...) != now.get(path, ...) and path[-1] != "expected_version":
                message = f"After a run {seen.schedule}, the same call does {named(key)} otherwise: {json_path(path, '$.item')} differs."
                yield found(seen.clean.example, "done_otherwise", message, leaf, now.get(path))
                return


def _declared_local(spec: ExecutionSpec, keys: list[Key]) -> bool:
    return all(is_local_effect(declared(spec, key[0])) for key in keys)
