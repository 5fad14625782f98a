"""The gate "effects": each effect happens once, whatever happens to the run.

Each example is run clean, replayed, again, and twice in one process at another time that moves. Then runs are disturbed by schedules, the
most telling ones first: what `schedules` lists, `disturbed`, `variations` and `meddled` play and judge.

It refuses to be: a proof for every schedule. The evidence says how many of how many were played, of each kind, and names the others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.runtime.journal import encode
from app.spec.model import Example, ExecutionSpec
from app.verification.clean import Clean, judge_clean, run_clean, run_twice
from app.verification.disturbed import Disturbed, judge_disturbed, run_disturbed
from app.verification.findings import Finding, GateOutcome
from app.verification.meddled import judge_meddled, run_meddled
from app.verification.pairing import judge_pairs
from app.verification.schedules import Listed, Schedule, list_schedules
from app.verification.subject import Bench, Subject
from app.verification.together import together
from app.verification.touched import touched
from app.verification.variations import VARIED, judge_varied, run_varied
from app.verification.wording import FIXES, found

MOST_EXAMPLES = 12
CASE_LIMIT_S = 45.0
MOST_OF_A_RULE = 3


@dataclass(frozen=True, slots=True)
class Examined:
    """What became of one example or schedule: findings, its clean run unless it did not end in time, how a run was disturbed."""

    findings: Sequence[Finding]
    clean: Clean | None = None
    disturbed: Disturbed | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong; there may be warnings."""
        return all(finding.severity != "error" for finding in self.findings)


