"""Somebody else writes a record between a run's reading it and its writing it.

Each record of the world carries a mark of its own that is nothing to the tool. It is changed once the run has read the record and is about
to write it; if the record then holds the mark as it was read, the tool has put back what it knew over what was written meanwhile.

It refuses to be: strict about who may write whole records. A tool that makes a body of its own, without what it read, loses nothing so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.records.writing import store_many
from app.spec.model import Example
from app.verification import repository
from app.verification.clean import Clean
from app.verification.findings import Finding
from app.verification.schedules import Schedule, rewritten
from app.verification.stage import Interruption, Played, Stage, in_world, staged
from app.verification.subject import Bench, Subject
from app.verification.witness import Moment
from app.verification.wording import found

_MARK = "kept_by_another"
_BEFORE, _AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class Meddled:
    """The run, which records somebody else has written, and what they hold in the end."""

    schedule: Schedule
    clean: Clean
    played: Played
    written: frozenset[tuple[str, str]]
    records: Mapping[tuple[str, str], Any]


async def run_meddled(subject: Subject, bench: Bench, clean: Clean, schedule: Schedule) -> Meddled:
    """One call in a marked world."""
    program, example, written = subject.program(), _marked(clean.example), set[tuple[str, str]]()
    async with staged(bench, example, subject.caller, program) as stage:

        def about_to(moment: Moment) -> list[tuple[str, str]]:
            asked = [act for act in moment.acts if schedule.target is not None and act.effect == schedule.target[0]]
            return rewritten(subject.spec, stage.witness.heard[-1], asked) if moment.what == "asks" else []

        def write(moment: Moment) -> None:
            written.update(about_to(moment))
            _write(stage, written)

        stage.interruptions.append(Interruption(write, lambda moment: bool(about_to(moment))))
        played = await stage.play(program, example.args)
        return Meddled(schedule, clean, played, frozenset(written), await asyncio.to_thread(stage.records))


def judge_meddled(seen: Meddled) -> list[Finding]:
    """The first record in which what somebody else wrote is lost."""
    return list(_overwritten(seen))[:1]


def _overwritten(seen: Meddled) -> Iterator[Finding]:
    for collection, key in sorted(seen.written):
        body = seen.records.get((collection, key))
        if isinstance(body, Mapping) and body.get(_MARK) == _before(collection, key):
            message = f"A run {seen.schedule} puts back what it had read: what was written to {key!r} in {collection!r} meanwhile is lost."
            yield found(seen.clean.example, "overwrites_what_it_read", message, {_MARK: _AFTER}, {_MARK: body[_MARK]})


def _marked(example: Example) -> Example:
    records = {
        collection: tuple(record.model_copy(update={"body": {**record.body, _MARK: _before(collection, record.key)}}) for record in held)
        for collection, held in example.world.records.items()
    }
    return in_world(example, records=records)


def _before(collection: str, key: str) -> str:
    """The mark of one record alone: what is put into another one is no copy of what that held."""
    return f"{_BEFORE} {collection}/{key}"


def _write(stage: Stage, which: set[tuple[str, str]]) -> None:
    with stage.database.writing() as session:
        held = repository.records(session)
        for collection, key in sorted(which):
            store_many(session, stage.actor.tenant, collection, {key: {**held[collection, key], _MARK: _AFTER}})
