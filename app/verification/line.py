"""The line of gates: cheapest first, independent ones side by side, ended by the first red one unless a full report is asked for.

Gates stand in waves: a gate's wave is one more than the latest wave that it needs. A wave is always finished, so that a report does not
depend on which of two gates was faster.

It refuses to be: forgiving. A gate that breaks breaks the verification (GateBroke); only an outcome without errors is a pass.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.errors import Failed
from app.verification.findings import Finding, GateOutcome, GateResult
from app.verification.subject import Bench, Subject

Check = Callable[[Subject, Bench, Mapping[str, Mapping[str, Any]]], Awaitable[GateOutcome]]
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: its name in reports, the gates that it builds on, its check, and the wall time in seconds that it may take.

    The check gets the candidate, the bench and the evidence of every gate that has passed.
    """

    name: str
    needs: tuple[str, ...]
    check: Check
    limit_s: float = 60.0


class GateBroke(Failed):
    """A gate itself failed: nothing is known of the candidate, so it is neither passed nor refused."""

    title = "A check broke"

    def __init__(self, gate: str, error: Exception) -> None:
        super().__init__(
            "gate_broke", f"The gate {gate} broke: {type(error).__name__}: {error}"[:600], fix="Verify again; report it if it stays."
        )
        self.gate = gate


@dataclass(frozen=True, slots=True)
class Watcher:
    """Told as gates start and finish, to keep progress where others can see it and results where a successor finds them."""

    started: Callable[[str], Awaitable[None]]
    finished: Callable[[GateResult], Awaitable[None]]


async def _nothing(_about: object) -> None:
    return None


SILENT = Watcher(_nothing, _nothing)


def waves(gates: Sequence[Gate]) -> list[list[Gate]]:
    """The gates by wave, each in table order. Raises ValueError for a need that does not stand earlier in the table."""
    wave_of: dict[str, int] = {}
    for gate in gates:
        if unknown := [name for name in gate.needs if name not in wave_of]:
            raise ValueError(f"gate {gate.name} needs {unknown}, which do not stand before it")
        wave_of[gate.name] = 1 + max((wave_of[name] for name in gate.needs), default=-1)
    return [[gate for gate in gates if wave_of[gate.name] == wave] for wave in range(max(wave_of.values(), default=-1) + 1)]


async def run_line(
    gates: Sequence[Gate],
    subject: Subject,
    bench: Bench,
    *,
    full_report: bool = False,
    watcher: Watcher = SILENT,
) -> list[GateResult]:
    """The result of every gate, in table order. Raises GateBroke. Cancelling it ends the gates that run."""
    results: dict[str, GateResult] = {}
    turn = asyncio.Semaphore(AT_ONCE)
    for wave in waves(gates):
        red = any(result.status != "passed" for result in results.values())
        ready = [gate for gate in wave if _may_run(gate, results, red and not full_report)]
        for gate in wave:
            if gate not in ready:
                results[gate.name] = GateResult(gate.name, "skipped")
                await watcher.finished(results[gate.name])
        results.update(await _run_wave(ready, subject, bench, results, turn, watcher))
    return [results[gate.name] for gate in gates]


def _may_run(gate: Gate, results: Mapping[str, GateResult], stopped: bool) -> bool:
    return not stopped and all(results[name].status == "passed" for name in gate.needs)


async def _run_wave(
    ready: Sequence[Gate],
    subject: Subject,
    bench: Bench,
    results: Mapping[str, GateResult],
    turn: asyncio.Semaphore,
    watcher: Watcher,
) -> dict[str, GateResult]:
    seen = {name: result.evidence for name, result in results.items() if result.status == "passed"}

    async def one(gate: Gate) -> GateResult:
        async with turn:
            await watcher.started(gate.name)
            result = await _run_gate(gate, subject, bench, seen)
            await watcher.finished(result)
            return result

    tasks = [asyncio.create_task(one(gate), name=f"gate {gate.name}") for gate in ready]
    try:
        return {result.gate: result for result in await asyncio.gather(*tasks)}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_gate(gate: Gate, subject: Subject, bench: Bench, seen: Mapping[str, Mapping[str, Any]]) -> GateResult:
    began = time.monotonic()
    try:
        async with asyncio.timeout(gate.limit_s) as limit:
            outcome = await gate.check(subject, bench, seen)
    except TimeoutError as error:
        if not limit.expired():
            raise GateBroke(gate.name, error) from error
        message = f"The gate {gate.name} did not finish within {gate.limit_s:g} s on this candidate."
        outcome = GateOutcome([Finding("time_limit", message, "Look for a loop that does not end, or do less in the spec's examples.")])
    except Exception as error:  # of any kind: it is told as an error of this verification and never counts as a pass
        raise GateBroke(gate.name, error) from error
    return GateResult.of(gate.name, outcome, round((time.monotonic() - began) * 1000))
