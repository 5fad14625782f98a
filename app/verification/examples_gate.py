"""The gate "examples": every golden case of the spec, held-out ones too, on the real runtime in a world of its own.

It refuses to be: a judge of cases that nobody wrote down. It compares the result, the error and the effects that the author promised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.spec.model import Example, ExpectedEffect
from app.verification.differences import differences
from app.verification.findings import Finding, GateOutcome
from app.verification.stage import Done, Played, staged
from app.verification.subject import Bench, Subject
from app.verification.together import together
from app.verification.touched import touched

CASE_LIMIT_S = 20.0
_CODE = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
_MEND = "Make the tool do what the example says; where the example is wrong, save a new spec revision."


async def check_examples(subject: Subject, bench: Bench, _seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """Each case: the same result or error, and exactly these effects, in order."""

    async def one(example: Example) -> tuple[list[Finding], Played | None]:
        played = await bench.in_time(CASE_LIMIT_S, _play(subject, bench, example))
        if played is None:
            message = f"Example {example.name!r} did not finish within {CASE_LIMIT_S:g} s."
            return [_finding("example_time", message, "Look for a loop that does not end.", example)], None
        return list(judge(example, played)), played

    cases = await together(one, subject.spec.examples)
    findings = [finding for found, _ in cases for finding in found]
    shown = [_case(example, found, played) for example, (found, played) in zip(subject.spec.examples, cases, strict=True)]
    coded = {
        f"case {number}": played is not None
        and (played.error is None or (played.is_business_error and bool(_CODE.match(played.error_code or ""))))
        for number, (_, played) in enumerate(cases, 1)
    }
    plays = touched(played for _, played in cases if played is not None)
    return GateOutcome(findings, {"cases": shown, "errors_coded": coded, "touched": plays})


async def _play(subject: Subject, bench: Bench, example: Example) -> Played:
    program = subject.program()
    async with staged(bench, example, subject.caller, program) as stage:
        return await stage.play(program, example.args)


def judge(example: Example, played: Played) -> Iterator[Finding]:
    """What differs from the promise of one example."""
    yield from _judge_end(example, played)
    yield from _judge_effects(example, played.done)


def _judge_end(example: Example, played: Played) -> Iterator[Finding]:
    if example.error is not None:
        if played.error_code != example.error.code or played.state != "failed":
            said = _ended(played)
            message = f"Example {example.name!r} must end with the error {example.error.code!r}; it {said}."
            fix = f"Raise ToolError({example.error.code!r}, message) in this case."
            yield _finding("example_error", message, fix, example, {"code": example.error.code}, played.error or played.result, played)
        return
    if played.state != "completed":
        message = f"Example {example.name!r} must end with a result; it {_ended(played)}."
        yield _finding(_rule_of(played), message, _fix_of(played), example, example.result, played.error, played)
        return
    for place in differences(example.result, played.result, "$.result"):
        yield _finding("example_result", f"Example {example.name!r}: {place}.", _MEND, example, place.expected, place.got)


def _judge_effects(example: Example, done: Sequence[Done]) -> Iterator[Finding]:
    for index in range(max(len(example.effects), len(done))):
        expected = example.effects[index] if index < len(example.effects) else None
        got = done[index] if index < len(done) else None
        message = _effect_differs(index, expected, got)
        if message is not None:
            rule = "example_effect_extra" if expected is None else "example_effect_missing" if got is None else "example_effect"
            yield _finding(rule, f"Example {example.name!r}: {message}.", _MEND, example, _of_expected(expected), _of_done(got))
            return  # what follows the first difference is shifted and tells nothing


def _effect_differs(index: int, expected: ExpectedEffect | None, got: Done | None) -> str | None:
    where = f"effect {index + 1}"
    if got is None and expected is not None:
        return f"{where} ({expected.id}) was not performed"
    if expected is None and got is not None:
        return f"{where} ({got.effect}) was performed and not expected"
    if expected is None or got is None:
        return None
    if expected.id != got.effect:
        return f"{where} is {got.effect!r}, expected {expected.id!r}"
    places = differences(expected.item, got.item, "$.item", partial=True)
    if places:
        return f"{where} ({got.effect}): {places[0]}"
    if expected.status != got.status:
        why = f" ({got.error.get('code')})" if got.error else ""
        return f"{where} ({got.effect}) ended {got.status!r}{why}, expected {expected.status!r}"
    return None


def _ended(played: Played) -> str:
    if played.error is None:
        return f"ended {played.state!r} with a result"
    return f"ended {played.state!r} with {played.error_code!r}: {str(played.error.get('message', ''))[:300].rstrip('.')}"


def _rule_of(played: Played) -> str:
    known = {"tool_crashed": "example_crash", "invariant_violated": "example_invariant", "result_invalid": "example_schema"}
    return known.get(played.error_code or "", "example_failed")


def _fix_of(played: Played) -> str:
    fixes = {
        "tool_crashed": "Catch what can be wrong in the data and raise ToolError(code, message), or count it as failed.",
        "invariant_violated": "Count every outcome in exactly one field of the result; see Outcome.status.",
        "result_invalid": "Return what the spec's outputs say, no field more or less.",
        "nondeterminism": "Take time, randomness and ids from the context alone, and iterate over nothing unordered.",
        "effect_undeclared": "Perform declared effects only, by their ids.",
        "read_undeclared": "Read declared reads only, by their ids.",
    }
    return fixes.get(played.error_code or "", _MEND)


def _finding(
    rule: str, message: str, fix: str, example: Example, expected: Any = None, got: Any = None, played: Played | None = None
) -> Finding:
    line = played.error.get("line") if played and played.error else None
    given = {"example": example.name, "args": example.args}
    held_out = example.visibility == "held_out"
    return Finding(rule, message, fix, file="tool.py", line=line, input=given, expected=expected, got=got, held_out=held_out)


def _case(example: Example, found: Sequence[Finding], played: Played | None) -> dict[str, Any]:
    case: dict[str, Any] = {"name": example.name, "passed": not found, "effects": len(played.done) if played else 0}
    return {**case, "held_out": True} if example.visibility == "held_out" else case


def _of_expected(expected: ExpectedEffect | None) -> Any:
    return expected.model_dump() if expected else None


def _of_done(done: Done | None) -> Any:
    return {"id": done.effect, "item": done.item, "status": done.status, "error": done.error} if done else None
