"""The gate "path": one call through the published path, and what can be seen of it afterwards.

Time, memory and steps are measured; one finished run row, the run's span and the tool's lines in the log with run, version, actor and
trace id and without personal data, progress, and the audit events must be there: what is missing is red.

It refuses to be: a benchmark. It runs on whatever machine verifies, beside other work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from app.observability.logs import LOGGER
from app.observability.traces import tracing
from app.runtime.models import Run
from app.spec.model import Example, ExecutionSpec
from app.verification import repository
from app.verification.drill import Drill, drilled
from app.verification.findings import Finding, GateOutcome
from app.verification.private import marked, personal_values, tells_of
from app.verification.stage import in_world, staged
from app.verification.subject import Bench, Subject
from app.verification.together import together
from app.verification.witness import Heard

_NAMES = ("run_id", "version", "actor", "trace_id")
_MEND_LOG = "Log counts, ids and codes: ctx.log(event, sent=3). Addresses and names belong into the ledger and the result's samples."
_KEY = "path"
_EXPLAIN = {
    "version": "The call was not answered by the version that was published.",
    "replay": "The same call with the same key was not answered with the first answer.",
    "run_row": "The run left no finished row with version, actor, trace id, steps, memory and CPU time.",
    "run_span": "The run has not exactly one finished span with run, version, actor and trace id in the log.",
    "log_names": "A log line of the tool lacks run, version, actor or trace id.",
    "log_private": "The tool logs what tells of a person in an example: an address, a name, a number, or a part of one.",
    "journal": "The tool made calls of the host that are not in its journal.",
    "audit": "The audit trail lacks the start or the end of the run, or its actor or trace id.",
}


async def check_path(subject: Subject, bench: Bench, _seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """`observed` maps each thing that must be seen to whether it was; the rest are measurements."""
    example = busiest(subject.spec)
    if example is None:
        message = "No example ends with a result, so the published path cannot be walked."
        return GateOutcome([Finding("no_successful_example", message, "Add an example with a result.", file="spec.json")])
    async with drilled(bench, subject, example) as drill:
        version = await drill.publish()
        with _listening() as records, tracing() as trace:
            began = time.monotonic()
            answer = await drill.call(example.args, key=_KEY)
            wall_ms = round((time.monotonic() - began) * 1000)
        heard = drill.stage.witness.heard[-1]
        replayed = await drill.call(example.args, key=_KEY)
        lines = [fields for fields in records if fields.get("run_id") == answer["id"]]
        run, observed = await asyncio.to_thread(_observe, drill, example, answer, heard, trace, lines)
    observed |= {"version": answer["version"] == version, "replay": _same_answer(answer, replayed)}
    leaking = await _telling_of_marked(subject, bench) if observed["log_private"] else example
    observed["log_private"] = leaking is None
    findings = [_missing(name, leaking if leaking and name == "log_private" else example) for name, seen in observed.items() if not seen]
    if answer["state"] != "completed":
        said = str((answer["error"] or {}).get("message", answer["state"]))[:300].rstrip(".")
        findings.append(
            Finding("path_failed", f"The call ended {answer['state']!r}: {said}.", "Make the example pass first.", file="tool.py")
        )
    return GateOutcome(findings, {"observed": observed, **_measured(run, heard, wall_ms), "example": example.name})


async def _telling_of_marked(subject: Subject, bench: Bench) -> Example | None:
    """The first example in which the tool logs a part of a person, looked for in calls where each person can be told by a mark."""
    program = subject.program()

    async def tells(example: Example) -> bool:
        async with staged(bench, example, subject.caller, program) as stage:
            played = await stage.play(program, example.args)
        return any(tells_of(line, set()) for line in played.heard.logs)

    told = await together(tells, map(marked, subject.spec.examples))
    return next((example for example, leaks in zip(subject.spec.examples, told, strict=True) if leaks), None)


def busiest(spec: ExecutionSpec) -> Example | None:
    """The author's example with a result that performs most."""
    return next(iter(busiest_first(spec)), None)


