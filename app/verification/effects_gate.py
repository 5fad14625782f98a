"""The gate "effects": each effect happens once, whatever happens to the run.

For each example that performs something: the same call again plans nothing new and repeats nothing; the tool run twice in one process has
the same keys, so it keeps no state between calls; a process that dies at its first effect is resumed, and the ledger is then what one
clean run leaves, save for what `on_unknown` allows.

It refuses to be: a proof for every schedule. One crash point stands for the first cut; which one is named in the evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from app.connectors.port import is_local
from app.connectors.scripted import scripted
from app.runtime.program import Program
from app.spec.model import Effect, Example, ExecutionSpec
from app.verification.boxes import inside_files
from app.verification.differences import differences
from app.verification.findings import Finding, GateOutcome
from app.verification.stage import Key, Played, Row, staged
from app.verification.subject import Bench, Subject
from app.verification.touched import touched

MOST_EXAMPLES = 12
CASE_LIMIT_S = 45.0
_AT_ONCE = 4
_LOCAL = frozenset(name for name, port in scripted().effects.items() if is_local(port))
_STATE = "Keep nothing between calls and take what items are made of from args, reads and the context alone."
_KEYS = "Build items from args and reads so that the spec's key is the same for the same work; put no time, random value or new id into it."
_RESUME = "Take time, randomness and ids from the context, iterate over nothing unordered, and count an unknown outcome as unknown."


@dataclass(frozen=True, slots=True)
class Clean:
    """What one run on a fresh stage leaves, and what the same call again adds."""

    played: Played
    ledger: Mapping[Key, Row]
    again: Played
    after: Mapping[Key, Row]

    @property
    def added(self) -> int:
        """Effects that the same call again has planned anew or performed again."""
        return sum(key not in self.ledger or row.performed > max(1, self.ledger[key].performed) for key, row in self.after.items())


async def check_effects(subject: Subject, bench: Bench, _seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """Run again, run twice in one process, crash and resume: for up to 12 examples."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(example: Example) -> tuple[list[Finding], dict[str, Any]]:
        async with turn:
            try:
                async with asyncio.timeout(CASE_LIMIT_S):
                    return await _examine(subject, bench, example)
            except TimeoutError:
                message = f"Example {example.name!r} and its repetitions did not finish within {CASE_LIMIT_S:g} s."
                return [_finding("effects_time", message, "Do less in one example.", example)], {"name": example.name, "passed": False}

    chosen = _chosen(subject.spec)
    cases = await asyncio.gather(*(one(example) for example in chosen))
    findings = [finding for found, _ in cases for finding in found]
    cleans: list[Clean] = [case.pop("clean") for _, case in cases if "clean" in case]
    seen = {key for clean in cleans for key in clean.ledger}
    findings += _unproven(subject.spec, seen)
    counts = {effect.id: sum(name == effect.id for name, _ in seen) for effect in subject.spec.effects}
    plays = [played for clean in cleans for played in (clean.played, clean.again)]
    repeats = {"calls": len(cleans), "added": sum(clean.added for clean in cleans)}
    evidence = {"cases": [case for _, case in cases], "distinct_keys": counts, "touched": touched(plays), "repeats": repeats}
    return GateOutcome(findings, evidence)


def _chosen(spec: ExecutionSpec) -> list[Example]:
    """Examples that perform something first, in the spec's order."""
    ordered = sorted(spec.examples, key=lambda example: not example.effects)
    return ordered[:MOST_EXAMPLES]


async def _examine(subject: Subject, bench: Bench, example: Example) -> tuple[list[Finding], dict[str, Any]]:
    clean = await _clean(subject, bench, example)
    findings = list(_judge_again(example, clean))
    findings += await _in_one_process(subject, bench, example, clean)
    crashed = None
    if clean.played.done and not findings:
        crashed, found = await _crashed(subject, bench, example, clean)
        findings += found
    case: dict[str, Any] = {"name": example.name, "passed": not findings, "effects": len(clean.ledger), "crashed_at": crashed}
    case |= {"held_out": True} if example.visibility == "held_out" else {}
    return findings, {**case, "clean": clean}


