"""The gate "properties": on arguments that nobody wrote down, the tool does not crash, its result fits and every invariant holds.

Arguments are made from the input schema and from the examples, seeded by the candidate's digest, on the real runtime in the examples'
worlds, half of them at the examples' time and half in the present, and in crowded ones that hold each record many times more. In those a
tool may refuse and even crash on what it finds, since no schema says what records are like; what it answers must fit and hold. What fails
is made smaller before it is told, within a cap.

It refuses to be: exhaustive. The evidence says how many calls were made and how many came to a result.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core.clock import SystemClock, iso
from app.core.errors import Failed
from app.runtime.program import Program
from app.spec.model import Example, WorldRecord
from app.verification.boxes import Cut, ask
from app.verification.findings import Finding, GateOutcome, Severity
from app.verification.leaves import leaves
from app.verification.stage import Played, staged
from app.verification.subject import Bench, Subject
from app.verification.together import together

COUNT = 100
COUNT_OF_PURE = 400
"""Arguments proposed, and to a tool that neither reads nor performs, which is asked in no time; what the schema refuses is no call."""
MOST_KNOWN = 200
CALL_LIMIT_S, WORLD_LIMIT_S, CALLS_LIMIT_S = 20.0, 40.0, 110.0
"""Wall time of one call, of those in one world, and of all: what is left of the gate's own belongs to making failures smaller."""
MOST_SHRINKING = 40
SHRINKING_LIMIT_S = 30.0
_BROKEN = {
    "tool_crashed": ("property_crash", "Handle what the schema admits: raise ToolError(code, message), or count the item as failed."),
    "invariant_violated": ("property_invariant", "Count every outcome in exactly one field of the result; see Outcome.status."),
    "result_invalid": ("property_result", "Return what the spec's outputs say, for every input; bound lists and texts."),
    "result_too_large": ("property_size", "Return counts and a bounded sample; what grows with the input belongs into a ledger."),
    "nondeterminism": ("property_determinism", "Take time, randomness and ids from the context alone, and iterate over nothing unordered."),
    "run_timed_out": ("property_time", "Look for a loop that does not end on this input."),
    "effect_undeclared": ("property_undeclared", "Perform declared effects only, by their ids."),
    "read_undeclared": ("property_undeclared", "Read declared reads only, by their ids."),
}
_CROWD = frozenset({"invariant_violated", "result_invalid", "result_too_large", "nondeterminism"})
"""What counts in a crowded world."""
_WARNINGS = frozenset({"property_size"})
"""A result over the limit that the spec declares is refused by the host, and so by design: told, and nothing more."""


@dataclass
class _Tally:
    """What the calls in one example's world came to."""

    example: Example
    proposals: Sequence[Any]
    calls: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[Any, Played]] = field(default_factory=list)
    crowded: bool = False
    today: bool = False
    endless: Any = None
    """The arguments of a call that did not end in its time."""

    def rule(self, played: Played) -> tuple[str, str] | None:
        """Which property a call broke, and how to mend it; a ToolError and a refusal by a declared limit break none."""
        if played.is_business_error or (self.crowded and played.error_code not in _CROWD):
            return None
        return _BROKEN.get(played.error_code or "")

    @property
    def broken(self) -> bool:
        """Whether a call failed in a way that is more than a warning."""
        rules = [rule for _, played in self.failed if (rule := self.rule(played)) is not None]
        return self.hangs or any(rule not in _WARNINGS for rule, _ in rules)

    @property
    def hangs(self) -> bool:
        """Whether a call did not end that should have."""
        return self.endless is not None and not self.crowded


