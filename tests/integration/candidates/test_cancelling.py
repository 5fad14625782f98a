"""A verification is ended by whoever may submit, says who and when, and can be begun anew."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import col, select

from app.candidates.cancelling import cancel_candidate, verify_again
from app.candidates.reading import list_candidates, read_candidate, read_report
from app.candidates.submission import submit_candidate
from app.candidates.verifying import claim_candidate, fail_candidate, finish_candidate, gate_finished, gate_started, still_held
from app.core import outbox, owners
from app.core.actor import Actor
from app.core.clock import ScriptedClock
from app.core.db import Database
from app.core.errors import Conflict, Forbidden, NotFound
from app.observability.models import AuditEvent
from tests.support.contracts import contract, save

FILES = [{"path": "tool.py", "content": "x = 1\n"}, {"path": "test_tool.py", "content": "y = 1\n"}]
AGENT = Actor("key_agent", "agent", "default", frozenset({"candidates:submit"}))
LEAD = Actor("key_lead", "lead", "default", frozenset({"candidates:submit", "candidates:approve"}))
OTHER = Actor("key_other", "other", "default", frozenset({"candidates:submit"}))
CALLER = Actor("key_caller", "caller", "default", frozenset({"tools:call"}))


@pytest.fixture
def candidate(database: Database) -> str:
    save(database, contract(effects=True))
    found: str = submit_candidate(AGENT, database, "greet", None, FILES)["id"]
    return found


@pytest.fixture
def owner(database: Database) -> str:
    return owners.register(database, "worker", 15_000)


def report(candidate: str) -> dict[str, Any]:
    return {"candidate_id": candidate, "digest": "d", "publishable": False, "gates": [], "rubric": []}


def test_a_cancelled_candidate_says_who_and_when_and_its_verifier_writes_nothing_more(
    database: Database, candidate: str, owner: str, clock: ScriptedClock
) -> None:
    assert claim_candidate(database, candidate, owner) is not None and still_held(database, candidate, owner)
    gate_started(database, candidate, owner, "spec", 0)
    gate_finished(database, candidate, owner, "spec", "passed", 5)
    gate_started(database, candidate, owner, "ruff", 2)
    shown = cancel_candidate(LEAD, database, candidate)
    assert shown["state"] == "cancelled" and shown["error"]["code"] == "verification_cancelled"
    assert (shown["error"]["actor"], shown["error"]["at"]) == ("key_lead", "2026-03-01T09:00:00.000Z")
    assert "lead cancelled" in shown["error"]["detail"]
    assert not still_held(database, candidate, owner)
    with pytest.raises(Conflict, match="no longer verified"):
        gate_finished(database, candidate, owner, "ruff", "passed", 5)
    with pytest.raises(Conflict, match="no longer verified"):
        finish_candidate(database, candidate, owner, report(candidate))
    assert claim_candidate(database, candidate, owner) is None
    assert [gate["gate"] for gate in read_report(AGENT, database, candidate)["gates"]] == ["spec"]
    assert [row["id"] for row in list_candidates(AGENT, database, "cancelled")["items"]] == [candidate]
    with database.reading() as session:
        (event,) = session.exec(select(AuditEvent).where(col(AuditEvent.action) == "candidate.cancelled")).all()
    assert (event.actor, event.target, event.outcome) == ("key_lead", candidate, "done")


def test_a_cancelled_candidate_is_verified_again(database: Database, candidate: str, owner: str) -> None:
    cancel_candidate(AGENT, database, candidate)
    before = len(outbox.pending(database))
    shown = verify_again(AGENT, database, candidate)
    assert (shown["state"], shown["error"]) == ("queued", None) and len(outbox.pending(database)) == before + 1
    claimed = claim_candidate(database, candidate, owner)
    assert claimed is not None and claimed.crashes == 0


def test_a_broken_verification_is_begun_anew_and_a_settled_one_is_not(database: Database, candidate: str, owner: str) -> None:
    assert claim_candidate(database, candidate, owner) is not None
    with pytest.raises(Conflict, match="is verifying"):
        verify_again(AGENT, database, candidate)
    fail_candidate(database, candidate, owner, {"code": "verification_broke", "detail": "It broke.", "fix": "Again."})
    verify_again(AGENT, database, candidate)
    assert claim_candidate(database, candidate, owner) is not None
    finish_candidate(database, candidate, owner, report(candidate))
    with pytest.raises(Conflict, match="is refused"):
        verify_again(AGENT, database, candidate)
    with pytest.raises(Conflict, match="nothing to cancel"):
        cancel_candidate(AGENT, database, candidate)
    assert read_candidate(AGENT, database, candidate)["state"] == "refused"


@pytest.mark.parametrize("attempt", [cancel_candidate, verify_again])
def test_strangers_cancel_and_repeat_nothing(database: Database, candidate: str, attempt: Any) -> None:
    with pytest.raises(NotFound):
        attempt(Actor("key_x", "x", "other", frozenset({"*"})), database, candidate)
    with pytest.raises(Forbidden):
        attempt(CALLER, database, candidate)
