"""Moves that are made together, and statements over many rows, on both databases."""

from __future__ import annotations

import asyncio
import re

import pytest
from sqlalchemy import text

from app.core import owners
from app.core.bulk import MOST_ROWS, Bulk
from app.core.db import Database
from app.core.writer import GroupWriter
from app.runtime.desk import Desk
from app.runtime.models import Effect
from app.runtime.repository.effects import Claim, Move, move
from tests.support.waiting import until_async as until

pytestmark = pytest.mark.anyio


def claimed(database: Database, count: int) -> list[Claim]:
    """Effects that this process holds."""
    with database.writing() as session:
        for number in range(count):
            session.add(
                Effect(
                    id=f"e{number}",
                    tenant="default",
                    tool="t",
                    version=1,
                    effect="send",
                    connector="email.send",
                    key="[]",
                    run_id="run_1",
                    step=1,
                    position=number,
                    item="{}",
                    fingerprint="f",
                    on_unknown="hold",
                    state="claimed",
                    owner="own_1",
                    fence=1,
                    created_at=0,
                    updated_at=0,
                )
            )
    return [Claim(f"e{number}", "own_1", 1) for number in range(count)]


async def test_what_is_handed_in_within_one_turn_of_the_loop_is_one_write(database: Database) -> None:
    claims = claimed(database, 8)
    writer = GroupWriter(database)
    desk = Desk(writer)
    begun = [desk.ask(Move(claim, "claimed", "performing", 1)) for claim in claims]
    assert await asyncio.gather(*begun) == [True] * 8
    assert writer.commits == 1
    told: list[bool] = []
    for claim in claims:
        desk.tell(Move(claim, "performing", "done", 1, '{"reply": "ok"}'), told.append)
    await desk.settled()
    assert (told, writer.commits) == ([True] * 8, 2)
    writer.close()


async def test_a_move_of_another_holder_is_refused_alone(database: Database) -> None:
    claims = claimed(database, 3)
    writer = GroupWriter(database)
    desk = Desk(writer)
    moves = [Move(claim._replace(fence=claim.fence + (claim.id == "e1")), "claimed", "performing", 1) for claim in claims]
    assert await asyncio.gather(*(desk.ask(move) for move in moves)) == [True, False, True]
    with database.reading() as session:
        events = session.connection().execute(text("SELECT effect_id FROM effect_event ORDER BY seq")).scalars().all()
    assert events == ["e0", "e2"]
    writer.close()


def test_more_moves_than_one_statement_takes_are_made_and_told_all_the_same(database: Database) -> None:
    claims = claimed(database, 2 * MOST_ROWS + 7)
    moves = [
        Move(claim._replace(fence=claim.fence + (number == MOST_ROWS)), "claimed", "performing", 1) for number, claim in enumerate(claims)
    ]
    with database.writing() as session:
        held = move(session, moves)
    assert [number for number, ok in enumerate(held) if not ok] == [MOST_ROWS]
    with database.reading() as session:
        found = (
            session.connection()
            .execute(text("SELECT count(*), count(DISTINCT effect_id), min(before), max(after) FROM effect_event"))
            .one()
        )
        begun = session.connection().execute(text("SELECT count(*) FROM effect WHERE state = 'performing'")).scalar_one()
    assert (tuple(found), begun) == ((len(claims) - 1, len(claims) - 1, "claimed", "performing"), len(claims) - 1)


@pytest.mark.parametrize("rows", [1, 2, 9, 33, 100, 513])
def test_what_a_statement_is_made_for_beyond_its_rows_is_no_row(database: Database, rows: int) -> None:
    pairs = Bulk("word text, number bigint", "SELECT r.word AS word, r.number AS number FROM {rows} WHERE true {in_order}")
    given = [(f"w{number}", None if number % 2 else number) for number in range(rows)]
    with database.reading() as session:
        assert [tuple(row) for row in pairs.execute(session, given)] == given


@pytest.mark.parametrize(("columns", "rows"), [("id text, n bigint", [("a", 1), (None, 2)]), ("id text", ["a", None])])
def test_a_row_without_its_first_cell_is_refused_and_never_dropped(database: Database, columns: str, rows: list[object]) -> None:
    bulk = Bulk(columns, "SELECT r.id FROM {rows}")
    with database.reading() as session, pytest.raises(ValueError, match="never null"):
        bulk.execute(session, rows)


async def test_what_goes_wrong_with_a_move_that_nobody_waits_for_is_raised_at_the_end(database: Database) -> None:
    claims = claimed(database, 1)
    writer = GroupWriter(database)
    desk = Desk(writer)
    desk.tell(Move(claims[0], "claimed", "dead", 1), lambda _held: None)  # the diagram has no such line
    with pytest.raises(AssertionError, match="claimed → dead"):
        await desk.settled()
    writer.close()


def test_texts_of_every_kind_pass_through_a_statement_over_many_rows_unchanged(database: Database) -> None:
    texts = [
        "",
        "'quoted' \"twice\"",
        "line\nand\ttab",
        "back\\slash \\u0041 \\",
        "ünïcödé 😀",
        "{rows} :name %(rows)s %s ?",
        "[1, 2]",
        "null",
    ]
    given = [(text, number - 3, None) for number, text in enumerate(texts)] + [("big", 1 << 53, None)]
    echo = Bulk(
        "word text, number bigint, absent text",
        "SELECT r.word AS word, r.number AS number, r.absent AS absent, CAST(:shared AS text) AS shared FROM {rows} {in_order}",
        gives="json_array(word, number, absent, shared)",
        guard="owner WHERE owner.id = :owner",
    )
    owner = owners.register(database, "web", 60_000)
    with database.writing() as session:
        found = echo.guarded(session, given, shared="%s :rows", owner=owner)
        assert echo.guarded(session, given, shared="", owner="nobody") is None
    assert found is not None and [tuple(row) for row in found] == [(*row, "%s :rows") for row in given]


async def test_an_end_is_written_with_the_next_beginning_and_before_it(database: Database) -> None:
    claims = claimed(database, 3)
    writer = GroupWriter(database)
    desk = Desk(writer, within_s=60)
    assert await desk.ask(Move(claims[0], "claimed", "performing", 1))
    desk.tell(Move(claims[0], "performing", "done", 1, "{}"), lambda _held: None)
    await asyncio.gather(*(desk.ask(Move(claim, "claimed", "performing", 1)) for claim in claims[1:]))
    assert writer.commits == 2
    with database.reading() as session:
        written = session.connection().execute(text("SELECT effect_id, after FROM effect_event ORDER BY seq")).all()
    assert [tuple(row) for row in written] == [("e0", "performing"), ("e0", "done"), ("e1", "performing"), ("e2", "performing")]
    writer.close()


async def test_an_end_with_no_beginning_behind_it_is_written_soon(database: Database) -> None:
    claims = claimed(database, 1)
    writer = GroupWriter(database)
    desk = Desk(writer, within_s=0.001)
    told: list[bool] = []
    desk.tell(Move(claims[0], "claimed", "performing", 1), told.append)
    await until(lambda: told == [True], what="it is written though nobody asks")
    writer.close()


def test_a_statement_for_many_rows_gives_one_number_since_each_is_searched_for_with_every_other() -> None:
    pairs = Bulk("word text, number bigint", "SELECT r.word, r.number, :shared, :other FROM {rows} WHERE r.word = :shared")
    assert re.findall(r"\?\d+", pairs._apart(500)) == ["?1", "?2", "?3", "?1"]