def busiest_first(spec: ExecutionSpec) -> list[Example]:
    """The author's examples with a result, those that perform most first; held-out ones stay out of evidence.

    In their worlds no process dies: callers of the published path wait for an answer.
    """
    fit = [example for example in spec.examples if example.result is not None and example.visibility == "author"]
    ordered = sorted(fit, key=lambda example: -len(example.effects))
    return [in_world(one, script=tuple(cue for cue in one.world.script if not cue.answer.startswith("crash"))) for one in ordered]


def _observe(
    drill: Drill, example: Example, answer: Mapping[str, Any], heard: Heard, trace: str, lines: Sequence[Mapping[str, Any]]
) -> tuple[Run | None, dict[str, bool]]:
    run_id, caller = answer["id"], drill.subject.caller
    with drill.database.reading() as session:
        run = repository.run(session, run_id)
        said = repository.log_lines(session, run_id)
        events = {event.action: event for event in repository.audit_events(session) if event.target == run_id}
        journaled = repository.journaled(session, run_id)
    spans = [line for line in lines if "state" in line]
    told = [line for line in lines if "said" in line]
    private = personal_values(example)
    return run, {
        "run_row": run is not None and _is_whole_row(run, caller.id, trace),
        "run_span": len(spans) == 1 and all(spans[0].get(name) for name in _NAMES),
        "log_names": len(told) == len(said) and all(line.get(name) for line in told for name in _NAMES),
        "log_private": not any(tells_of([line.event, line.fields], private) for line in said),
        "journal": journaled > 0 or not (heard.reads or heard.acts),
        "audit": all(_is_whole(events.get(action), caller.id, trace) for action in ("run.started", "run.completed")),
    }


def _is_whole_row(run: Run, actor: str, trace: str) -> bool:
    return run.finished_at is not None and run.actor == actor and run.trace_id == trace and run.channel == "stable" and run.rss_kb > 0


def _same_answer(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """The second call with the key is the first one's answer, told as a replay."""
    return second["replayed"] is True and all(second[name] == first[name] for name in ("id", "state", "result"))


def _is_whole(event: Any, actor: str, trace: str) -> bool:
    return event is not None and event.actor == actor and event.trace_id == trace


def _missing(name: str, example: Example) -> Finding:
    fix, file = (_MEND_LOG, "tool.py") if name == "log_private" else ("Report this: the platform must leave it.", None)
    given, held_out = {"example": example.name}, example.visibility == "held_out"
    return Finding(f"path_{name}", _EXPLAIN[name], fix, file=file, input=given, held_out=held_out)


def _measured(run: Run | None, heard: Heard, wall_ms: int) -> dict[str, Any]:
    found: dict[str, Any] = {"wall_ms": wall_ms, "items": len(heard.acts), "log_lines": len(heard.logs), "progress": heard.progress}
    if run is not None:
        found |= {"cpu_ms": run.cpu_ms, "rss_kb": run.rss_kb, "steps": run.steps, "bytes_in": run.bytes_in, "bytes_out": run.bytes_out}
    return found


_levels: dict[logging.Handler, int] = {}
"""Who listens at present, each with the level that the operator asked for: the last one puts it back."""


@contextmanager
def _listening() -> Iterator[list[Mapping[str, Any]]]:
    """The fields of the service's log lines while the block runs, whatever the level that the operator asked for."""
    heard: list[Mapping[str, Any]] = []

    class _Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(getattr(record, "fields", {}))

    ear = _Ear()
    _levels[ear] = LOGGER.level if not _levels else next(iter(_levels.values()))
    LOGGER.addHandler(ear)
    if not LOGGER.isEnabledFor(logging.INFO):
        LOGGER.setLevel(logging.INFO)
    try:
        yield heard
    finally:
        LOGGER.removeHandler(ear)
        level = _levels.pop(ear)
        if not _levels:
            LOGGER.setLevel(level)
