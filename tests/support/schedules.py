"""Schedules played one by one, so that a test sees which kind of them finds a defect."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from app.verification.clean import judge_clean, run_clean, run_twice
from app.verification.disturbed import judge_disturbed, run_disturbed
from app.verification.findings import Finding
from app.verification.meddled import judge_meddled, run_meddled
from app.verification.schedules import Kind, Schedule, list_schedules
from app.verification.subject import Bench, Subject
from app.verification.variations import judge_varied, run_varied
from tests.support.bench import Lab

VARIED = ("twins", "permuted", "duplicated", "one_by_one")
Found = dict[str, list[Finding]]


def by_kind(lab: Lab, candidate: Subject, scratch: Path, kinds: Sequence[Kind] | None = None) -> Found:
    """What each kind of schedule finds in the first example; `clean` is what its undisturbed runs show. Only kinds that found something."""
    return lab.runner.run(_by_kind(candidate, lab.bench(scratch), kinds))


async def _by_kind(candidate: Subject, bench: Bench, kinds: Sequence[Kind] | None) -> Found:
    clean = await run_clean(candidate, bench, candidate.spec.examples[0])
    findings, clean = await run_twice(candidate, bench, clean)
    found: Found = {"clean": [*judge_clean(clean), *findings]}
    listed = list_schedules(candidate.spec, [clean], lambda _args: True, "seed").all
    wanted = [schedule for schedule in listed if kinds is None or schedule.kind in kinds]
    turn = asyncio.Semaphore(4)

    async def one(schedule: Schedule) -> list[Finding]:
        async with turn:
            if schedule.kind in VARIED:
                return judge_varied(candidate.spec, await run_varied(candidate, bench, clean, schedule))
            if schedule.kind == "meddled":
                return judge_meddled(await run_meddled(candidate, bench, clean, schedule))
            return judge_disturbed(candidate.spec, await run_disturbed(candidate, bench, clean, schedule))

    for schedule, findings in zip(wanted, await asyncio.gather(*map(one, wanted)), strict=True):
        found.setdefault(schedule.kind, []).extend(findings)
    return {kind: findings for kind, findings in found.items() if findings}


def told(found: Found) -> dict[str, set[str]]:
    """The rules by kind."""
    return {kind: {finding.rule for finding in findings} for kind, findings in found.items()}
