"""The line of gates: each starts once what it needs has passed and a slot is free, the one with the longest way behind it first.

A gate's depth is one more than that of the deepest gate that it needs. The line is ended by red: unless a full report is asked for, no
gate counts that lies deeper than the shallowest red one. Gates of its depth and above are finished all the same, and a deeper one that
ran ahead is told as skipped, whatever it said. So a report holds the same gates whichever was faster. In a full report only those are
skipped whose needs have not passed.

It refuses to be: forgiving. A gate that breaks breaks the verification (GateBroke); only an outcome without errors is a pass.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core.errors import Failed
from app.verification.findings import Finding, GateOutcome, GateResult
from app.verification.keeping import FORGETFUL, Keeper, key_of
from app.verification.subject import PARTS, Bench, Subject

Evidence = Mapping[str, Mapping[str, Any]]
Check = Callable[[Subject, Bench, Evidence], Awaitable[GateOutcome]]
AT_ONCE = max(2, len(os.sched_getaffinity(0)))
"""Gates under way at once: what they do is mostly other processes' work."""
LOOK_S = 0.5
"""How often it is asked whether the machine still has to be spared."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: its name in reports, the gates that it builds on, its check, and the wall time in seconds that it may take.

    The check is handed the parts of the candidate that stand in `of` (the spec always) and the evidence of the gates in `reads`, and so
    depends on nothing else. `takes` is about how long it is at work compared with others. `ahead`: it may begin as soon as what it needs
    may, since it works with none of that; it still counts only where all of that passes. `facts_of`: the parts that its facts depend on;
    those of the last candidate of the same that passed are handed to it among the evidence, under its own name.
    """

    name: str
    needs: tuple[str, ...]
    check: Check
    limit_s: float = 60.0
    of: frozenset[str] = PARTS
    reads: tuple[str, ...] = ()
    takes: float = 1.0
    ahead: bool = False
    facts_of: frozenset[str] | None = None


class GateBroke(Failed):
    """A gate itself failed: nothing is known of the candidate, so it is neither passed nor refused."""

    title = "A check broke"

    def __init__(self, gate: str, error: BaseException) -> None:
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        super().__init__("gate_broke", f"The gate {gate} broke: {said}"[:600], fix="Verify again; report it if it stays.")
        self.gate = gate


@dataclass(frozen=True, slots=True)
class Watcher:
    """Told as gates start and finish, to keep progress where others can see it. A result may be told again, as skipped."""

    started: Callable[[str], Awaitable[None]]
    finished: Callable[[GateResult], Awaitable[None]]


async def _nothing(_about: object) -> None:
    return None


SILENT = Watcher(_nothing, _nothing)


def depths(gates: Sequence[Gate]) -> dict[str, int]:
    """How deep each gate lies. Raises ValueError for a need, or a gate whose evidence is read, that does not stand earlier."""
    found: dict[str, int] = {}
    for gate in gates:
        if unknown := [name for name in gate.needs if name not in found] + [name for name in gate.reads if name not in gate.needs]:
            raise ValueError(f"gate {gate.name} needs {unknown}, which do not stand before it")
        found[gate.name] = 1 + max((found[name] for name in gate.needs), default=-1)
    return found


def by_urgency(gates: Sequence[Gate]) -> list[Gate]:
    """Those with the longest way behind them first: their own time and that of the longest chain of gates that waits for them."""
    way: dict[str, float] = {}
    for gate in reversed(gates):
        way[gate.name] = gate.takes + max((way[other.name] for other in gates if gate.name in other.needs), default=0.0)
    return sorted(gates, key=lambda gate: -way[gate.name])


async def run_line(
    gates: Sequence[Gate],
    subject: Subject,
    bench: Bench,
    *,
    full_report: bool = False,
    watcher: Watcher = SILENT,
    keeper: Keeper = FORGETFUL,
    at_once: int = AT_ONCE,
) -> list[GateResult]:
    """The result of every gate, in table order. Raises GateBroke. Cancelling it ends the gates that run."""
    line = _Line(gates, subject, bench, full_report, watcher, keeper)
    try:
        await line.run(at_once)
    finally:
        await line.end(gate.name for gate in gates)
    for gate in gates:
        if gate.name in line.broken and line.depth[gate.name] <= line.bottom:
            raise line.broken[gate.name]
    return [line.results[gate.name] for gate in gates]


