"""The same work in other calls: two processes at once, the caller's lists in another order, twice over, item by item, and worlds in which
a collection has one record.

Whatever the calls, the same items come to the same keys, and each is done once.

It refuses to be: a judge of what a list means. A tool that ends such a call with an error of its own is believed, and only effects that it
asks for once an item are held to the list.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.spec.model import Example, ExecutionSpec
from app.verification.clean import Clean
from app.verification.declared import SETTLED, declared, is_repeated
from app.verification.findings import Finding
from app.verification.schedules import MOST_ITEMS, Kind, Schedule, itemised
from app.verification.stage import Key, Played, Row, in_world, staged
from app.verification.subject import Bench, Subject
from app.verification.wording import found, named, some_keys, some_states

VARIED: frozenset[Kind] = frozenset({"twins", "permuted", "duplicated", "one_by_one", "alone"})
_RULES: Mapping[Kind, str] = {"permuted": "order_changes_keys", "duplicated": "duplicates_change_keys", "one_by_one": "items_share_a_key"}


@dataclass(frozen=True, slots=True)
class Varied:
    """The calls of a schedule, and the ledger that they left together."""

    schedule: Schedule
    clean: Clean
    plays: tuple[Played, ...]
    ledger: Mapping[Key, Row]


async def run_varied(subject: Subject, bench: Bench, clean: Clean, schedule: Schedule) -> Varied:
    """Play twins, or the calls of a list in its variations, or the call where records are alone."""
    program = subject.program()
    if schedule.kind == "alone":
        return Varied(schedule, clean, tuple([await _play_alone(subject, bench, world) for world in _alone_worlds(schedule)]), {})
    async with staged(bench, clean.example, subject.caller, program) as stage:
        if schedule.kind == "twins":
            plays = await stage.play_twins(program, clean.example.args)
        else:
            plays = [await stage.play(program, args) for args in schedule.calls]
        return Varied(schedule, clean, tuple(plays), await asyncio.to_thread(stage.ledger))


def _alone_worlds(schedule: Schedule) -> Iterator[Example]:
    """The example with the first few records and the last one of the collection, one at a time."""
    (collection,), records = schedule.way, schedule.example.world.records
    held = records[collection]
    for record in (*held[: MOST_ITEMS - 1], *held[MOST_ITEMS - 1 :][-1:]):
        yield in_world(schedule.example, records={**records, collection: (record,)})


async def _play_alone(subject: Subject, bench: Bench, example: Example) -> Played:
    program = subject.program()
    async with staged(bench, example, subject.caller, program) as stage:
        return await stage.play(program, example.args)


def judge_varied(spec: ExecutionSpec, seen: Varied) -> list[Finding]:
    """What does not hold, by the first check that finds something."""
    checks = {"twins": (_twins,), "alone": (_own_keys,)}.get(seen.schedule.kind, (_calls_end, _keys, _one_key))
    return next((findings for check in checks if (findings := list(check(spec, seen)))), [])


def _twins(spec: ExecutionSpec, seen: Varied) -> Iterator[Finding]:
    clean, example = seen.clean, seen.clean.example
    for played in seen.plays:
        waited = any(one.status not in SETTLED for one in played.done)
        if played.state not in (clean.played.state, clean.again.state) and not (played.is_business_error and waited):
            message = f"A run {seen.schedule} ends {played.state!r} with {played.error_code!r}: {_said(played)}."
            yield found(example, "twins_differ", message, clean.played.state, played.error)
            return
    for key in sorted(set(clean.done) | set(seen.ledger)):
        wrong = _twin_row(spec, clean, key, seen.ledger.get(key))
        if wrong is not None:
            message = f"A run {seen.schedule}: {named(key)} {wrong}."
            yield found(example, "twins_differ", message, some_states(clean.ledger), some_states(seen.ledger))
            return


def _twin_row(spec: ExecutionSpec, clean: Clean, key: Key, row: Row | None) -> str | None:
    if row is None:
        return "is missing"
    if key not in clean.whole:
        return "is not planned by one clean run"
    if is_repeated(declared(spec, key[0]), row.performed, clean.whole[key].performed):
        return f"was performed {row.performed} times"
    return None if row.state == "done" or key not in clean.done else f"ends {row.state!r}"


def _calls_end(_spec: ExecutionSpec, seen: Varied) -> Iterator[Finding]:
    for played, args in zip(seen.plays, seen.schedule.calls, strict=True):
        if played.state != "completed" and not played.is_business_error:
            message = f"A call {seen.schedule} ends {played.state!r} with {played.error_code!r}: {_said(played)}."
            yield found(seen.clean.example, "list_fails", message, "completed", played.error, args=args)
            return


def _keys(spec: ExecutionSpec, seen: Varied) -> Iterator[Finding]:
    """Of the effects that belong to the items, the calls have together the keys that one call has, each done once."""
    if any(played.state != "completed" for played in seen.plays):
        return
    clean, args = seen.clean, seen.schedule.calls[0]
    ours = itemised(clean, seen.schedule.size)
    expected, got = ({key for key in ledger if key[0] in ours} for ledger in (clean.ledger, seen.ledger))
    rule = _RULES[seen.schedule.kind]
    if expected != got:
        other = sorted(expected ^ got)[0]
        which = "is asked for" if other in got else "is not asked for"
        message = f"Called {seen.schedule}, the tool has other keys than in one call as it stands: {named(other)} {which}."
        yield found(clean.example, rule, message, some_keys(clean.ledger), some_keys(seen.ledger), args=args)
        return
    for key in sorted(got):
        if is_repeated(declared(spec, key[0]), seen.ledger[key].performed, clean.ledger[key].performed):
            message = f"Called {seen.schedule}, the tool performs {named(key)} {seen.ledger[key].performed} times."
            yield found(clean.example, "performed_twice", message, 1, seen.ledger[key].performed, args=args)
            return


def _one_key(_spec: ExecutionSpec, seen: Varied) -> Iterator[Finding]:
    """In another order no key is asked for more often than as the list stands: what comes second under it would be lost."""
    if seen.schedule.kind != "permuted":
        return
    before, now = (Counter((one.effect, one.key) for one in played.done if one.key) for played in (seen.clean.played, seen.plays[0]))
    for (effect, key), times in now.items():
        if times > before[effect, key] > 0 and key is not None:
            message = f"Called {seen.schedule}, the tool asks {times} times for {named((effect, key))}; what comes second is lost."
            yield found(seen.clean.example, "one_key_for_two", message, before[effect, key], times, args=seen.schedule.calls[0])
            return


def _own_keys(_spec: ExecutionSpec, seen: Varied) -> Iterator[Finding]:
    """Of an effect that is asked for once for each record, also where the record is alone, no two records have the same key."""
    if any(played.state != "completed" for played in seen.plays):
        return
    for effect in sorted(itemised(seen.clean, seen.schedule.size)):
        asked = [[one.key for one in played.done if one.effect == effect] for played in seen.plays]
        keys = Counter(key for each in asked for key in each if key is not None)
        if all(len(each) == 1 for each in asked) and (shared := [key for key, times in keys.items() if times > 1]):
            message = f"Called {seen.schedule}, the tool asks for {named((effect, shared[0]))} for {keys[shared[0]]} of them."
            yield found(seen.clean.example, "items_share_a_key", message, "a key for each", shared[0])
            return


def _said(played: Played) -> str:
    return str((played.error or {}).get("message", ""))[:300]