async def check_properties(subject: Subject, bench: Bench, _seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """Calls over the worlds of the examples; each failure once per rule, with the smallest input found."""
    program = subject.program()
    try:
        proposals, crowds = await _proposed(subject, bench, program)
    except Cut as cut:
        return GateOutcome([cut.finding])
    if not any(proposals):
        message = "No arguments that fit the input schema could be made."
        return GateOutcome([Finding("no_inputs", message, "Give the spec an example, and simplify patterns that look ahead or behind.")])
    tallies: list[_Tally] = []
    for example, args in zip(subject.spec.examples, proposals, strict=True):
        quiet = _quiet(example, example.world.records)
        tallies += [_Tally(quiet, args[::2]), _Tally(_today(quiet), args[1::2], today=True)]
    for example, crowd, args in crowds:
        asked = [example.args, *([args] if args != example.args else ())]
        tallies.append(_Tally(_quiet(example, crowd), asked, crowded=True))
    over = asyncio.get_running_loop().time() + CALLS_LIMIT_S * bench.patience
    await together(lambda tally: _call(bench, subject, program, tally, over), tallies)
    findings: list[Finding] = []
    for tally in tallies:
        findings += await _told(subject, bench, program, tally, {finding.rule for finding in findings})
    calls, proposed = sum(tally.calls for tally in tallies), sum(len(tally.proposals) for tally in tallies)
    findings += [_endless(tally) for tally in tallies if tally.hangs][:1]
    findings += [_short_of_time(calls, proposed)] if calls < proposed and not any(tally.hangs for tally in tallies) else []
    number = {example.name: number for number, example in enumerate(subject.spec.examples, 1)}
    cases = [
        {
            "name": f"inputs in the {'crowded ' * tally.crowded}{'present ' * tally.today}world of example {number[tally.example.name]}",
            "passed": not tally.broken,
        }
        for tally in tallies
        if tally.calls or tally.broken
    ]
    ends = sum((tally.ends for tally in tallies), Counter[str]())
    evidence = {"cases": cases, "calls": calls, "proposed": proposed, "ends": dict(ends), "seed": subject.digest}
    return GateOutcome(findings, evidence)


Records = Mapping[str, tuple[WorldRecord, ...]]
Crowd = tuple[Example, Records, Any]
"""An example that ends well, the records of a crowded world of it, and the most that can be asked there."""


async def _proposed(subject: Subject, bench: Bench, program: Program) -> tuple[list[list[Any]], list[Crowd]]:
    """Valid arguments for each example's world, and crowded ones."""
    spec = subject.spec
    shown = [example for example in spec.examples if example.visibility == "author"]
    known, hidden = _known(shown), _known(spec.examples)
    request = {
        "schema": dict(spec.inputs),
        "examples": [
            {"args": dict(example.args), "ends_well": example.error is None, "held_out": example not in shown} for example in spec.examples
        ],
        "known": known,
        "hidden": [text for text in hidden if text not in known],
        "seed": subject.digest,
        "records": [example.world.model_dump()["records"] for example in spec.examples],
        "count": COUNT if spec.effects or spec.reads else COUNT_OF_PURE,
    }
    answer = await ask(bench.sandbox, "propose", request)
    proposals: list[list[Any]] = [[] for _ in spec.examples]
    for number, proposal in enumerate(answer["proposals"]):
        if isinstance(proposal["args"], dict) and not program.validators.args.problems(proposal["args"]):
            where = proposal["like"] if proposal["like"] is not None else number % len(spec.examples)
            proposals[where].append(proposal["args"])
    crowds: list[Crowd] = [
        (example, {name: tuple(map(WorldRecord.model_validate, rows)) for name, rows in records.items()}, crowd["args"])
        for example, crowd in zip(spec.examples, answer["crowded"], strict=True)
        for records in crowd["records"]
        if example.error is None
    ]
    return proposals, crowds


def _known(examples: Sequence[Example]) -> list[str]:
    """Names that these examples' worlds know: keys of records and snapshots, and the texts of the examples' arguments."""
    worlds = [example.world for example in examples]
    named = {record.key for world in worlds for records in world.records.values() for record in records}
    named |= {name for world in worlds for name in world.snapshots}
    named |= {leaf for example in examples for _, leaf in leaves(example.args) if isinstance(leaf, str)}
    return sorted(named)[:MOST_KNOWN]


def _quiet(example: Example, records: Records) -> Example:
    """The example's world, with these records, where everything works: what the world refuses is another gate's matter."""
    return example.model_copy(update={"world": example.world.model_copy(update={"script": (), "records": records})})


def _today(example: Example) -> Example:
    """The example in the present: a tool that only works in the past of its examples, or spares them, is seen at what it does now."""
    return example.model_copy(update={"now": iso(SystemClock().now() // 1000 * 1000)})


async def _call(bench: Bench, subject: Subject, program: Program, tally: _Tally, over: float) -> None:
    """Play the calls one after the other in one world, until its time or that of all is over, or one does not end."""
    now = asyncio.get_running_loop().time
    over = min(over, now() + WORLD_LIMIT_S * bench.patience)
    if not tally.proposals or now() >= over:
        return
    async with staged(bench, tally.example, subject.caller, program) as stage:
        for args in tally.proposals:
            if now() >= over:
                return
            if (played := await bench.in_time(CALL_LIMIT_S, stage.play(program, args))) is None:
                tally.endless = args
                return
            tally.calls += 1
            tally.ends[_end(played)] += 1
            if tally.rule(played) is not None:
                tally.failed.append((args, played))


def _endless(tally: _Tally) -> Finding:
    rule, fix = _BROKEN["run_timed_out"]
    message = f"A call that the schema admits did not end within {CALL_LIMIT_S:g} s."
    held_out = tally.example.visibility == "held_out"
    return Finding(rule, message, fix, file="tool.py", input={"args": tally.endless}, held_out=held_out)


def _short_of_time(calls: int, proposed: int) -> Finding:
    message = f"Of {proposed} calls that were to be made, {calls} were made in the time that there is."
    return Finding("property_calls", message, "Verify again when the machine has less to do, or let a call do less.", severity="warning")


def _end(played: Played) -> str:
    return "result" if played.state == "completed" else played.error_code or played.state


async def _told(subject: Subject, bench: Bench, program: Program, tally: _Tally, known: set[str]) -> list[Finding]:
    """One finding for each rule that is not known to be broken yet."""
    findings: list[Finding] = []
    for args, played in tally.failed:
        rule = tally.rule(played)
        if rule is None or rule[0] in known:
            continue
        known.add(rule[0])
        least, last = await _shrunk(subject, bench, program, tally.example, args, played)
        error = last.error or {}
        said = str(error.get("message", ""))[:300].rstrip(".")
        where = f", with the records of example {tally.example.name!r} there many times more, or longer," if tally.crowded else ""
        where += f" at {tally.example.now}" if tally.today else ""
        message = f"A call that the schema admits{where} ended with {last.error_code!r}: {said}."
        held_out = tally.example.visibility == "held_out"
        severity: Severity = "warning" if rule[0] in _WARNINGS else "error"
        line = error.get("line")
        findings.append(Finding(rule[0], message, rule[1], severity, "tool.py", line, input={"args": least}, held_out=held_out))
    return findings


async def _shrunk(subject: Subject, bench: Bench, program: Program, example: Example, args: Any, played: Played) -> tuple[Any, Played]:
    """The smallest arguments found that fail alike in a fresh world; the given ones where they need the calls before them."""
    tries = MOST_SHRINKING
    now = asyncio.get_running_loop().time
    over = now() + SHRINKING_LIMIT_S * bench.patience
    least, last = args, played
    found = True
    while found and tries > 0:
        found = False
        for simpler in await _smaller(bench, least):
            if tries <= 0 or now() >= over:
                break
            if not isinstance(simpler, dict) or program.validators.args.problems(simpler):
                continue
            tries -= 1
            async with staged(bench, example, subject.caller, program) as stage:
                again = await bench.in_time(CALL_LIMIT_S, stage.play(program, simpler))
            if again is not None and not again.is_business_error and again.error_code == played.error_code:
                least, last, found = simpler, again, True
                break
    return least, last


async def _smaller(bench: Bench, args: Any) -> list[Any]:
    try:
        answer = await ask(bench.sandbox, "propose", {"value": args})
    except (Cut, Failed):  # a value that is hard to make smaller is told as it is
        return []
    found: list[Any] = answer["smaller"]
    return found
