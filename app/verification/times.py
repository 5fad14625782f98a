"""The same call at other times: while time moves, as it does in a slow run, and at an instant that no example knows.

What a tool does while time moves is what it does while it stands still: at the example's instant, or a little later. What it does at
another instant may be something else, since quotes expire and days end; then it is told, for whoever approves the tool to know, unless it
breaks there. All draw what the first run drew, so that it is not chance by which they differ.

It refuses to be: a judge of texts that hold a time. What is written as one is taken for one, whatever it says.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.core.clock import SystemClock, from_iso, iso
from app.spec.model import Example
from app.spec.schemas import json_path
from app.verification.differences import ABSENT, shown
from app.verification.findings import Finding, Severity
from app.verification.leaves import Place, leaves
from app.verification.stage import LATER_MS, MOST_MOVES, Done, Played, staged
from app.verification.subject import Bench, Subject
from app.verification.wording import found, named

MOST_LATER_DAYS = 400
MOST_TOLD = 3
BRISK_MS, SLOW_MS = 1000, 6000
"""What each request takes at least, and twice that at most: too little for a tool that spares its time, and enough for most."""

MOST_PASSED_MS = 2 * SLOW_MS * MOST_MOVES
WHICH = 3
"""The length of the place of an item, below which its leaves are."""

_DAY_MS = 86_400_000
_TIME = re.compile(
    r"(19|20)\d\d-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:?\d\d)?"
    r"|(19|20)\d\d[01]\d[0-3]\d(T?[0-2]\d[0-5]\d[0-5]\d)?Z?(?!\d)"
    r"|\d\d?:\d\d(:\d\d(\.\d+)?)?|\d\d?[./]\d\d?[./]\d{4}|(?<!\d)1[6-9]\d{8}(\d{3})?(?!\d)|\d+(\.\d+)? ?(ms|s|sec|seconds?)\b"
)
_EPOCHS = ((1.6e9, 4.1e9), (1.6e12, 4.1e12))
"""Numbers that are instants of this century, in seconds and in milliseconds."""

_BROKEN = frozenset({"tool_crashed", "result_invalid", "invariant_violated"})
"""Ends that no tool may come to, whatever day it is."""

_ABSENT = object()
_Lived = Mapping[Place, Any]
"""What a run did, as leaves: `(effect, key, which of that key, …)`, and `("result", …)`."""


def other_instant(example: Example, seed: str) -> str:
    """The present, or a day within the 400 days after it, by the seed."""
    number = int(hashlib.sha256(f"{seed} {example.name}".encode()).hexdigest(), 16)
    then, present = from_iso(example.now) + LATER_MS, SystemClock().now() // 1000 * 1000
    days = number // 2 % MOST_LATER_DAYS + 1 if number % 2 or present < then + 30 * _DAY_MS else 0
    return str(iso(max(then, present) + days * _DAY_MS))


def at_time(example: Example, at: str) -> Example:
    """The example at another instant."""
    return example.model_copy(update={"now": at})


def timeless(text: str) -> str:
    """A text without the times in it."""
    return _TIME.sub("<time>", text)


def does_otherwise(clean: Played, other: tuple[Done, ...]) -> bool:
    """Whether what was done is something else, but for times."""
    return any(_differing(_done(clean.done), _done(other)))


async def judge_times(subject: Subject, bench: Bench, example: Example, clean: Played, at: str) -> list[Finding]:
    """A call that comes to something else where time moves and is another: which of both it is, and what it comes to."""
    moving, ended = await _play(subject, bench, example, clean.seed, BRISK_MS)
    if _differs_at_all(clean, moving):
        still, _ = await _play(subject, bench, at_time(example, ended), clean.seed)
        findings = list(_judge_moving(example, clean, moving, still))
        if findings:
            return findings
    another, _ = await _play(subject, bench, at_time(example, at), clean.seed, SLOW_MS)
    return list(_judge_another(example, clean, moving, another, at))


async def _play(subject: Subject, bench: Bench, example: Example, seed: str, pace_ms: int = 0) -> tuple[Played, str]:
    """The run, and the instant at which it was over."""
    program = subject.program()
    async with staged(bench, example, subject.caller, program) as stage:
        stage.let_time_run(pace_ms)
        played = await stage.play(program, example.args, seed)
        return played, str(iso(stage.clock.now()))


def _differs_at_all(clean: Played, moving: Played) -> bool:
    return moving.state != clean.state or any(_differing(_lived(clean), _lived(moving)))


def _judge_moving(example: Example, clean: Played, moving: Played, still: Played) -> Iterator[Finding]:
    """What the tool does only because time moves: neither at the example's instant nor at that to which it moved, `still`."""
    call = f"While time moves, as in a slow run, the call of example {example.name!r}"
    if moving.state == "failed" and not moving.is_business_error and still.state == clean.state == "completed":
        yield found(example, "moving_time_differs", f"{call} ends with {moving.error_code!r}.", clean.state, moving.error)
        return
    was, later, now = _lived(clean), _lived(still), _lived(moving)
    explained = set(_differing(was, later))
    places = [place for place in _differing(was, now) if place not in explained]
    grave = [place for place in places if place in now and place[0] != "result"]
    if places:
        severity: Severity = "error" if grave else "warning"
        message = f"{call} does otherwise than while it stands still: {_told(grave or places, was, now)}."
        yield found(example, "moving_time_differs", message, severity=severity)


