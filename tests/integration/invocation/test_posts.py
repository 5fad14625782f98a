"""Answers of POSTs by their key: claimed once, given again, released after an error, left to the next after a death."""

from __future__ import annotations

import pytest

from app.core.clock import ScriptedClock
from app.core.db import Database
from app.core.errors import Conflict, Invalid
from app.invocation.posts import HELD_MS, KEPT_MS, Claim, Given, claim_post, expire_posts, release, settle
from tests.support.published import AUTHOR, CALLER


@pytest.fixture
def clock() -> ScriptedClock:
    return ScriptedClock()


def claimed(database: Database, body: str = "b", key: str = "k") -> Claim:
    found = claim_post(CALLER, database, "POST /x", key, body)
    assert isinstance(found, Claim)
    return found


def test_the_first_answer_is_given_again(database: Database) -> None:
    settle(database, claimed(database), 201, {"id": "é", "n": 1.5})
    assert claim_post(CALLER, database, "POST /x", "k", "b") == Given(201, {"id": "é", "n": 1.5})
    with pytest.raises(Invalid, match="idempotency_conflict"):
        claim_post(CALLER, database, "POST /x", "k", "other")
    for actor, where, key in ((AUTHOR, "POST /x", "k"), (CALLER, "POST /y", "k"), (CALLER, "POST /x", "l")):
        assert isinstance(claim_post(actor, database, where, key, "b"), Claim)


def test_a_request_under_way_is_told_as_such_and_an_error_gives_the_key_back(database: Database) -> None:
    first = claimed(database)
    with pytest.raises(Conflict, match="request_in_flight") as caught:
        claim_post(CALLER, database, "POST /x", "k", "b")
    assert caught.value.retryable
    release(database, first)
    settle(database, claimed(database, "mended"), 200, {})


def test_an_answer_that_never_came_leaves_the_key_after_a_while(database: Database, clock: ScriptedClock) -> None:
    claimed(database)
    clock.advance(HELD_MS + 1)
    second = claimed(database, "b2")
    settle(database, second, 200, 1)
    assert claim_post(CALLER, database, "POST /x", "k", "b2") == Given(200, 1)


def test_answers_are_kept_for_a_day(database: Database, clock: ScriptedClock) -> None:
    settle(database, claimed(database), 200, 1)
    clock.advance(KEPT_MS + 1)
    assert expire_posts(database) == 1 and expire_posts(database) == 0
    claimed(database)
