"""What a process that is gone had begun: what has not left is planned again, what was answered is known, and only the rest is unknown."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from app.core import owners
from app.core.db import Database
from app.runtime import views
from app.runtime.departures import Departures, closed, forget
from app.runtime.models import Effect
from app.runtime.process import Call
from app.runtime.recovery import sweep
from app.runtime.repository.effects import Claim, Move
from app.sandbox.sandbox import Sandbox
from tests.integration.runtime.test_holders import Gate, counted, gated
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, silence, world

pytestmark = pytest.mark.anyio
TO = [f"u{number}@example.org" for number in range(20)]
EIGHT = Gate.concurrency
CLAIM = Claim("e" * 64, "own_1", 3)
DONE = Move(CLAIM, "performing", "done", 1, json.dumps({"code": 250}))


async def begun(w: World) -> tuple[str, asyncio.Task[Any], Gate]:
    """A run of this process with eight effects in flight, its heart stopped, its lease not yet over by its own clock."""
    connectors, gate = gated(w.connectors)
    w.runtime.engine.connectors = w.runtime.connectors = connectors
    run, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": TO}))
    assert execution is not None
    driving = asyncio.create_task(w.runtime.drive(execution))
    performing = min(len(TO), EIGHT * w.runtime.engine.places.ahead)
    await until(lambda: len(gate.asked) == EIGHT and counted(w.database).get("performing") == performing, what="all places are taken")
    await silence(w.runtime)
    return run.run_id, driving, gate


async def test_only_what_has_left_a_process_is_unknown_when_it_is_given_up_and_nothing_leaves_it_any_more(
    database: Database, sandbox: Sandbox
) -> None:
    async with world(database, sandbox) as w:
        run_id, driving, gate = await begun(w)
        owners.void(database, owner=w.runtime.owner)
        assert sweep(database) == [run_id]
        assert counted(database) == {"unknown": EIGHT, "planned": len(TO) - EIGHT}
        gate.open.set()  # the process that was given up goes on, and its lease still seems to be good
        assert (await driving).state == "lost"
        assert len(w.sent()) == EIGHT and counted(database) == {"unknown": EIGHT, "planned": len(TO) - EIGHT}
        await w.boot()
        await w.runtime.execute(run_id)
        assert counted(database) == {"unknown": EIGHT, "done": len(TO) - EIGHT}
        assert sorted(w.sent()) == sorted(TO)


async def test_a_process_that_was_given_up_while_it_lives_leaves_its_run_to_others_and_takes_another_name(
    sqlite_database: Database, sandbox: Sandbox
) -> None:
    async with world(sqlite_database, sandbox) as w:
        connectors, gate = gated(w.connectors)
        w.runtime.engine.connectors = w.runtime.connectors = connectors
        _, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": TO}))
        assert execution is not None
        before, driving = w.runtime.owner, asyncio.create_task(w.runtime.drive(execution))
        await until(lambda: len(gate.asked) == EIGHT)
        assert closed(sqlite_database, before) is not None  # by somebody whose clock is an hour ahead, and whose transaction failed then
        gate.open.set()
        assert (await driving).state == "lost"
        assert len(w.sent()) == EIGHT and counted(sqlite_database)["done"] == EIGHT
        await until(lambda: w.runtime.owner != before, what="it has another name")


async def test_what_was_begun_and_never_left_has_used_no_attempt(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        _, driving, gate = await begun(w)
        owners.void(database, owner=w.runtime.owner)
        sweep(database)
        with database.reading() as session:
            found = session.exec(select(Effect.state, Effect.attempts)).all()
        assert Counter(map(tuple, found)) == {("unknown", 1): EIGHT, ("planned", 0): len(TO) - EIGHT}
        gate.open.set()
        await driving


async def test_what_was_answered_before_its_process_died_is_known_though_nothing_was_committed(
    sqlite_database: Database, sandbox: Sandbox
) -> None:
    async with world(sqlite_database, sandbox) as w:
        _, driving, gate = await begun(w)
        answered, refused, *_ = [request.effect_id for request in gate.asked]
        claims = {effect_id: Claim(effect_id, w.runtime.owner, 1) for effect_id in (answered, refused)}
        departures = w.runtime.engine.departures
        assert departures.answered(Move(claims[answered], "performing", "done", 1, json.dumps({"message": "250 ok"})))
        assert departures.answered(
            Move(claims[refused], "performing", "failed", 1, None, "no", json.dumps({"code": "no", "message": "550"}))
        )
        owners.void(sqlite_database, owner=w.runtime.owner)
        sweep(sqlite_database)
        assert counted(sqlite_database) == {"done": 1, "failed": 1, "unknown": EIGHT - 2, "planned": len(TO) - EIGHT}
        assert views.read_effect(CALLER, sqlite_database, answered)["receipt"] == {"message": "250 ok"}
        gate.open.set()
        assert (await driving).state == "lost"


async def test_an_effect_that_was_begun_is_given_back_when_its_run_is_to_leave(database: Database, sandbox: Sandbox) -> None:
    async with world(database, sandbox) as w:
        connectors, gate = gated(w.connectors)
        w.runtime.engine.connectors = w.runtime.connectors = connectors
        run, execution = await w.runtime.begin(CALLER, w.programs[1], Call({"group": "g", "to": TO}))
        assert execution is not None
        driving = asyncio.create_task(w.runtime.drive(execution))
        await until(lambda: len(gate.asked) == EIGHT)
        execution.stop("leave")
        gate.open.set()
        assert (await driving).state == "leave"
        assert counted(database) == {"done": EIGHT, "planned": len(TO) - EIGHT}
        await w.runtime.execute(run.run_id)
        assert counted(database) == {"done": len(TO)} and sorted(w.sent()) == sorted(TO)


@pytest.fixture
def kept(sqlite_database: Database) -> Departures:
    """Departures of owner `own_1`, noted."""
    departures = Departures(sqlite_database)
    departures.begin(CLAIM.owner)
    return departures


def test_a_note_says_what_left_and_what_it_was_answered(sqlite_database: Database, kept: Departures) -> None:
    assert kept.note(CLAIM)
    assert closed(sqlite_database, CLAIM.owner) == {CLAIM[::2]: None}
    assert kept.answered(DONE)
    assert closed(sqlite_database, CLAIM.owner) == {CLAIM[::2]: DONE}


def test_nothing_leaves_under_a_closed_file(sqlite_database: Database, kept: Departures) -> None:
    assert kept.note(CLAIM)
    assert closed(sqlite_database, CLAIM.owner) == {CLAIM[::2]: None}
    assert not kept.note(CLAIM._replace(id="f" * 64)) and not kept.open


def test_nothing_leaves_in_another_owners_name(kept: Departures) -> None:
    assert not kept.note(CLAIM._replace(owner="own_2"))
    kept.begin("own_2")
    assert not kept.note(CLAIM) and kept.note(CLAIM._replace(owner="own_2"))


def test_what_is_settled_makes_room_and_what_is_not_is_kept_however_much_there_is(sqlite_database: Database, kept: Departures) -> None:
    many = [CLAIM._replace(id=f"{number:064x}") for number in range(1000)]
    assert all(kept.note(claim) for claim in many)
    for claim in many[:500]:
        kept.settled(claim)
    assert kept.note(CLAIM)
    notes = closed(sqlite_database, CLAIM.owner)
    assert notes is not None and notes.keys() >= {claim[::2] for claim in [*many[500:], CLAIM]}


def test_an_answer_too_long_for_its_note_is_left_to_the_commit(sqlite_database: Database, kept: Departures) -> None:
    assert kept.note(CLAIM)
    assert not kept.answered(DONE._replace(receipt=json.dumps("x" * 2000)))
    assert closed(sqlite_database, CLAIM.owner) == {CLAIM[::2]: None}


def test_an_answer_that_was_cut_off_is_none(sqlite_database: Database, kept: Departures) -> None:
    assert kept.note(CLAIM) and kept.answered(DONE)
    path = file_of(sqlite_database)
    path.write_bytes(path.read_bytes().replace(b"]\n", b"\0\0"))
    assert closed(sqlite_database, CLAIM.owner) == {CLAIM[::2]: None}


def test_a_late_answer_to_an_older_claim_is_not_taken_for_that_to_the_present_one(sqlite_database: Database, kept: Departures) -> None:
    later = CLAIM._replace(fence=5)
    assert kept.note(CLAIM) and kept.note(later) and kept.answered(DONE)
    kept.settled(CLAIM)
    assert closed(sqlite_database, CLAIM.owner) == {CLAIM[::2]: DONE, later[::2]: None}
    kept.begin("own_2")
    mine = later._replace(owner="own_2")
    assert kept.note(mine) and not kept.answered(DONE)
    assert closed(sqlite_database, "own_2") == {mine[::2]: None}


@pytest.mark.parametrize("harm", [b"\xff" * 64 + b" 3", b"e" * 64 + b" 3x", b"e" * 64], ids=["no text", "no number", "half"])
def test_what_is_no_note_is_passed_over_and_the_others_are_read(sqlite_database: Database, kept: Departures, harm: bytes) -> None:
    other = CLAIM._replace(id="f" * 64)
    assert kept.note(CLAIM) and kept.note(other) and kept.answered(DONE._replace(claim=other))
    path = file_of(sqlite_database)
    at = path.read_bytes().index(CLAIM.id.encode())
    with path.open("r+b") as file:
        file.seek(at)
        file.write(harm.ljust(128, b"\0"))
    assert closed(sqlite_database, CLAIM.owner) == {other[::2]: DONE._replace(claim=other)}


@pytest.mark.parametrize("answer", [b"{no json\n", b"[1]\n", b"7\n", b"\xff\n"])
def test_an_answer_that_cannot_be_read_is_none(sqlite_database: Database, kept: Departures, answer: bytes) -> None:
    assert kept.note(CLAIM) and kept.answered(DONE)
    path = file_of(sqlite_database)
    written = path.read_bytes()
    at = written.index(CLAIM.id.encode()) + 128
    path.write_bytes(written[:at] + answer + written[at + len(answer) :])
    assert closed(sqlite_database, CLAIM.owner) == {CLAIM[::2]: None}


def test_what_may_not_leave_takes_no_room(sqlite_database: Database, kept: Departures) -> None:
    path = file_of(sqlite_database)
    size = path.stat().st_size
    closed(sqlite_database, CLAIM.owner)
    assert not any(kept.note(CLAIM._replace(id=f"{number:064x}")) for number in range(200))
    assert path.stat().st_size == size


@pytest.mark.parametrize("harm", ["gone", "empty", "of another boot"])
def test_a_file_that_tells_nothing_leaves_all_unknown(sqlite_database: Database, kept: Departures, harm: str) -> None:
    assert kept.note(CLAIM)
    path = file_of(sqlite_database)
    if harm == "gone":
        forget(sqlite_database, [CLAIM.owner])
    else:
        path.write_bytes(b"" if harm == "empty" else b"another" + path.read_bytes()[7:])
    assert closed(sqlite_database, CLAIM.owner) is None


def test_where_no_file_can_be_made_effects_leave_and_are_unknown_if_the_process_dies(sqlite_database: Database) -> None:
    file_of(sqlite_database).parent.write_text("in the way")
    departures = Departures(sqlite_database)
    departures.begin(CLAIM.owner)
    assert departures.note(CLAIM) and departures.answered(DONE)
    assert closed(sqlite_database, CLAIM.owner) is None


def file_of(database: Database) -> Path:
    """The file of `own_1`."""
    assert database.path is not None
    return database.path.with_name(f"{database.path.name}-departures") / CLAIM.owner
