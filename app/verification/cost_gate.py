"""The gate "cost": a measured run, and what writing the code cost, against doing the same by prompting at the declared volume.

The measured time is wall time of a call on the machine that verifies, its own guest and host included, scaled to the declared items: more
than a run will take, never less. It refuses to be: a benchmark, or generous: an unknown price is no evidence.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from app.economics.baseline import Economics, compare
from app.spec.model import ExecutionSpec
from app.verification.findings import Finding, GateOutcome
from app.verification.subject import Bench, Subject

MONTHS = 12
_CHEAPER = "Read and perform in bulk (read_pages, perform_each), or correct the declared volume and baseline in the spec."


async def check_cost(subject: Subject, bench: Bench, seen: Mapping[str, Mapping[str, Any]]) -> GateOutcome:
    """`saving` is the share of the baseline's cost that is saved in a year at the declared volume, writing the code included, 0 to 1;
    absent where the baseline is not known.
    """
    path = seen["path"]
    measured_ms = max(path["wall_ms"], path.get("cpu_ms", 0))
    found = await asyncio.to_thread(
        compare,
        subject.spec,
        cpu_ms=measured_ms,
        generation_usd=subject.generation_usd,
        default_model=bench.model,
        measured_items=path["items"] or None,
    )
    runs = subject.spec.volume.runs_per_month * MONTHS
    evidence = {**found.as_dict(), "declared_runs": runs, "measured_ms": measured_ms, "measured_items": path["items"]}
    saving = saving_share(found, runs)
    return GateOutcome(list(_judge(subject.spec, found)), evidence if saving is None else {**evidence, "saving": saving})


def saving_share(found: Economics, runs: int) -> float | None:
    """How much of the baseline's cost so many runs save, once what writing the code cost is paid; None where that is not known."""
    if found.baseline_run_usd is None:
        return None
    if found.baseline_run_usd == 0:
        return 0.0
    spent = found.run_usd + (found.generation_usd or Decimal(0)) / runs
    return round(float(max(Decimal(0), 1 - spent / found.baseline_run_usd)), 4)


def _judge(spec: ExecutionSpec, found: Economics) -> Iterator[Finding]:
    if found.baseline_run_usd is None:
        message = f"What a call of {found.model} costs is not known, so nothing can be compared."
        yield Finding("baseline_unknown", message, "Name a model with a known price in baseline.model.", file="spec.json")
        return
    if found.saving_per_run_usd is None or found.saving_per_run_usd <= 0:
        message = f"A run costs {found.run_usd:.6f} USD; by prompting it costs {found.baseline_run_usd:.6f} USD."
        yield Finding("costs_more", message, _CHEAPER, file="spec.json", expected=str(found.baseline_run_usd), got=str(found.run_usd))
        return
    runs = spec.volume.runs_per_month * MONTHS
    if found.break_even_runs is not None and found.break_even_runs > runs:
        message = (
            f"Writing it cost {found.generation_usd:.2f} USD and a run saves {found.saving_per_run_usd:.6f} USD: it pays off after "
            f"{found.break_even_runs} runs, and the spec declares {runs} in {MONTHS} months."
        )
        monthly = math.ceil(found.break_even_runs / MONTHS)
        fix = f"Declare at least {monthly} as volume.runs_per_month where so many are to be expected; else leave the task to prompting."
        yield Finding("below_break_even", message, fix, file="spec.json", expected=found.break_even_runs, got=runs)
