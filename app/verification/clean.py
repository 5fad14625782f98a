"""One clean run of an example, and what must follow from it: the same call again adds nothing, one process may run it twice, its journal
replays with the same keys.

It refuses to be: a schedule. Nothing is disturbed here; what is, is compared with what this finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from app.runtime.program import Program
from app.spec.model import Example, ExecutionSpec
from app.verification.declared import declared, written
from app.verification.differences import differences
from app.verification.findings import Finding
from app.verification.stage import Done, Key, Played, Row, Stage, staged
from app.verification.subject import Bench, Subject
from app.verification.times import SLOW_MS, at_time, does_otherwise, judge_times, other_instant, timeless
from app.verification.wording import found, named, some_keys
from app.verification.wrapping import wrapped

MOST_CALLS = 12
"""How often a call that finds new work each time is made again, to see whether it comes to an end."""


@dataclass(frozen=True, slots=True)
class Clean:
    """What one run on a fresh stage leaves, what the same call again adds a little later, and what the replay of the first says.

    `goes_on`: each call did more of what was to do, until nothing was left; `whole` is the ledger then, `after` itself where there was no
    more to do. `records` are those that are left in the end, by collection and key. `hour_ended`: between the two calls.
    `elsewhere` are the items of another first run that draws the same, at another time in a world of its own.
    """

    example: Example
    played: Played
    ledger: Mapping[Key, Row]
    again: Played
    after: Mapping[Key, Row]
    records: Mapping[tuple[str, str], Any]
    replay: tuple[str, Mapping[str, Any]]
    whole: Mapping[Key, Row]
    goes_on: bool = False
    hour_ended: bool = False
    elsewhere: Mapping[Key, Any] = field(default_factory=dict)

    @property
    def done(self) -> list[Key]:
        """What the run did, each key once, in the order in which the tool asked."""
        return list(dict.fromkeys((one.effect, one.key) for one in self.played.done if one.status == "done" and one.key is not None))

    @property
    def added(self) -> int:
        """Effects that the same call again has planned anew, or performed again although they were done."""
        before = ((self.ledger.get(key), row) for key, row in self.after.items())
        return sum(was is None or _is_done_again(was, row) for was, row in before)


def _is_done_again(before: Row, after: Row) -> bool:
    """Whether what was done was performed again. What was in doubt may be, by a policy of its own."""
    return before.state == "done" and after.performed > max(1, before.performed)


async def run_clean(subject: Subject, bench: Bench, example: Example) -> Clean:
    """The example's call, its replay, and the call again in another process."""
    program = subject.program()
    async with staged(bench, example, subject.caller, program) as stage:
        played = await stage.play(program, example.args)
        ledger = await asyncio.to_thread(stage.ledger)
        an_hour_ends = await stage.pass_time()
        replay = await stage.replay(played.run_id, program)  # where nothing has the address that it had
        again = await stage.play(program, example.args)
        after = await asyncio.to_thread(stage.ledger)
        may_go_on = an_hour_ends or _is_other_work(subject.spec, ledger, after)
        whole = await to_an_end(stage, program, example) if may_go_on and after.keys() != ledger.keys() else None
        records = await asyncio.to_thread(stage.records)
        return Clean(example, played, ledger, again, after, records, replay, whole or after, whole is not None, an_hour_ends)


def _is_other_work(spec: ExecutionSpec, before: Mapping[Key, Row], after: Mapping[Key, Row]) -> bool:
    """Whether no new effect writes a record that one before has written."""
    new = {key: row for key, row in after.items() if key not in before}
    return not _places(spec, before) & _places(spec, new)


def _places(spec: ExecutionSpec, ledger: Mapping[Key, Row]) -> set[tuple[str, str]]:
    return {place for (name, _), row in ledger.items() for place in written(declared(spec, name), row.item)}


async def to_an_end(stage: Stage, program: Program, example: Example) -> dict[Key, Row] | None:
    """The ledger once more calls find nothing left to do. None: they always do.

    A tool that takes only so much at once comes to an end, one whose keys change does not. Nor does one whose keys hold the time: it
    passes in full before each call, whatever hour that ends.
    """
    known = await asyncio.to_thread(stage.ledger)
    for _ in range(MOST_CALLS):
        await stage.pass_time()
        await stage.play(program, example.args)
        before, known = known, await asyncio.to_thread(stage.ledger)
        if known.keys() == before.keys():
            return known
    return None


def judge_clean(clean: Clean) -> Iterator[Finding]:
    """What the second call and the replay have shown."""
    yield from _judge_again(clean)
    yield from _judge_replay(clean)


def _judge_again(clean: Clean) -> Iterator[Finding]:
    call = f"The call of example {clean.example.name!r} made again"
    new = [key for key in clean.after if key not in clean.ledger]
    if new and not clean.goes_on:
        message = f"{call} plans {len(new)} new effects, such as {named(new[0])}."
        yield found(clean.example, "new_effects_on_repeat", message, some_keys(clean.ledger), some_keys(clean.after))
    for key, row in clean.after.items():
        before = clean.ledger.get(key)
        if before is not None and _is_done_again(before, row):
            yield found(clean.example, "performed_twice", f"{call} performs {named(key)} a second time.", before.performed, row.performed)
    if clean.played.state == "completed" and clean.again.state != "completed":
        said = str((clean.again.error or {}).get("message", ""))[:300]
        message = f"{call} ends with {clean.again.error_code!r}, although it works once: {said}."
        yield found(clean.example, "fails_on_repeat", message, "completed", clean.again.error)


