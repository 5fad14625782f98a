"""Schedules: which runs to disturb, where and how. Listed from spec and clean runs, put in order of worth, cut at a cap.

The matrix has each effect that a clean run did, its first and its last item, refused for now, refused for good, its reply lost, the
process dead before it and after it. Between two requests for effects a run is cut (its process dies) and stopped (it is cancelled). Two
processes make the same call at once; somebody else writes a record that the run has read and is about to write. The lists in the arguments
come in another order, twice over, and item by item; a collection that the run pages through, whose order is a promise, record by record.

It refuses to be: a player or a judge. It is a pure function of what it is given, the same each time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from app.spec.model import Example, ExecutionSpec
from app.verification.clean import Clean
from app.verification.declared import declared, is_local_effect, written
from app.verification.stage import Key
from app.verification.witness import Act, Heard

MOST_SCHEDULES = 20
MOST_NEEDED = 60
"""How many are played of one candidate: those that it cannot do without up to 60, with others up to 20; ten are half a second of CPU."""

MOST_ITEMS = 5
"""How many items of a list are asked for one by one."""

Kind = Literal[
    "refuse_for_good",
    "refuse_all",
    "refuse_now",
    "lose_reply",
    "crash_before",
    "crash_after",
    "cut",
    "stopped",
    "twins",
    "meddled",
    "permuted",
    "duplicated",
    "one_by_one",
    "alone",
]
REMOTE: tuple[Kind, ...] = ("refuse_for_good", "refuse_now", "lose_reply", "crash_before", "crash_after")
LOCAL: tuple[Kind, ...] = ("refuse_for_good", "crash_before", "crash_after")
DEATHS: frozenset[Kind] = frozenset({"crash_before", "crash_after", "cut"})
WORDS: Mapping[Kind, str] = {
    "refuse_for_good": "refused for good",
    "refuse_all": "refused for good",
    "refuse_now": "refused for now",
    "lose_reply": "done without a reply",
    "crash_before": "begun by a process that died before it",
    "crash_after": "done by a process that died after it",
    "meddled": "about a record that somebody else writes between its being read and being written",
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """One way to disturb the call of an example.

    `target` is the effect that it is about, `place` where that stands among the items of its kind; `at` counts the requests for effects
    from 1: the run is interrupted when it makes this one. `calls` are the arguments of each call, where they are not the example's.
    `way` tells apart what examples do, where that is all that there is to tell: the effects on both sides of a cut, all effects; the lists
    of the arguments that vary, or the collection, each of so many items (`size`).
    """

    kind: Kind
    example: Example
    target: Key | None = None
    place: Literal["first", "last", "every"] | None = None
    at: int | None = None
    calls: tuple[Mapping[str, Any], ...] = ()
    way: tuple[str, ...] = ()
    size: int = 0

    @property
    def slot(self) -> tuple[Any, ...]:
        """What schedules of several examples have in common."""
        return self.kind, self.target[0] if self.target else None, self.place, self.way

    def __str__(self) -> str:
        name = repr(self.example.name)
        if self.target is not None:
            place = self.place if self.place == "every" else f"the {self.place}"
            return f"with {place} {self.target[0]!r} of example {name} {WORDS[self.kind]}"
        return {
            "cut": f"with the process of example {name} dead before its request {self.at} for effects",
            "stopped": f"with the run of example {name} cancelled before its request {self.at} for effects",
            "twins": f"with the call of example {name} made by two processes at once",
            "permuted": f"with {self._lists} of example {name} in another order",
            "duplicated": f"with {self._lists} of example {name} twice over",
            "one_by_one": f"with {self._lists} of example {name} item by item",
            "alone": f"with each record of {self._lists} in example {name} alone",
        }[self.kind]

    @property
    def _lists(self) -> str:
        return " and ".join(map(repr, self.way))

    def as_dict(self) -> dict[str, Any]:
        """A row of the evidence."""
        row: dict[str, Any] = {"kind": self.kind, "example": self.example.name}
        row |= {"effect": self.target[0], "place": self.place} if self.target else {}
        row |= {"request": self.at} if self.at is not None else {}
        return row | ({"held_out": True} if self.example.visibility == "held_out" else {})


@dataclass(frozen=True, slots=True)
class Listed:
    """All schedules in order of worth; the first `most` of them are played."""

    all: Sequence[Schedule]
    most: int

    @property
    def played(self) -> Sequence[Schedule]:
        return self.all[: self.most]

    @property
    def left_out(self) -> Sequence[Schedule]:
        return self.all[self.most :]


def list_schedules(spec: ExecutionSpec, cleans: Sequence[Clean], admits: Callable[[Mapping[str, Any]], bool], seed: str) -> Listed:
    """One for each slot, in the example that shows most, first items before last ones; then the others, shuffled by the seed.

    `admits` says whether arguments fit the inputs.
    """
    slots: set[tuple[Any, ...]] = set()
    ranked: list[tuple[int, str, Schedule]] = []
    for clean in sorted(cleans, key=_worth):
        for schedule in _of(spec, clean, admits):
            spare = schedule.place == "last" and schedule.kind != "refuse_for_good"
            rank = 2 if schedule.slot in slots else 1 if spare else 0
            ranked.append((rank, hashlib.sha256(f"{seed} {schedule}".encode()).hexdigest(), schedule))
            slots.add(schedule.slot)
    ranked.sort(key=lambda row: row[:2])
    needed = min(MOST_NEEDED, sum(rank == 0 for rank, *_ in ranked))
    return Listed([schedule for *_, schedule in ranked], max(MOST_SCHEDULES, needed))


def _worth(clean: Clean) -> tuple[bool, bool, int]:
    """Examples that authors see first, then those whose world is quiet, then those that do more."""
    return clean.example.visibility == "held_out", bool(clean.example.world.script), -len(clean.done)


def _of(spec: ExecutionSpec, clean: Clean, admits: Callable[[Mapping[str, Any]], bool]) -> Iterator[Schedule]:
    yield from _matrix(spec, clean)
    yield from _between(clean)
    if clean.done:
        yield Schedule("twins", clean.example, way=tuple(sorted({key[0] for key in clean.done})))
        yield from _meddled(spec, clean)
        yield from _lists(clean, admits)
        yield from _alone(clean)


def _meddled(spec: ExecutionSpec, clean: Clean) -> Iterator[Schedule]:
    heard = clean.played.heard
    for effect in spec.effects:
        keys = [key for key in clean.done if key[0] == effect.id]
        if keys and rewritten(spec, heard, [act for act in heard.acts if act.effect == effect.id]):
            yield Schedule("meddled", clean.example, keys[0], "first")


def _matrix(spec: ExecutionSpec, clean: Clean) -> Iterator[Schedule]:
    for effect in spec.effects:
        keys = [key for key in clean.done if key[0] == effect.id]
        places: list[tuple[Literal["first", "last"], Key]] = [("first", keys[0])] if keys else []
        places += [("last", keys[-1])] if len(keys) > 1 else []
        for place, key in places:
            for kind in LOCAL if is_local_effect(effect) else REMOTE:
                yield Schedule(kind, clean.example, key, place)
        if len(keys) > 1:
            yield Schedule("refuse_all", clean.example, keys[0], "every")


def _between(clean: Clean) -> Iterator[Schedule]:
    """Where one effect is followed by another, the first time for each pair of them; after the first request, and before the last."""
    asked = clean.played.heard.asked
    turns = {pair: number for number, pair in reversed([*enumerate(pairwise(asked), 2)]) if pair[0] != pair[1]}
    for at in sorted({*turns.values(), *([2, len(asked)] if len(asked) > 1 else [])}):
        way = (asked[at - 2], asked[at - 1])
        yield Schedule("cut", clean.example, at=at, way=way)
        yield Schedule("stopped", clean.example, at=at, way=way)


def _lists(clean: Clean, admits: Callable[[Mapping[str, Any]], bool]) -> Iterator[Schedule]:
    """The lists of the arguments: those of one length together, for each may have something to say about the items of the others.

    Item by item only where there is one list: of several it is not known what belongs to an item.
    """
    args = clean.example.args
    lists = {name: value for name, value in args.items() if isinstance(value, list) and len(value) > 1}
    for size in sorted({len(value) for value in lists.values()}):
        some = {name: value for name, value in lists.items() if len(value) == size}
        ways: dict[Kind, tuple[Mapping[str, Any], ...]] = {
            "permuted": ({**args, **{name: _another_order(value) for name, value in some.items()}},),
            "duplicated": ({**args, **{name: [*value, *value] for name, value in some.items()}},),
        }
        if len(lists) == 1 and size <= MOST_ITEMS:
            ways["one_by_one"] = tuple({**args, **{name: [item] for name in some}} for value in some.values() for item in value)
        for kind, calls in ways.items():
            if all(admits(call) for call in calls) and (kind == "permuted" or itemised(clean, size)):
                yield Schedule(kind, clean.example, calls=calls, way=tuple(some), size=size)


def _another_order(items: list[Any]) -> list[Any]:
    return [*items[::2], *reversed(items[1::2])] if len(items) > 2 else items[::-1]


def _alone(clean: Clean) -> Iterator[Schedule]:
    """Collections that the run pages through and of which some effect is asked for as often as there are records."""
    if clean.played.state != "completed":
        return
    for collection in sorted({collection for collection, _ in clean.played.heard.rows}):
        size = len(clean.example.world.records.get(collection, ()))
        if size > 1 and itemised(clean, size):
            yield Schedule("alone", clean.example, way=(collection,), size=size)


def rewritten(spec: ExecutionSpec, heard: Heard, acts: Sequence[Act]) -> list[tuple[str, str]]:
    """The records, `(collection, key)`, that these items write after pages gave them to the run, with their versions."""
    places = [place for act in acts if spec.effect(act.effect) is not None for place in written(declared(spec, act.effect), act.item)]
    return [place for place in places if place in heard.rows]


def itemised(clean: Clean, size: int) -> frozenset[str]:
    """The effects that the tool asks for once for each item of a list of this size: only of these it is known what another must come to.

    A tool that does a part of its work in each call may do another part for another list.
    """
    asked = Counter(one.effect for one in clean.played.done)
    return frozenset(effect for effect, number in asked.items() if number == size and not clean.goes_on)
