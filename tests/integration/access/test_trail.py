"""The audit trail is read in pages, filtered, by those who may."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.trail import read_audit
from app.core.actor import SYSTEM, Actor
from app.core.clock import ScriptedClock
from app.core.db import Database
from app.core.errors import Forbidden, Invalid
from app.observability import audit

AUDITOR = Actor("key_auditor", "auditor", "default", frozenset({"audit:read"}))


@pytest.fixture
def trail(database: Database, clock: ScriptedClock) -> Database:
    for number, action in enumerate(["candidate.submitted", "candidate.decided", "candidates.other", "key.created", "candidate.decided"]):
        clock.advance(1000)
        with database.writing() as session:
            audit.record(session, SYSTEM, action, f"t{number}", "refused" if number == 4 else "done", number=number)
    with database.writing() as session:
        audit.record(session, Actor("k", "k", "other", frozenset()), "key.created", "elsewhere", "done")
    return database


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"action": "candidate"}, [4, 1, 0]),
        ({"action": "candidate.decided"}, [4, 1]),
        ({"action": "candidate.decided", "outcome": "refused"}, [4]),
        ({"target": "t3"}, [3]),
        ({"by": "nobody"}, []),
        ({"by": "system", "since": "2026-03-01T09:00:04Z"}, [4, 3]),
        ({"action": "%"}, []),
    ],
)
def test_events_are_found_by_who_what_and_when(trail: Database, filters: dict[str, Any], numbers: list[int]) -> None:
    assert [item["detail"]["number"] for item in read_audit(AUDITOR, trail, **filters)["items"]] == numbers


def test_pages_follow_each_other_without_gaps(trail: Database) -> None:
    first = read_audit(AUDITOR, trail, limit=3)
    second = read_audit(AUDITOR, trail, cursor=first["next_cursor"], limit=3)
    assert [item["target"] for page in (first, second) for item in page["items"]] == ["t4", "t3", "t2", "t1", "t0"]
    assert second["next_cursor"] is None and first["items"][0]["sealed"] is False


def test_a_wrong_filter_says_so_and_a_caller_without_permission_sees_nothing(trail: Database) -> None:
    for filters, code in (
        ({"since": "yesterday"}, "filter_invalid"),
        ({"outcome": "x"}, "filter_invalid"),
        ({"cursor": "1 OR 1=1"}, "cursor_invalid"),
    ):
        with pytest.raises(Invalid, match=code):
            read_audit(AUDITOR, trail, **filters)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(Forbidden):
        read_audit(Actor("key_a", "agent", "default", frozenset({"tools:call"})), trail)