async def _clean(subject: Subject, bench: Bench, example: Example) -> Clean:
    program = subject.program()
    async with staged(bench, example, subject.caller, program) as stage:
        played = await stage.play(program, example.args)
        ledger = await asyncio.to_thread(stage.ledger)
        again = await stage.play(program, example.args)
        return Clean(played, ledger, again, await asyncio.to_thread(stage.ledger))


def _judge_again(example: Example, clean: Clean) -> Iterator[Finding]:
    new = [key for key in clean.after if key not in clean.ledger]
    if new:
        message = f"The call of example {example.name!r} made again plans {len(new)} new effects, such as {_named(new[0])}."
        yield _finding("new_effects_on_repeat", message, _KEYS, example, _keys(clean.ledger), _keys(clean.after))
    for key, row in clean.after.items():
        if key in clean.ledger and clean.ledger[key].state == "done" and row.performed > 1:
            message = f"The call of example {example.name!r} made again performs {_named(key)} a second time."
            yield _finding("performed_twice", message, _KEYS, example, 1, row.performed)
    broken = clean.again.error_code
    if clean.played.state == "completed" and clean.again.state != "completed":
        said = str((clean.again.error or {}).get("message", ""))[:300]
        message = f"The call of example {example.name!r} works once; made again it ends with {broken!r}: {said}."
        fix = "Return a result whatever was done before: count what is skipped as skipped."
        yield _finding("fails_on_repeat", message, fix, example, "completed", clean.again.error)


async def _in_one_process(subject: Subject, bench: Bench, example: Example, clean: Clean) -> list[Finding]:
    program = _twice(subject)
    async with staged(bench, example, subject.caller, program) as stage:
        played = await stage.play(program, example.args)
    expected = _asked(clean.played) + (_asked(clean.again) if clean.played.state == "completed" else [])
    got = _asked(played)
    if got == expected:
        return []
    at = next((index for index, (left, right) in enumerate(zip_longest(expected, got)) if left != right), 0)
    left, right = (_named(keys[at]) if at < len(keys) else "nothing" for keys in (expected, got))
    message = f"Run twice in one process, the call of example {example.name!r} asks for {right} where two processes ask for {left}."
    if played.error is not None:
        message += f" It ends with {played.error_code!r}: {str(played.error.get('message', ''))[:200]}."
    return [_finding("state_between_calls", message, _STATE, example, list(map(_named, expected[:20])), list(map(_named, got[:20])))]


def _twice(subject: Subject) -> Program:
    """The tool wrapped to run twice; limits count both, and no invariant speaks of such a run."""
    spec = subject.spec
    tool = "\n\n".join([subject.files["tool.py"], inside_files()["inside/twice.py"], "run = twice(run)\n"])
    effects = tuple(
        effect.model_copy(update={"limits": effect.limits.model_copy(update={"per_run": 2 * effect.limits.per_run})})
        for effect in spec.effects
    )
    return subject.program(spec=spec.model_copy(update={"effects": effects, "invariants": ()}), tool=tool)


async def _crashed(subject: Subject, bench: Bench, example: Example, clean: Clean) -> tuple[str | None, list[Finding]]:
    first = next((done for done in clean.played.done if done.status == "done"), None)
    if first is None:
        return None, []
    cue = {"effect": first.effect, "when": {}, "answer": "crash", "times": 1}
    program = subject.program()
    async with staged(bench, example, subject.caller, program, script=[cue]) as stage:
        resumed = await stage.play(program, example.args)
        ledger = await asyncio.to_thread(stage.ledger)
    findings = list(_judge_resumed(subject, example, clean, resumed, ledger))
    return f"after {first.effect}", findings


