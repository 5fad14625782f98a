"""The line runs gates in waves, stops at red, and never takes a broken gate for a pass."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from app.verification.findings import Finding, GateOutcome, GateResult
from app.verification.line import Gate, GateBroke, Watcher, run_line, waves
from app.verification.subject import Bench, Subject

SUBJECT = cast("Subject", None)  # these gates look at nothing
BENCH = Bench(cast("Any", None), cast("Any", None), Path(), Path())
RED = GateOutcome([Finding("wrong", "It is wrong.", "Mend it.")])


def gate(name: str, *needs: str, outcome: GateOutcome | Exception | None = None, seen: list[Any] | None = None) -> Gate:
    async def check(_subject: Subject, _bench: Bench, evidence: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
        if seen is not None:
            seen.append((name, dict(evidence)))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome or GateOutcome(evidence={"by": name})

    return Gate(name, needs, check)


def line(gates: Sequence[Gate], **options: Any) -> dict[str, str]:
    return {result.gate: result.status for result in asyncio.run(run_line(gates, SUBJECT, BENCH, **options))}


def test_waves_follow_from_needs() -> None:
    table = [gate("a"), gate("b", "a"), gate("c", "a"), gate("d", "b", "c"), gate("e")]
    assert [[each.name for each in wave] for wave in waves(table)] == [["a", "e"], ["b", "c"], ["d"]]
    with pytest.raises(ValueError, match="do not stand before"):
        waves([gate("a", "b"), gate("b")])


def test_a_red_gate_finishes_its_wave_and_stops_the_line() -> None:
    table = [gate("a"), gate("b", "a", outcome=RED), gate("c", "a"), gate("d", "c")]
    assert line(table) == {"a": "passed", "b": "failed", "c": "passed", "d": "skipped"}


def test_a_full_report_goes_on_except_where_a_need_is_red() -> None:
    table = [gate("a"), gate("b", "a", outcome=RED), gate("c", "a"), gate("d", "c"), gate("e", "b")]
    assert line(table, full_report=True) == {"a": "passed", "b": "failed", "c": "passed", "d": "passed", "e": "skipped"}


def test_a_warning_alone_does_not_fail_a_gate() -> None:
    warned = GateOutcome([Finding("odd", "It is odd.", "Look at it.", severity="warning")])
    assert line([gate("a", outcome=warned)]) == {"a": "passed"}


def test_a_broken_gate_is_an_error_and_no_result() -> None:
    with pytest.raises(GateBroke, match="gate a broke: KeyError"):
        line([gate("a", outcome=KeyError("x"))])


def test_a_gate_over_its_time_is_red() -> None:
    async def never(*_: object) -> GateOutcome:
        await asyncio.Event().wait()
        return GateOutcome()

    (result,) = asyncio.run(run_line([Gate("slow", (), never, limit_s=0.05)], SUBJECT, BENCH))
    assert result.status == "failed" and result.findings[0].rule == "time_limit"


def test_gates_see_the_evidence_of_those_that_passed_only() -> None:
    seen: list[Any] = []
    table = [gate("a", seen=seen), gate("b", outcome=RED), gate("c", "a", seen=seen)]
    line(table, full_report=True)
    assert seen == [("a", {}), ("c", {"a": {"by": "a"}})]


def test_watchers_hear_of_each_start_and_end_and_of_the_skipped() -> None:
    heard: list[str] = []

    async def started(name: str) -> None:
        heard.append(f"{name} started")

    async def finished(result: GateResult) -> None:
        heard.append(f"{result.gate} {result.status}")

    line([gate("a", outcome=RED), gate("b", "a")], watcher=Watcher(started, finished))
    assert heard == ["a started", "a failed", "b skipped"]


def test_cancelling_the_line_ends_the_gates_that_run() -> None:
    ended: list[str] = []

    async def cancelled() -> None:
        begun = asyncio.Event()

        async def long(*_: object) -> GateOutcome:
            try:
                begun.set()
                await asyncio.Event().wait()
            finally:
                ended.append("ended")
            return GateOutcome()

        task = asyncio.create_task(run_line([Gate("long", (), long)], SUBJECT, BENCH))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert ended == ["ended"]