def _judge_another(example: Example, clean: Played, moving: Played, another: Played, at: str) -> Iterator[Finding]:
    """What differs there, and not already while time moves."""
    call = f"At another time, in a slow run, the call of example {example.name!r}"
    if clean.error_code not in _BROKEN and another.error_code in _BROKEN:
        said = str((another.error or {}).get("message", ""))[:300].rstrip(".")
        message = f"{call} ends with {another.error_code!r}: {said}."
        yield found(example, "other_time_breaks", message, {"at": example.now}, {"at": at})
        return
    was, now = _lived(clean), _lived(another)
    ever = set(_differing(was, _lived(moving)))
    places = sorted(
        (place for place in _differing(was, now) if place not in ever), key=lambda place: (place[0] == "result", place not in now)
    )
    if places:
        message = f"{call} does otherwise than at {example.now}: {_told(places, was, now)}."
        yield found(example, "other_time_differs", message, {"at": example.now}, {"at": at}, severity="warning")


def _told(places: Sequence[Place], was: _Lived, now: _Lived) -> str:
    more = f"; {len(places) - MOST_TOLD} more" if len(places) > MOST_TOLD else ""
    return "; ".join(_one_told(place, was, now) for place in places[:MOST_TOLD]) + more


def _one_told(place: Place, was: _Lived, now: _Lived) -> str:
    if place[0] == "result":
        return f"{json_path(place)} is {shown(now.get(place, ABSENT))}"
    where = named((str(place[0]), str(place[1])))
    if len(place) > WHICH:
        return f"{where} {json_path(place[WHICH:], '$.item')} is {shown(now.get(place, ABSENT))}"
    if place in was:
        return f"{where} is left out"
    item = {json_path(other[WHICH:]): leaf for other, leaf in now.items() if len(other) > WHICH and other[:WHICH] == place}
    return f"{where} is added: {shown(item)}"


def _lived(played: Played) -> dict[Place, Any]:
    ends = leaves(played.result if played.state == "completed" else {"error": played.error_code}, ("result",))
    return {**_done(played.done), **dict(ends)}


def _done(done: tuple[Done, ...]) -> dict[Place, Any]:
    times: Counter[tuple[str, str]] = Counter()
    lived: dict[Place, Any] = {}
    for one in done:
        key = one.effect, timeless(one.key or "(no key)")
        times[key] += 1
        place = (*key, times[key])
        lived[place] = None
        lived |= leaves(one.item, place)
    return lived


def _differing(was: _Lived, now: _Lived) -> Iterator[Place]:
    """Where they differ; an item that only one of them has differs as a whole."""
    for place in dict.fromkeys((*was, *now)):
        item = place[:WHICH]
        whole = len(place) <= WHICH or place[0] == "result" or (item in was and item in now)
        if whole and _differs(was.get(place, _ABSENT), now.get(place, _ABSENT)):
            yield place


def _differs(was: Any, now: Any) -> bool:
    """Whether two leaves differ by more than the time that they tell."""
    if isinstance(was, str) and isinstance(now, str):
        return timeless(was) != timeless(now)
    if _is_number(was) and _is_number(now):
        tells = any(low < was < high and low < now < high for low, high in _EPOCHS) or (was == 0 and 0 < now <= MOST_PASSED_MS)
        return bool(was != now) and not tells
    return was is not now and (was != now or isinstance(was, bool) != isinstance(now, bool))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
