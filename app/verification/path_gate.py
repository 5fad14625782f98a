"""The gate "path": one call through the published path, and what can be seen of it afterwards.

Time, memory and steps are measured; one finished run row, the run's span and the tool's lines in the log with run, version, actor and
trace id and without personal data, progress, and the audit events must be there: what is missing is red.

It refuses to be: a benchmark. It runs on whatever machine verifies, beside other work.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from app.observability.logs import LOGGER
from app.observability.traces import tracing
from app.runtime.journal import encode
from app.runtime.models import Run
from app.spec.model import Example, ExecutionSpec
from app.verification import repository
from app.verification.findings import Finding, GateOutcome
from app.verification.stage import Played, Stage, staged
from app.verification.subject import Bench, Subject

_PERSONAL_FIELD = re.compile(
    r"(?:^|_)(?:name|first|last|surname|e?mail|phone|mobile|address|street|city|zip|iban|card|birth\w*|ssn|tax\w*)(?:$|_)"
)
_PERSONAL_VALUE = re.compile(r"^[^\s@]+@[^\s@]+\.[^\s@]+$|^\+?[0-9][0-9 ()./-]{6,}$")
_NAMES = ("run_id", "version", "actor", "trace_id")
_MEND_LOG = "Log counts, ids and codes: ctx.log(event, sent=3). Addresses and names belong into the ledger and the result's samples."
_EXPLAIN = {
    "run_row": "The run left no finished row with version, actor, trace id, steps, memory and CPU time.",
    "run_span": "The run has not exactly one finished span with run, version, actor and trace id in the log.",
    "log_names": "A log line of the tool lacks run, version, actor or trace id.",
    "log_private": "The tool logs personal data of the example.",
    "journal": "The tool made calls of the host that are not in its journal.",
    "audit": "The audit trail lacks the start or the end of the run, or its actor or trace id.",
}


async def check_path(subject: Subject, bench: Bench, _seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """`observed` maps each thing that must be seen to whether it was; the rest are measurements."""
    example = _busiest(subject.spec)
    if example is None:
        message = "No example ends with a result, so the published path cannot be walked."
        return GateOutcome([Finding("no_successful_example", message, "Add an example with a result.", file="spec.json")])
    async with staged(bench, subject.program(), example, subject.caller) as stage:
        with _listening() as records, tracing() as trace:
            began = time.monotonic()
            played = await stage.play(example.args)
            wall_ms = round((time.monotonic() - began) * 1000)
        lines = [fields for fields in records if fields.get("run_id") == played.run_id]
        observed, run = await asyncio.to_thread(_observe, stage, example, played, trace, lines)
    findings = [_missing(name, example) for name, seen in observed.items() if not seen]
    if played.state != "completed":
        said = str((played.error or {}).get("message", played.state))[:300]
        findings.append(Finding("path_failed", f"The call ended {played.state!r}: {said}.", "Make the example pass first.", file="tool.py"))
    return GateOutcome(findings, {"observed": observed, **_measured(run, played, wall_ms), "example": example.name})


def _busiest(spec: ExecutionSpec) -> Example | None:
    """The author's example with a result that performs most; held-out ones stay out of evidence."""
    fit = [example for example in spec.examples if example.result is not None and example.visibility == "author"]
    return max(fit, key=lambda example: len(example.effects), default=None)


def _observe(
    stage: Stage, example: Example, played: Played, trace: str, lines: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, bool], Run | None]:
    with stage.database.reading() as session:
        run = repository.run(session, played.run_id)
        said = repository.log_lines(session, played.run_id)
        events = {event.action: event for event in repository.audit_events(session) if event.target == played.run_id}
        journaled = repository.journaled(session, played.run_id)
    spans = [line for line in lines if "state" in line]
    told = [line for line in lines if "said" in line]
    asked = len(played.heard.reads) + len({act.effect for act in played.heard.acts})
    private = personal_values(example)
    texts = [encode([line.event, line.fields]) for line in said]
    return {
        "run_row": run is not None and run.finished_at is not None and run.trace_id == trace and bool(run.actor and run.rss_kb),
        "run_span": len(spans) == 1 and all(spans[0].get(name) for name in _NAMES),
        "log_names": len(told) == len(said) and all(line.get(name) for line in told for name in _NAMES),
        "log_private": not any(value in text for value in private for text in texts),
        "journal": journaled >= (1 if asked else 0),
        "audit": all(_is_whole(events.get(action), stage.actor.id, trace) for action in ("run.started", "run.completed")),
    }, run


def personal_values(example: Example) -> set[str]:
    """Texts of the example's world and arguments that tell of a person: addresses, numbers, and fields that are named for such."""
    found: set[str] = set()
    for records in example.world.records.values():
        for record in records:
            found.update(_personal(record.body, ""))
    found.update(_personal(example.args, ""))
    return {encode(value)[1:-1] for value in found}


def _personal(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _personal(part, str(key).lower())
    elif isinstance(value, list):
        for part in value:
            yield from _personal(part, name)
    elif isinstance(value, str) and len(value) >= 4 and (_PERSONAL_VALUE.match(value) or _PERSONAL_FIELD.search(name)):
        yield value


def _is_whole(event: Any, actor: str, trace: str) -> bool:
    return event is not None and event.actor == actor and event.trace_id == trace


def _missing(name: str, example: Example) -> Finding:
    fix = _MEND_LOG if name == "log_private" else "Report this: the platform must leave it."
    return Finding(f"path_{name}", _EXPLAIN[name], fix, file="tool.py" if name == "log_private" else None, input={"example": example.name})


def _measured(run: Run | None, played: Played, wall_ms: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "wall_ms": wall_ms,
        "items": len(played.done),
        "log_lines": len(played.heard.logs),
        "progress": played.heard.progress,
    }
    if run is not None:
        found |= {"cpu_ms": run.cpu_ms, "rss_kb": run.rss_kb, "steps": run.steps, "bytes_in": run.bytes_in, "bytes_out": run.bytes_out}
    return found


@contextmanager
def _listening() -> Iterator[list[Mapping[str, Any]]]:
    """The fields of the service's log lines while the block runs, whatever the level that the operator asked for."""
    heard: list[Mapping[str, Any]] = []

    class _Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(getattr(record, "fields", {}))

    ear, level = _Ear(), LOGGER.level
    LOGGER.addHandler(ear)
    if not LOGGER.isEnabledFor(logging.INFO):
        LOGGER.setLevel(logging.INFO)
    try:
        yield heard
    finally:
        LOGGER.removeHandler(ear)
        LOGGER.setLevel(level)
