"""Schedules played one by one, so that a test sees which kind of them finds a defect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.verification.effects_gate import examine, play_schedule
from app.verification.findings import Finding
from app.verification.schedules import Kind, list_schedules
from app.verification.subject import Bench, Subject
from app.verification.together import together
from tests.support.bench import Lab

Found = dict[str, list[Finding]]


def by_kind(lab: Lab, candidate: Subject, scratch: Path, kinds: Sequence[Kind] | None = None) -> Found:
    """What each kind of schedule finds in the first example; `clean` is what its undisturbed runs show. Only kinds that found something."""
    return lab.runner.run(_by_kind(candidate, lab.bench(scratch), kinds))


async def _by_kind(candidate: Subject, bench: Bench, kinds: Sequence[Kind] | None) -> Found:
    examined = await examine(candidate, bench, candidate.spec.examples[0])
    found: Found = {"clean": [*examined.findings]}
    clean = examined.clean
    assert clean is not None
    listed = list_schedules(candidate.spec, [clean], lambda _args: True, "seed").all
    wanted = [schedule for schedule in listed if kinds is None or schedule.kind in kinds]
    seen = await together(lambda schedule: play_schedule(candidate, bench, clean, schedule), wanted)
    for schedule, one in zip(wanted, seen, strict=True):
        found.setdefault(schedule.kind, []).extend(one.findings)
    return {kind: findings for kind, findings in found.items() if findings}


def told(found: Found) -> dict[str, set[str]]:
    """The rules by kind."""
    return {kind: {finding.rule for finding in findings} for kind, findings in found.items()}