async def check_effects(subject: Subject, bench: Bench, _seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """Clean runs of the chosen examples, then schedules of those in which nothing was found."""
    chosen = choose_examples(subject.spec)
    examined = await together(lambda example: _in_time(bench, example, examine(subject, bench, example)), chosen)
    cleans = [one.clean for one in examined if one.clean is not None]
    sound = [one.clean for one in examined if one.clean is not None and one.sound]

    inputs = subject.program().validators.args
    listed = list_schedules(subject.spec, sound, lambda args: not inputs.problems(dict(args)), subject.digest)
    of = {clean.example.name: clean for clean in sound}
    seen = await together(lambda one: _in_time(bench, one.example, play_schedule(subject, bench, of[one.example.name], one)), listed.played)

    disturbed = [finding for one in seen for finding in one.findings]
    disturbed += judge_pairs([one.disturbed for one in seen if one.disturbed is not None and not one.findings])
    findings = [finding for one in examined for finding in one.findings] + _few(disturbed)
    keys = {key for clean in cleans for key in clean.ledger}
    findings += _unproven(subject.spec, cleans)
    broken = {finding.input["example"] for finding in disturbed if finding.severity == "error"}
    plays = [run for clean in cleans for run in (clean.played, clean.again)]
    evidence = {
        "cases": [_case(example, one, broken) for example, one in zip(chosen, examined, strict=True)],
        "distinct_keys": {effect.id: sum(name == effect.id for name, _ in keys) for effect in subject.spec.effects},
        "touched": touched(plays),
        "repeats": {"calls": len(cleans), "added": sum(clean.added for clean in cleans)},
        "schedules": _told(listed, subject.digest),
    }
    return GateOutcome(findings, evidence)


def choose_examples(spec: ExecutionSpec) -> list[Example]:
    """For each effect the first that does it, then the others that have effects, up to 12."""
    doing = ((expected.id, example) for example in spec.examples for expected in example.effects if expected.status == "done")
    first = {effect: example.name for effect, example in reversed([*doing])}.values()
    ordered = sorted(spec.examples, key=lambda example: (example.name not in first, not example.effects))
    return ordered[: max(MOST_EXAMPLES, len(set(first)))]


async def _in_time(bench: Bench, example: Example, work: Awaitable[Examined]) -> Examined:
    message = f"Example {example.name!r} and its repetitions did not finish within {CASE_LIMIT_S:g} s."
    return await bench.in_time(CASE_LIMIT_S, work) or Examined([found(example, "effects_time", message)])


async def examine(subject: Subject, bench: Bench, example: Example) -> Examined:
    """Run one example clean, again, twice in one process, and replay it."""
    clean = await run_clean(subject, bench, example)
    findings, clean = await run_twice(subject, bench, clean)
    return Examined([*judge_clean(clean), *findings], clean)


async def play_schedule(subject: Subject, bench: Bench, clean: Clean, schedule: Schedule) -> Examined:
    """Play one schedule of an example whose clean run this is, and judge it."""
    if schedule.kind in VARIED:
        return Examined(judge_varied(subject.spec, await run_varied(subject, bench, clean, schedule)))
    if schedule.kind == "meddled":
        return Examined(judge_meddled(await run_meddled(subject, bench, clean, schedule)))
    seen = await run_disturbed(subject, bench, clean, schedule)
    return Examined(await asyncio.to_thread(judge_disturbed, subject.spec, seen), disturbed=seen)


def _few(findings: Sequence[Finding]) -> list[Finding]:
    """Three of each rule: more schedules that show the same defect tell nothing new."""
    counts: Counter[str] = Counter()
    few = []
    for finding in findings:
        counts[finding.rule] += 1
        if counts[finding.rule] <= MOST_OF_A_RULE:
            few.append(finding)
    return few


def _case(example: Example, examined: Examined, broken: set[str]) -> dict[str, Any]:
    effects = len(examined.clean.ledger) if examined.clean is not None else 0
    passed = examined.sound and example.name not in broken
    case = {"name": example.name, "passed": passed, "effects": effects}
    return case | ({"held_out": True} if example.visibility == "held_out" else {})


def _told(listed: Listed, seed: str) -> dict[str, Any]:
    """How many of how many were played, of each kind; and which were not."""
    of, played = (Counter(one.kind for one in some) for some in (listed.all, listed.played))
    return {
        "played": len(listed.played),
        "of": len(listed.all),
        "seed": seed,
        "kinds": {kind: {"played": played[kind], "of": number} for kind, number in sorted(of.items())},
        "left_out": [one.as_dict() for one in listed.left_out],
    }


def _unproven(spec: ExecutionSpec, cleans: Sequence[Clean]) -> Iterator[Finding]:
    """Effects of which no example shows anything, or not that what differs has keys of its own."""
    done = {key[0] for clean in cleans for key in clean.done}
    for effect in spec.effects:
        keys = {key for clean in cleans for key in clean.ledger if key[0] == effect.id}
        if not keys:
            message = f"No example performs the effect {effect.id!r}, so nothing is known of it."
            yield Finding("effect_unproven", message, FIXES["effect_unproven"], file="spec.json")
        elif effect.id not in done:
            message = f"In no example is the effect {effect.id!r} done, so it was neither interrupted nor refused."
            yield Finding("effect_undisturbed", message, FIXES["effect_undisturbed"], file="spec.json")
        elif _never_apart(effect.id, cleans):
            message = (
                f"Whenever one run asks for different items of the effect {effect.id!r}, they share a key, so that one of them is lost."
            )
            yield Finding("items_share_a_key", message, FIXES["items_share_a_key"], file="tool.py")
        elif len(keys) == 1 and effect.limits.per_run > 1:
            message = f"No two examples or items give the effect {effect.id!r} two keys."
            yield Finding("one_key_only", message, FIXES["one_key_only"], severity="warning", file="spec.json")


def _never_apart(effect: str, cleans: Sequence[Clean]) -> bool:
    """Whether there are runs that ask for different items of this effect, and all of them under one key."""
    asked = [[(encode(one.item), one.key) for one in clean.played.done if one.effect == effect] for clean in cleans]
    several = [dict(pairs).values() for pairs in asked if len(dict(pairs)) > 1]
    return bool(several) and all(len(set(keys)) == 1 for keys in several)
