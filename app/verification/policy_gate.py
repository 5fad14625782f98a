"""The gate "policy": what the spec does not declare cannot happen.

By the text: each id that the code names is declared, and is written out, so that a reader can see what a tool may do. By runs: an
undeclared effect and an undeclared read are refused, audited, and leave nothing behind; so is each declared effect, once it is taken out
of the spec.

It refuses to be: about this candidate's intentions. It shows that the host holds whatever the code says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.runtime.program import Program
from app.spec.model import Example, ExecutionSpec
from app.verification import repository
from app.verification.findings import Finding, GateOutcome
from app.verification.stage import Played, Stage, staged
from app.verification.subject import Bench, Subject

PROBE = "undeclared_probe"
ATTEMPT_LIMIT_S = 20.0
_PROBING = """


_run_declared = run


def run(args, ctx):  # the platform's: ask for what the spec does not declare, before the tool itself
    ctx.{call}
    return _run_declared(args, ctx)
"""
_CALLS = {"perform": 'perform("undeclared_probe", {"to": "nobody@example.com"})', "read": 'read("undeclared_probe", key="x")'}
_UNHELD = {
    "unreached": (
        "not_attempted",
        "The attempt {name!r} never came to ask for {asked!r}: the run ended, or was ended, before.",
        "Mend what the other gates name first; the attempt is made again with the next candidate.",
    ),
    "not_held": (
        "not_refused",
        "The attempt {name!r} asked for {asked!r} and was not refused, not audited, or left something.",
        "Report this: the host must hold it, whatever a tool does.",
    ),
}
End = Literal["refused", "unreached", "not_held"]
_REFUSALS = {"perform": "effect_undeclared", "read": "read_undeclared"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A program that asks for what its spec does not declare: `kind` is `perform` or `read`, `asked` the id."""

    name: str
    program: Program
    example: Example
    kind: str
    asked: str


async def check_policy(subject: Subject, bench: Bench, seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """`refused` maps each attempt to whether it was refused, audited and without a trace."""
    findings = list(_undeclared_ids(subject.spec, seen.get("imports", {}).get("calls", ())))
    refused: dict[str, bool] = {"ids_declared": not any(finding.severity == "error" for finding in findings)}
    attempts = {attempt.name: attempt for attempt in _attempts(subject)}
    ends = await asyncio.gather(*(_attempted(subject, bench, attempt) for attempt in attempts.values()))
    for (name, attempt), end in zip(attempts.items(), ends, strict=True):
        refused[name] = end == "refused"
        if end != "refused":
            rule, message, fix = _UNHELD[end]
            findings.append(Finding(rule, message.format(name=name, asked=attempt.asked), fix))
    return GateOutcome(findings, {"refused": refused})


def _undeclared_ids(spec: ExecutionSpec, calls: Any) -> Iterator[Finding]:
    declared = {"perform": {effect.id for effect in spec.effects}, "read": {read.id for read in spec.reads}}
    named: dict[str, set[str]] = {"perform": set(), "read": set()}
    for call in calls:
        kind = "read" if call["method"].startswith("read") else "perform"
        if call["id"] is None:
            message = f"The id of ctx.{call['method']} is not written out, so nobody can see what it may do."
            yield Finding(
                "id_not_literal", message, "Write the id as a text or as a constant of the module.", file="tool.py", line=call["line"]
            )
        elif call["id"] not in declared[kind]:
            known = ", ".join(sorted(declared[kind])) or "none"
            what = "effect" if kind == "perform" else "read"
            message = f"The spec declares no {what} {call['id']!r}; it declares: {known}."
            yield Finding(
                f"undeclared_{what}", message, f"Use a declared {what}, or declare it in the spec.", file="tool.py", line=call["line"]
            )
        else:
            named[kind].add(call["id"])
    for kind, ids in declared.items():
        for unused in sorted(ids - named[kind]):
            message = f"The spec declares {unused!r}, and the code never names it."
            yield Finding(
                "unused_declaration", message, "Remove it from the spec: declare no more than is used.", "warning", file="spec.json"
            )


def _attempts(subject: Subject) -> Iterator[Attempt]:
    for kind, call in _CALLS.items():
        program = subject.program(tool=subject.files["tool.py"] + _PROBING.replace("{call}", call))
        yield Attempt(f"undeclared_{kind}", program, subject.spec.examples[0], kind, PROBE)
    for effect in subject.spec.effects:
        example = _performs(subject.spec, effect.id)
        if example is not None:
            stripped = subject.program(spec=_without(subject.spec, effect.id))
            yield Attempt(f"stripped_{effect.id}", stripped, example, "perform", effect.id)


async def _attempted(subject: Subject, bench: Bench, attempt: Attempt) -> End:
    async with staged(bench, attempt.example, subject.caller, attempt.program) as stage:
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT_S):
                played = await stage.play(attempt.program, attempt.example.args)
        except TimeoutError:
            return "unreached"
        return await asyncio.to_thread(_judged, stage, played, attempt.kind, attempt.asked)


def _judged(stage: Stage, played: Played, kind: str, name: str) -> End:
    refused = (kind, name, _REFUSALS[kind]) in played.heard.refused
    happened = any(entry.effect == name for entry in stage.connectors.performed) or any(effect == name for effect, _ in stage.ledger())
    if not refused and not happened:
        return "unreached"
    with stage.database.reading() as session:
        events = [event for event in repository.audit_events(session) if event.action == "effect.refused" and event.outcome == "refused"]
    told = any(event.target.endswith(f"/{name}") and event.actor == stage.actor.id for event in events)
    return "refused" if refused and told and not happened else "not_held"


def _without(spec: ExecutionSpec, effect_id: str) -> ExecutionSpec:
    """The spec with one effect taken out, and no invariant that might speak of it."""
    return spec.model_copy(update={"effects": tuple(effect for effect in spec.effects if effect.id != effect_id), "invariants": ()})


def _performs(spec: ExecutionSpec, effect_id: str) -> Example | None:
    return next((example for example in spec.examples if any(expected.id == effect_id for expected in example.effects)), None)