@dataclass
class _Line:
    """One walk along the line: what is known so far, and what is under way."""

    gates: Sequence[Gate]
    subject: Subject
    bench: Bench
    full_report: bool
    watcher: Watcher
    keeper: Keeper
    results: dict[str, GateResult] = field(default_factory=dict)
    broken: dict[str, GateBroke] = field(default_factory=dict)
    running: dict[str, asyncio.Task[GateResult]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.depth = depths(self.gates)
        self.waiting = by_urgency(self.gates)

    @property
    def bottom(self) -> float:
        """The depth below which nothing counts. A gate that broke ahead of what it needs ends nothing before that has passed."""
        red = [name for name, result in self.results.items() if result.status == "failed" and not self.full_report]
        broken = [gate.name for gate in self.gates if gate.name in self.broken and self._passed.issuperset(gate.needs)]
        return min((self.depth[name] for name in (*red, *broken)), default=math.inf)

    @property
    def _passed(self) -> set[str]:
        return {name for name, result in self.results.items() if result.status == "passed"}

    async def run(self, at_once: int) -> None:
        """Until every gate is decided. While the bench is sparing, none begins beside another."""
        while True:
            await self._leave_out()
            spared = await self.bench.sparing()
            self._start(1 if spared else at_once)
            if not self.running:
                return
            look_again = LOOK_S if spared else None
            ended, _ = await asyncio.wait(self.running.values(), timeout=look_again, return_when=asyncio.FIRST_COMPLETED)
            for name in [name for name, task in self.running.items() if task in ended]:
                try:
                    self.results[name] = self.running.pop(name).result()
                except GateBroke as error:
                    self.broken[name] = error

    async def end(self, names: Iterable[str]) -> None:
        """End those of these gates that run, and wait for their ends."""
        tasks = [self.running.pop(name) for name in names if name in self.running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _leave_out(self) -> None:
        """Skip what cannot count any more."""
        bottom = self.bottom
        for gate in self.gates:
            known = self.results.get(gate.name)
            needless = any(name in self.results and self.results[name].status != "passed" for name in gate.needs)
            if (self.depth[gate.name] > bottom or needless) and (known is None or known.status != "skipped"):
                await self.end([gate.name])
                self.broken.pop(gate.name, None)
                self.results[gate.name] = GateResult(gate.name, "skipped")
                await self.watcher.finished(self.results[gate.name])
        self.waiting = [gate for gate in self.waiting if gate.name not in self.results]

    def _start(self, at_once: int) -> None:
        """Fill the free slots."""
        passed = self._passed
        ready = [gate for gate in self.waiting if passed.issuperset(self._awaits(gate))]
        for gate in ready[: max(0, at_once - len(self.running))]:
            self.waiting.remove(gate)
            self.running[gate.name] = asyncio.create_task(self._one(gate), name=f"gate {gate.name}")

    def _awaits(self, gate: Gate) -> Iterable[str]:
        """What must have passed before it begins."""
        return {name for need in self.gates if need.name in gate.needs for name in need.needs} if gate.ahead else gate.needs

    async def _one(self, gate: Gate) -> GateResult:
        subject = self.subject.only(gate.of)
        seen = {name: self.results[name].evidence for name in gate.reads}
        key = key_of(gate.name, subject, self.bench, seen)
        result = await self.keeper.find(key)
        if result is None:
            await self.watcher.started(gate.name)
            result = await self._anew(gate, subject, seen)
            await self.keeper.keep(key, result)
        await self.watcher.finished(result)
        return result

    async def _anew(self, gate: Gate, subject: Subject, seen: Evidence) -> GateResult:
        began = time.monotonic()
        if gate.facts_of is None:
            outcome = await _outcome(gate, subject, self.bench, seen)
        else:
            key = key_of(f"facts of {gate.name}", subject.only(gate.facts_of), self.bench, {})
            former = await self.keeper.recall(key)
            outcome = await _outcome(gate, subject, self.bench, {**seen, gate.name: former} if former else seen)
            if outcome.passed and outcome.facts:
                await self.keeper.remember(key, gate.name, outcome.facts)
        return GateResult.of(gate.name, outcome, round((time.monotonic() - began) * 1000))


async def _outcome(gate: Gate, subject: Subject, bench: Bench, seen: Evidence) -> GateOutcome:
    try:
        async with asyncio.timeout(gate.limit_s * bench.patience) as limit:
            return await gate.check(subject, bench, seen)
    except TimeoutError as error:
        if not limit.expired():
            raise GateBroke(gate.name, error) from error
        message = f"The gate {gate.name} did not finish within {gate.limit_s:g} s on this candidate."
        return GateOutcome([Finding("time_limit", message, "Look for a loop that does not end, or do less in the spec's examples.")])
    except BaseException as error:  # of any kind: it is told as an error of this verification and never counts as a pass
        if _ends_us(error):
            raise
        raise GateBroke(gate.name, error) from error


def _ends_us(error: BaseException) -> bool:
    """Whether it was asked of this very task, or of the process, that it end; a crash that is played for a candidate is neither."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