def _judge_resumed(subject: Subject, example: Example, clean: Clean, resumed: Played, ledger: Mapping[Key, Row]) -> Iterator[Finding]:
    if len(resumed.attempts) < 2:
        raise RuntimeError("the script's cue to die was not met")
    yield from _judge_repetition(example, resumed)
    if (resumed.state, resumed.error_code) != (clean.played.state, clean.played.error_code):
        said = str((resumed.error or {}).get("message", resumed.state))[:400]
        message = f"Example {example.name!r}, resumed after its process died at its first effect, ends {resumed.state!r}: {said}."
        yield _finding("resume_fails", message, _RESUME, example, clean.played.state, resumed.error)
        return
    for key in sorted(set(clean.ledger) | set(ledger)):
        declared = subject.spec.effect(key[0])
        if declared is None:
            raise RuntimeError(f"the ledger holds the effect {key[0]!r}, which the spec does not declare")
        wrong = _row_differs(clean.ledger.get(key), ledger.get(key), declared, declared.connector in _LOCAL)
        if wrong is not None:
            message = f"Example {example.name!r}, resumed after its process died: {_named(key)} {wrong}."
            yield _finding("ledger_differs", message, _RESUME, example, _states(clean.ledger), _states(ledger))
            return


def _judge_repetition(example: Example, resumed: Played) -> Iterator[Finding]:
    """The resumed attempt asks again for what the first one asked for: the journal compares only what it had recorded."""
    first, last = ([(act.effect, act.item) for act in attempt.acts] for attempt in (resumed.attempts[0], resumed.attempts[-1]))
    for index, (asked, again) in enumerate(zip(first, last, strict=False), 1):
        if asked != again:
            place = differences({"id": asked[0], "item": asked[1]}, {"id": again[0], "item": again[1]})[0]
            message = f"Example {example.name!r}, resumed after its process died, asks for another item {index}: {place}."
            yield _finding("resume_differs", message, _RESUME, example, asked[1], again[1])
            return


def _row_differs(clean: Row | None, resumed: Row | None, declared: Effect, local: bool) -> str | None:
    if clean is None or resumed is None:
        return "is not planned by one clean run" if clean is None else "is missing"
    may_repeat = not local and declared.on_unknown == "retry"
    allowed = {clean.state} | ({"unknown"} if not local and declared.on_unknown == "hold" else set())
    allowed |= {"planned", "retry_wait", "done"} if may_repeat else set()
    if resumed.state not in allowed:
        return f"ends {resumed.state!r}; one clean run leaves {clean.state!r}"
    if resumed.performed > max(1, clean.performed) and not may_repeat:
        return f"was performed {resumed.performed} times"
    return None


def _unproven(spec: ExecutionSpec, seen: set[Key]) -> Iterator[Finding]:
    for effect in spec.effects:
        keys = [key for name, key in seen if name == effect.id]
        if not keys:
            message = f"No example performs the effect {effect.id!r}, so nothing is known of it."
            yield Finding("effect_unproven", message, "Add an example that performs it, or remove it from the spec.", file="spec.json")
        elif len(keys) == 1 and effect.limits.per_run > 1:
            message = f"No two examples or items give the effect {effect.id!r} two keys."
            fix = "Add an example with two different items."
            yield Finding("one_key_only", message, fix, severity="warning", file="spec.json")


def _finding(rule: str, message: str, fix: str, example: Example, expected: Any = None, got: Any = None) -> Finding:
    given = {"example": example.name, "args": example.args}
    held_out = example.visibility == "held_out"
    return Finding(rule, message, fix, file="tool.py", input=given, expected=expected, got=got, held_out=held_out)


def _asked(played: Played) -> list[Key]:
    return [(done.effect, done.key or "(no key)") for done in played.done]


def _named(key: Key) -> str:
    return f"{key[0]} {key[1][:120]}"


def _keys(ledger: Mapping[Key, Row]) -> list[str]:
    return [_named(key) for key in sorted(ledger)[:20]]


def _states(ledger: Mapping[Key, Row]) -> dict[str, str]:
    return {_named(key): row.state for key, row in sorted(ledger.items())[:20]}
