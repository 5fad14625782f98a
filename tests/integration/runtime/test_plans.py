"""How SQLite finds what is asked of it: by an index that names few rows, in order, however many runs and effects there are.

Its planner knows nothing of how many rows a tenant has, so each question is put such that only the right index fits.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from app.core.actor import Actor
from app.core.db import Database
from app.runtime import views
from app.runtime.causes import list_causes
from app.runtime.open_calls import count_open
from app.runtime.repository import recovery
from app.runtime.repository.effects import Claim
from app.runtime.repository.runs import counts
from tests.support.worlds import CALLER

ALL = Actor("key_all", "all", "default", frozenset({"*"}))
CLAIMS = [Claim(f"e{number}", "owner_1", 1) for number in range(3)]


def reading(ask: Callable[[Session], object]) -> Callable[[Database], object]:
    def look(database: Database) -> None:
        with database.writing() as session:
            ask(session)

    return look


def listed(database: Database) -> None:
    for actor in (ALL, CALLER):
        for tool in (None, "send_notes"):
            for state in (None, "failed"):
                views.list_runs(actor, database, tool=tool, state=state)
                views.list_runs(actor, database, tool=tool, state=state, cursor="WyJydW5fMSJd")


ASKED: dict[str, Callable[[Database], object]] = {
    "lists of runs": listed,
    "how many runs are open": lambda database: views.open_runs(ALL, database),
    "how many calls of a tool are open": lambda database: count_open(database, "default", tool="send_notes"),
    "what needs somebody": lambda database: views.count_effects(ALL, database),
    "a queue": lambda database: views.list_effects(ALL, database, state="dead"),
    "causes": lambda database: list_causes(ALL, database, state="dead"),
    "the counts of a ledger": lambda database: views.count_ledger(ALL, database, "notes", "g"),
    "the counts of a run": reading(lambda session: counts(session, "run_1")),
    "claims that are dropped": reading(lambda session: recovery.recover_claims(session, CLAIMS)),
    "a run that is cancelled": reading(lambda session: recovery.cancel_open(session, "run_1")),
}
ALLOWED_TO_SORT = {"what needs somebody", "a queue", "causes"}
"""What they sort is what waits for somebody, found by the small indexes of that."""


@pytest.mark.parametrize("name", ASKED)
def test_a_question_reads_what_it_is_about_and_not_the_whole_table(sqlite_database: Database, name: str) -> None:
    asked: list[tuple[str, tuple[object, ...]]] = []
    sa.event.listen(sqlite_database.engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
    ASKED[name](sqlite_database)
    selects = [(text, values) for text, values in asked if text.startswith("SELECT") and ("FROM effect" in text or "FROM run" in text)]
    assert selects
    with sqlite_database.engine.connect() as connection:
        for text, values in selects:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            assert not [step for step in plan if step in ("SCAN effect", "SCAN run")], (text, plan)
            assert "SEARCH effect USING INDEX effect_by_ledger (tenant=?)" not in plan, (text, plan)
            assert name in ALLOWED_TO_SORT or not [step for step in plan if step.startswith("USE TEMP B-TREE")], (text, plan)
