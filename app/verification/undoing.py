"""do∘undo = nothing: for each effect that declares a way back, its effects are done and taken back on a stage, and the world is compared.

The tool does them in an example's world where everything works. Then the declared undo of each is performed, the last one first, as an
effect of its own through the same broker; asked for again it must add nothing. Records that only undone effects have written are as they
were, and there is one undo for each effect.

It refuses to be: an undo of runs that callers could ask for, or a proof about worlds outside: of those it shows that the undo is carried
out, once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.core.errors import Invalid
from app.spec.model import Effect, Example, ExecutionSpec
from app.spec.undo import undo_item
from app.verification.declared import Place, written
from app.verification.differences import differences
from app.verification.findings import Finding
from app.verification.stage import Done as Told
from app.verification.stage import Played, Stage, in_world, staged
from app.verification.subject import Bench, Subject
from app.verification.together import together

MOST_EXAMPLES = 3
"""For each effect; those that do it most often come first."""

_PERFORM = """import json

ASKED = json.loads({asked!r})


def run(args, ctx):
    return {{"told": [ctx.perform(effect, item).status for effect, item in ASKED]}}
"""
_ENOUGH = 10_000_000
Asked = list[tuple["Done", dict[str, Any]]]
"""What is to be taken back, with the item that does so, the last done first."""


@dataclass(frozen=True, slots=True)
class Done:
    """One thing that the tool did: the effect, its item and receipt."""

    effect: Effect
    item: Mapping[str, Any]
    receipt: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of taking an example back: how many effects of each id were done, what is wrong by id, and the runs themselves."""

    example: Example
    items: Mapping[str, int]
    findings: Sequence[tuple[str, Finding]]
    plays: Sequence[Played]

    def as_dict(self) -> dict[str, Any]:
        case = {"name": self.example.name, "items": dict(self.items), "passed": not self.findings}
        return {**case, "held_out": True} if self.example.visibility == "held_out" else case


async def taken_back(subject: Subject, bench: Bench) -> list[Taken]:
    """Every example that does an effect with a declared undo, up to three for each, done and taken back."""
    return await together(partial(_taken_back, subject, bench), _chosen(subject.spec))


def undone(spec: ExecutionSpec, taken: Sequence[Taken]) -> dict[str, bool]:
    """For each effect with a declared undo, whether every example that does it was taken back whole, and one there was."""
    wrong = {name for one in taken for name, _ in one.findings}
    done = {name for one in taken for name, items in one.items.items() if items}
    return {effect.id: effect.id in done - wrong for effect in spec.effects if effect.undo is not None}


def _chosen(spec: ExecutionSpec) -> Iterator[Example]:
    names: set[str] = set()
    for effect in spec.effects:
        doing = [(_times(example, effect.id), example) for example in spec.examples if effect.undo and _times(example, effect.id)]
        for _, example in sorted(doing, key=lambda pair: -pair[0])[:MOST_EXAMPLES]:
            if example.name not in names:
                names.add(example.name)
                yield in_world(example, script=())


def _times(example: Example, effect_id: str) -> int:
    return sum(expected.id == effect_id and expected.status == "done" for expected in example.effects)


async def _taken_back(subject: Subject, bench: Bench, example: Example) -> Taken:
    program = subject.program()
    async with staged(bench, example, subject.caller, program) as stage:
        before = await asyncio.to_thread(stage.records)
        played = await stage.play(program, example.args)
        done = list(_done(subject.spec, played))
        items = {effect.id: sum(one.effect is effect for one in done) for effect in subject.spec.effects if effect.undo}
        asked, findings = _asked(example, done)
        told = await _perform(subject, stage, example, asked)
        after = await asyncio.to_thread(stage.records)
        again = await _perform(subject, stage, example, asked)
        findings += _judge_told(example, asked, *((play.done if play is not None else ()) for play in (told, again)))
        findings += [] if findings else list(_judge_records(subject.spec, example, done, before, after))
    return Taken(example, items, findings, [play for play in (played, told) if play is not None])