def _judge_replay(clean: Clean) -> Iterator[Finding]:
    state, report = clean.replay
    if state != "same":
        difference = report.get("difference") or {}
        where = f" at step {difference['step']}" if "step" in difference else ""
        message = (
            f"The run of example {clean.example.name!r}, replayed from its journal, goes another way{where} ({difference.get('what')})."
        )
        yield found(clean.example, "replay_differs", message, difference.get("recorded"), difference.get("asked"))


async def run_twice(subject: Subject, bench: Bench, clean: Clean) -> tuple[list[Finding], Clean]:
    """The call twice in one process, with the clean run's seed in a world of its own, at another time that moves: what is wrong, and the
    clean run with the items of that one.

    Where it comes to something else, it is made again at the example's time, which stands still; where it then comes to the same, it is
    the time by which it differs.
    """
    at = other_instant(clean.example, subject.digest)
    played = await _play_twice(subject, bench, at_time(clean.example, at), clean.played.seed, SLOW_MS)
    first = played.done[: len(clean.played.done)]
    if not _judge_twice(clean, played, timeless) and not does_otherwise(clean.played, first):
        items = {(one.effect, one.key): one.item for one in first if one.key is not None}
        return [], replace(clean, elsewhere=items)
    findings = _judge_twice(clean, await _play_twice(subject, bench, clean.example, clean.played.seed))
    if findings or clean.replay[0] != "same":  # what is otherwise in each process is so at any time
        return findings, clean
    return await judge_times(subject, bench, clean.example, clean.played, at), clean


async def _play_twice(subject: Subject, bench: Bench, example: Example, seed: str, pace_ms: int = 0) -> Played:
    program = _twice(subject)
    async with staged(bench, example, subject.caller, program) as stage:
        stage.let_time_run(pace_ms)
        return await stage.play(program, example.args, seed)


def _judge_twice(clean: Clean, played: Played, reading: Callable[[str], str] = str) -> list[Finding]:
    """One process that runs the tool twice asks for what two processes ask for, keys being read so."""
    expected, got = _asked(clean.played.done), _asked(played.done)
    if clean.played.state == "completed":
        alike = _told_alike(clean)
        expected += _asked(alike)
        got = got[: len(expected)] if clean.hour_ended or len(alike) < len(clean.again.done) else got
    places = [index for index, (left, right) in enumerate(zip_longest(expected, got)) if _read(left, reading) != _read(right, reading)]
    if not places:
        return list(_another_answer(clean, played))
    at = places[0]
    left, right = (named(keys[at]) if at < len(keys) else "nothing" for keys in (expected, got))
    message = f"Run twice in one process, the call of example {clean.example.name!r} asks for {right} where two processes ask for {left}."
    if played.error is not None:
        message += f" It ends with {played.error_code!r}: {str(played.error.get('message', ''))[:200]}."
    return [found(clean.example, "state_between_calls", message, list(map(named, expected[:20])), list(map(named, got[:20])))]


def _told_alike(clean: Clean) -> Sequence[Done]:
    """What the second process asked for, up to the first item of which it heard what one process does not hear: that what was refused, or
    in doubt, has become something else meanwhile. Nothing, if an hour has ended meanwhile: that is another day's work perhaps.
    """
    if clean.hour_ended:
        return ()
    first = {(one.effect, one.key): one.status for one in reversed(clean.played.done)}
    told: set[tuple[str, str | None]] = set()
    for number, one in enumerate(clean.again.done, 1):
        was = first.get((one.effect, one.key), one.status)
        if (one.effect, one.key) not in told and one.status != ("skipped" if was == "done" else was):
            return clean.again.done[:number]
        told.add((one.effect, one.key))
    return clean.again.done


def _another_answer(clean: Clean, played: Played) -> Iterator[Finding]:
    """A call without effects that two processes answer alike is answered so by one process twice."""
    answer = clean.played.result
    if not clean.played.done and played.state == "completed" and answer == clean.again.result != played.result:
        place = differences(answer, played.result)[0]
        message = f"Run twice in one process, the call of example {clean.example.name!r} answers otherwise the second time: {place}."
        yield found(clean.example, "state_between_calls", message, answer, played.result)


def _twice(subject: Subject) -> Program:
    """The tool wrapped to run twice; limits count both, and no invariant speaks of such a run."""
    spec = subject.spec
    effects = tuple(
        effect.model_copy(update={"limits": effect.limits.model_copy(update={"per_run": 2 * effect.limits.per_run})})
        for effect in spec.effects
    )
    tool = wrapped(subject.files["tool.py"], "twice", "twice(run)")
    return subject.program(spec=spec.model_copy(update={"effects": effects, "invariants": ()}), tool=tool)


def _read(key: Key | None, reading: Callable[[str], str]) -> Key | None:
    return (key[0], reading(key[1])) if key is not None else None


def _asked(done: Sequence[Done]) -> list[Key]:
    return [(one.effect, one.key or "(no key)") for one in done]
