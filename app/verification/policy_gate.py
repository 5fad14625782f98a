"""The gate "policy": what the spec does not declare, or its caller may not do, cannot happen.

By the text: each id that the code names is declared, and is written out, so that a reader can see what a tool may do. By runs: what is
undeclared, over a limit, without a key, no item for its connector, or asked for by an actor without permission is refused, audited, and
leaves nothing behind; and what a hostile record holds stays text.

It refuses to be: about this candidate's intentions. It shows that the host holds whatever the code says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from app.spec.model import ExecutionSpec
from app.verification import repository
from app.verification.callers import refused_callers
from app.verification.findings import Finding, GateOutcome
from app.verification.hostile import MOST, Hostile, hostile_worlds, judge
from app.verification.path_gate import busiest
from app.verification.policy_attempts import Ask, Attempt, attempts
from app.verification.stage import Played, Stage, staged
from app.verification.subject import Bench, Subject
from app.verification.together import together

ATTEMPT_LIMIT_S = 20.0
_UNHELD = {
    "unreached": (
        "not_attempted",
        "The attempt {case!r} never came to ask for {asked!r}: the run ended, or was ended, before.",
        "Mend what the other gates name first; the attempt is made again with the next candidate.",
    ),
    "not_held": (
        "not_refused",
        "The attempt {case!r} asked for {asked!r} and was not refused, not audited, or left something.",
        "Report this: the host must hold it, whatever a tool does.",
    ),
    "passed_over": (
        "refusal_passed_over",
        "The host refused {asked!r} to the tool, which went on and ended with a result, as if it had been done.",
        "Let the ToolError of a refused call end the run: catch none around ctx.read and ctx.perform, or raise one of your own.",
    ),
}
End = Literal["refused", "unreached", "not_held", "passed_over"]
Case = dict[str, Any]
"""One row of the evidence: `{"case", "asked", "code", "ended", "audited", "left"}`; `left` counts what is there and must not be. A row of a
hostile record has only how its run ended."""


async def check_policy(subject: Subject, bench: Bench, seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """`cases` has a row for each attempt; `refused` maps each to whether it was refused, audited and without a trace;
    `left_out` names the hostile records that were not tried.
    """
    named = seen.get("imports", {})
    findings = [*_undeclared_ids(subject.spec, named.get("calls", ())), *_undeclared_hosts(subject.spec, named.get("hosts", ()))]
    refused: dict[str, bool] = {"ids_declared": not any(finding.severity == "error" for finding in findings)}
    tried = [partial(_attempted, subject, bench, attempt) for attempt in attempts(subject)]
    cases: list[Case] = [case for each in await together(_done, [*tried, partial(refused_callers, subject, bench)]) for case in each]
    for case in cases:
        refused[case["case"]] = case["ended"] == "refused"
        if case["ended"] != "refused":
            rule, message, fix = _UNHELD[case["ended"]]
            finding = Finding(rule, message.format(**case), fix)
            findings += [finding] if finding not in findings else []
    example = busiest(subject.spec)
    worlds = hostile_worlds(example) if example is not None else []
    suffered = await together(partial(_suffered, subject, bench), worlds[:MOST])
    for hostile, (ended, found) in zip(worlds, suffered, strict=False):
        refused[hostile.name] = not any(finding.severity == "error" for finding in found)
        cases.append({"case": hostile.name, "asked": hostile.place[0], "ended": ended})
        findings += found
    return GateOutcome(findings, {"refused": refused, "cases": cases, "left_out": [hostile.name for hostile in worlds[MOST:]]})


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
            message = f"The spec declares {unused!r}, and the code never names it: a tool may do no more than it needs."
            yield Finding("unused_declaration", message, "Remove it from the spec.", file="spec.json")


def _undeclared_hosts(spec: ExecutionSpec, named: Any) -> Iterator[Finding]:
    declared = {host.removesuffix(":443") for effect in spec.effects for host in effect.config.get("hosts", ())}
    for place in named:
        host = place["host"].removesuffix(":443")
        if host not in declared and (place["whole"] or not any(each.startswith(host) for each in declared)):
            message = f"An item's url names the host {host[:100]!r}; the spec declares: {', '.join(sorted(declared)) or 'none'}."
            fix = "Use a declared host, or declare it in config.hosts of the effect; with a connection write the path alone."
            yield Finding("undeclared_host", message, fix, file="tool.py", line=place["line"])


async def _done(work: Callable[[], Awaitable[list[Case]]]) -> list[Case]:
    return await work()


async def _attempted(subject: Subject, bench: Bench, attempt: Attempt) -> list[Case]:
    cases: list[Case] = []
    for example in attempt.examples:
        async with staged(bench, example, subject.caller, attempt.program) as stage:
            played = await bench.in_time(ATTEMPT_LIMIT_S, stage.play(attempt.program, example.args))
            if played is None:
                cases = [_case(ask, "unreached", audited=False, left=0) for ask in attempt.asks]
                continue
            cases = await asyncio.to_thread(lambda at, told: [_judged(at, told, ask) for ask in attempt.asks], stage, played)
        if any(case["ended"] != "unreached" for case in cases):
            return cases
    return cases if attempt.certain else []


def _judged(stage: Stage, played: Played, ask: Ask) -> Case:
    kept = sum(effect == ask.asked and (ask.holding is None or ask.holding in row.item) for (effect, _), row in stage.ledger().items())
    sent = sum(entry.effect == ask.asked and (ask.holding is None or ask.holding in entry.item) for entry in stage.connectors.performed)
    left = max(0, max(kept, sent) - ask.most)
    with stage.database.reading() as session:
        events = [event for event in repository.audit_events(session) if event.action == "effect.refused" and event.outcome == "refused"]
    named = [event for event in events if event.target.endswith(f"/{ask.asked}") and event.actor == stage.actor.id]
    audited = any((event.body or {}).get("code") == ask.code for event in named)
    refused = _was_refused(played, ask)
    ended: End = "refused" if refused and audited and not left else "not_held" if refused or left else "unreached"
    if ended == "refused" and ask.ends and played.state == "completed":
        ended = "passed_over"
    return _case(ask, ended, audited=audited, left=left)


def _was_refused(played: Played, ask: Ask) -> bool:
    """Whether the guest was told so: of its whole request, or of each such item."""
    if (ask.kind, ask.asked, ask.code) in played.heard.refused:
        return True
    return any(act.effect == ask.asked and ((act.outcome or {}).get("error") or {}).get("code") == ask.code for act in played.heard.acts)


def _case(ask: Ask, ended: End, *, audited: bool, left: int) -> Case:
    return {"case": ask.name, "asked": ask.asked, "code": ask.code, "ended": ended, "audited": audited, "left": left}


async def _suffered(subject: Subject, bench: Bench, hostile: Hostile) -> tuple[str, list[Finding]]:
    """How a run in a hostile world ended, and what is wrong with that."""
    program = subject.program()
    async with staged(bench, hostile.example, subject.caller, program) as stage:
        played = await bench.in_time(ATTEMPT_LIMIT_S, stage.play(program, hostile.example.args))
    if played is None:
        message = f"A hostile text in {'.'.join(hostile.place)} keeps the run from ending within {ATTEMPT_LIMIT_S:g} s."
        return "time", [Finding("hostile_time", message, "Look for a loop that a record's text can keep going.", file="tool.py")]
    ended = "result" if played.state == "completed" else played.error_code or played.state
    return ended, list(judge(subject.spec, subject.catalog, hostile, played))