def _done(spec: ExecutionSpec, played: Played) -> Iterator[Done]:
    for act, told in zip(played.heard.acts, played.done, strict=True):
        effect = spec.effect(told.effect)
        if effect is not None and told.status == "done":
            yield Done(effect, told.item, (act.outcome or {}).get("receipt") or {})


def _asked(example: Example, done: Sequence[Done]) -> tuple[Asked, list[tuple[str, Finding]]]:
    """The undo of each thing that has one; what cannot be said is a finding."""
    asked: Asked = []
    findings: list[tuple[str, Finding]] = []
    for one in reversed(done):
        if one.effect.undo is None:
            continue
        try:
            asked.append((one, undo_item(one.effect.undo, example.args, one.item, one.receipt)))
        except Invalid as error:
            message = f"The undo of {one.effect.id!r} cannot be made of what was done: {error.detail}."
            fix = "Name paths that every item and receipt has; see the receipt of the connector."
            findings.append((one.effect.id, _finding("undo_unusable", message, fix, example, one.item)))
    return asked, findings


async def _perform(subject: Subject, stage: Stage, example: Example, asked: Asked) -> Played | None:
    """Each undo, performed by a program of ours under the spec's effects, keys and arguments; None where there is none."""
    steps = [[one.effect.undo.effect, item] for one, item in asked if one.effect.undo is not None]
    if not steps:
        return None
    effects = tuple(
        effect.model_copy(update={"limits": effect.limits.model_copy(update={"per_run": _ENOUGH})}) for effect in subject.spec.effects
    )
    spec = subject.spec.model_copy(update={"effects": effects, "outputs": {"type": "object"}, "invariants": ()})
    program = subject.program(spec=spec, tool=_PERFORM.format(asked=json.dumps(steps)))
    return await stage.play(program, example.args)


def _judge_told(example: Example, asked: Asked, told: Sequence[Told], again: Sequence[Told]) -> list[tuple[str, Finding]]:
    found: list[tuple[str, Finding]] = []
    for index, (one, item) in enumerate(asked):
        name = one.effect.id
        status, error = (told[index].status, told[index].error) if index < len(told) else ("refused", None)
        if status not in ("done", "skipped"):  # skipped: the tool itself has taken it back
            why = f" ({error['code']}: {error.get('message', '')})" if error and error.get("code") else ""
            message = f"The undo of {name!r} ends {status!r}{why}, so what was done stays."
            fix = "Make the undo's item fit the effect that reverses, and its key tell each undo apart."
            found.append((name, _finding("undo_not_done", message[:600], fix, example, item)))
        elif index >= len(again) or again[index].status != "skipped":
            message = f"The undo of {name!r}, asked for again, is not skipped."
            found.append((name, _finding("undo_repeated", message, "Make the undo's key the same for the same undo.", example, item)))
    return found


def _judge_records(
    spec: ExecutionSpec, example: Example, done: Sequence[Done], before: Mapping[Place, Any], after: Mapping[Place, Any]
) -> Iterator[tuple[str, Finding]]:
    """Records that only effects with an undo have written are as they were."""
    kept = {place for one in done if one.effect.undo is None for place in written(one.effect, one.item)}
    for one in done:
        for place in sorted(set(written(one.effect, one.item)) - kept) if one.effect.undo is not None else ():
            was, now = before.get(place), after.get(place)
            if was != now:
                where = differences({"body": was}, {"body": now})[0]
                message = f"Done and undone, {one.effect.id!r} leaves the record {place[1]!r} of {place[0]!r} changed: {where}."
                fix = "Let the undo put back what was there before: keep it in the item or take it from the receipt."
                yield one.effect.id, _finding("undo_differs", message[:600], fix, example, one.item, was, now)
                return


def _finding(rule: str, message: str, fix: str, example: Example, item: Any, expected: Any = None, got: Any = None) -> Finding:
    given = {"example": example.name, "args": example.args, "item": item}
    held_out = example.visibility == "held_out"
    return Finding(rule, message, fix, file="spec.json", input=given, expected=expected, got=got, held_out=held_out)
