"""A candidate from submission to publication: every state, who may see it, who may decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import col, select

from app.candidates.approval import approve_candidate, approve_from_release
from app.candidates.models import Candidate, CandidateFile
from app.candidates.publishing import mark_published, publishable
from app.candidates.reading import candidate_files, list_candidates, read_candidate, read_report
from app.candidates.submission import submit_candidate
from app.candidates.verifying import (
    claim_candidate,
    fail_candidate,
    finish_candidate,
    gate_finished,
    gate_started,
    release_candidate,
    wake_waiting,
)
from app.core import faults, feed, outbox, owners
from app.core.actor import Actor
from app.core.clock import ScriptedClock
from app.core.db import Database
from app.core.errors import Conflict, Forbidden, Invalid, NotFound, ToolmintError
from app.observability.models import AuditEvent
from tests.support.contracts import contract, save

FILES = [{"path": "tool.py", "content": "x = 1\n"}, {"path": "test_tool.py", "content": "y = 1\n"}]
AGENT = Actor("key_agent", "agent", "default", frozenset({"candidates:submit", "tools:publish", "candidates:approve"}))
BOSS = Actor("key_boss", "boss", "default", frozenset({"candidates:approve", "tools:publish", "specs:held_out"}))
CALLER = Actor("key_caller", "caller", "default", frozenset({"tools:call"}))
STRANGER = Actor("key_stranger", "stranger", "other", frozenset({"*"}))


@pytest.fixture
def submitted(database: Database) -> dict[str, Any]:
    save(database, contract(effects=True))
    return submit_candidate(AGENT, database, "greet", None, FILES, notes="first")


@pytest.fixture
def owner(database: Database) -> str:
    return owners.register(database, "worker", 15_000)


def report_of(candidate: dict[str, Any], *, publishable: bool = True, **fields: Any) -> dict[str, Any]:
    return {"candidate_id": candidate["id"], "digest": candidate["digest"], "publishable": publishable, "gates": [], "rubric": [], **fields}


def passed(database: Database, candidate: dict[str, Any], owner: str, **fields: Any) -> str:
    assert claim_candidate(database, candidate["id"], owner)
    return finish_candidate(database, candidate["id"], owner, report_of(candidate, **fields))


def code_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(ToolmintError) as caught:
        attempt()
    return caught.value.code


def state_of(database: Database, candidate: dict[str, Any]) -> str:
    return str(read_candidate(AGENT, database, candidate["id"])["state"])


def test_a_submission_is_queued_announced_audited_and_wakes_a_verifier(database: Database, submitted: dict[str, Any]) -> None:
    wanted = {"tool": "greet", "spec_revision": 1, "state": "queued", "approval": "waiting", "author": "key_agent", "version": None}
    assert wanted.items() <= submitted.items()
    assert [(job.job, job.subject) for job in outbox.pending(database)] == [("verify_candidate", submitted["id"])]
    assert [(line.topic, line.data["state"]) for line in feed.since(database, 0)] == [("candidate.changed", "queued")]
    with database.reading() as session:
        event = session.exec(select(AuditEvent)).one()
    assert (event.action, event.target, event.actor, event.outcome) == ("candidate.submitted", submitted["id"], "key_agent", "done")
    assert candidate_files(AGENT, database, submitted["id"]) == {"tool.py": "x = 1\n", "test_tool.py": "y = 1\n"}


def test_a_tool_without_effects_needs_no_approval_and_an_unknown_spec_is_named(database: Database) -> None:
    save(database, contract("count"))
    assert submit_candidate(AGENT, database, "count", 1, FILES)["approval"] == "none_needed"
    assert code_of(lambda: submit_candidate(AGENT, database, "count", 2, FILES)) == "spec_not_found"
    assert code_of(lambda: submit_candidate(AGENT, database, "nothing", None, FILES)) == "spec_not_found"


def test_a_bad_submission_leaves_nothing_behind(database: Database) -> None:
    save(database, contract())
    for files, notes in ((FILES[:1], ""), (FILES, "n" * 4001)):
        with pytest.raises(Invalid):
            submit_candidate(AGENT, database, "greet", None, files, notes=notes)
    with pytest.raises(Forbidden):
        submit_candidate(CALLER, database, "greet", None, FILES)
    assert list_candidates(AGENT, database)["items"] == [] and outbox.pending(database) == []


def test_verification_is_shown_gate_by_gate_and_ends_in_a_report(database: Database, submitted: dict[str, Any], owner: str) -> None:
    claimed = claim_candidate(database, submitted["id"], owner)
    assert claimed and claimed.spec.effects and claimed.files["tool.py"] == "x = 1\n" and claimed.crashes == 0
    gate_started(database, claimed.id, owner, "spec", 0)
    assert read_candidate(AGENT, database, claimed.id)["gates"] == [{"gate": "spec", "status": "running", "duration_ms": 0}]
    gate_finished(database, claimed.id, owner, "spec", "passed", 7)
    gate_started(database, claimed.id, owner, "imports", 1)
    gate_finished(database, claimed.id, owner, "imports", "failed", 3, [{"rule": "import", "line": 1}], {"modules": 1})
    gate_finished(database, claimed.id, owner, "ruff", "skipped", 0, position=2)
    live = read_report(AGENT, database, claimed.id)
    assert [(gate["gate"], gate["status"]) for gate in live["gates"]] == [("spec", "passed"), ("imports", "failed"), ("ruff", "skipped")]
    assert live["publishable"] is False and live["gates"][1]["findings"] == [{"rule": "import", "line": 1}]
    digest = finish_candidate(database, claimed.id, owner, report_of(submitted, publishable=False))
    after = read_candidate(AGENT, database, claimed.id)
    assert (after["state"], after["report_digest"]) == ("refused", digest)
    assert read_report(AGENT, database, claimed.id) == report_of(submitted, publishable=False)
    states = [line.data["state"] for line in feed.since(database, 0)]
    assert states == ["queued", *["verifying"] * 6, "refused"]


def test_only_one_owner_verifies_and_a_finished_candidate_is_not_taken_again(
    database: Database, submitted: dict[str, Any], owner: str
) -> None:
    other = owners.register(database, "worker", 15_000)
    assert claim_candidate(database, submitted["id"], owner)
    assert claim_candidate(database, submitted["id"], other) is None
    assert code_of(lambda: gate_started(database, submitted["id"], other, "spec", 0)) == "candidate_lost"
    finish_candidate(database, submitted["id"], owner, report_of(submitted))
    assert claim_candidate(database, submitted["id"], owner) is None
    assert claim_candidate(database, "cand_unknown", owner) is None


def test_a_dead_workers_candidate_is_taken_over_and_the_dead_writes_nothing(
    database: Database, submitted: dict[str, Any], owner: str, clock: ScriptedClock
) -> None:
    claim_candidate(database, submitted["id"], owner)
    gate_finished(database, submitted["id"], owner, "spec", "passed", 7)
    clock.advance(15_001)
    assert wake_waiting(database) == 1
    heir = owners.register(database, "worker", 15_000)
    taken = claim_candidate(database, submitted["id"], heir)
    assert taken and taken.crashes == 1
    assert read_candidate(AGENT, database, submitted["id"])["gates"] == []
    late = report_of(submitted)
    assert code_of(lambda: finish_candidate(database, submitted["id"], owner, late)) == "candidate_lost"
    assert release_candidate(database, submitted["id"], owner) is False


def test_a_worker_that_dies_between_two_gates_has_kept_the_first_and_the_next_worker_begins_anew(
    database: Database, submitted: dict[str, Any], owner: str, clock: ScriptedClock
) -> None:
    claim_candidate(database, submitted["id"], owner)
    faults.arm("candidate.gate.after=raise")
    try:
        with pytest.raises(faults.FaultInjected):
            gate_finished(database, submitted["id"], owner, "spec", "passed", 7)
    finally:
        faults.arm("")
    assert read_candidate(AGENT, database, submitted["id"])["gates"] == [{"gate": "spec", "status": "passed", "duration_ms": 7}]
    clock.advance(15_001)
    heir = owners.register(database, "worker", 15_000)
    assert passed(database, submitted, heir)
    assert read_candidate(AGENT, database, submitted["id"])["state"] == "passed"


def test_a_candidate_that_kills_three_workers_ends_as_an_error(database: Database, submitted: dict[str, Any], clock: ScriptedClock) -> None:
    for attempt in range(4):
        owner = owners.register(database, "worker", 15_000)
        assert (claim_candidate(database, submitted["id"], owner) is not None) is (attempt < 3)
        clock.advance(15_001)
    after = read_candidate(AGENT, database, submitted["id"])
    assert (after["state"], after["error"]["code"]) == ("error", "verification_crashed")
    assert wake_waiting(database) == 0


def test_a_worker_that_stops_cleanly_puts_the_candidate_back_without_counting_a_crash(
    database: Database, submitted: dict[str, Any], owner: str
) -> None:
    claim_candidate(database, submitted["id"], owner)
    assert release_candidate(database, submitted["id"], owner) is True
    assert [job.subject for job in outbox.pending(database)] == [submitted["id"]] * 2
    again = claim_candidate(database, submitted["id"], owner)
    assert again and again.crashes == 0


def test_a_wake_up_that_was_lost_is_sent_again_after_a_minute(database: Database, submitted: dict[str, Any], clock: ScriptedClock) -> None:
    outbox.delivered(database, [job.id for job in outbox.pending(database)])
    assert wake_waiting(database) == 0
    clock.advance(60_001)
    assert (wake_waiting(database), wake_waiting(database)) == (1, 0)
    assert [job.subject for job in outbox.pending(database)] == [submitted["id"]]


def test_a_failure_of_verification_itself_is_an_error_with_its_reason(database: Database, submitted: dict[str, Any], owner: str) -> None:
    claim_candidate(database, submitted["id"], owner)
    fail_candidate(database, submitted["id"], owner, {"code": "sandbox_unavailable", "detail": "…", "fix": "Run toolmint doctor."})
    assert read_candidate(AGENT, database, submitted["id"])["error"]["code"] == "sandbox_unavailable"


def test_held_out_cases_are_shown_only_to_those_who_may_see_them(database: Database, submitted: dict[str, Any], owner: str) -> None:
    finding = {"rule": "example", "severity": "error", "held_out": True, "message": "example 'secret' gave 3", "input": {"n": 3}, "got": 3}
    gates = [{"gate": "examples", "status": "failed", "findings": [finding, {"rule": "example", "message": "open"}]}]
    rubric = [{"dimension": "correctness", "score": 0.5, "evidence": [{"held_out": True, "example": "secret"}]}]
    passed(database, submitted, owner, publishable=False, gates=gates, rubric=rubric)
    assert read_report(BOSS, database, submitted["id"])["gates"] == gates
    shown = read_report(AGENT, database, submitted["id"])
    assert "secret" not in repr(shown) and shown["gates"][0]["findings"][0]["rule"] == "example"
    assert shown["gates"][0]["findings"][1] == {"rule": "example", "message": "open"}


def test_a_candidate_does_not_exist_for_callers_and_other_tenants(database: Database, submitted: dict[str, Any]) -> None:
    for actor in (CALLER, STRANGER):
        for read in (read_candidate, candidate_files, read_report):
            with pytest.raises(NotFound):
                read(actor, database, submitted["id"])
        assert list_candidates(actor, database)["items"] == []
    author = Actor("key_agent", "agent", "default", frozenset())
    assert read_candidate(author, database, submitted["id"])["id"] == submitted["id"]
    assert len(list_candidates(author, database)["items"]) == 1


def test_candidates_are_listed_newest_first_with_filters_and_pages(database: Database, owner: str, clock: ScriptedClock) -> None:
    ids = []
    for number in range(5):
        name = ("greet", "count")[number % 2]
        if number < 2:
            save(database, contract(name))
        clock.advance(1)
        ids.append(submit_candidate(AGENT, database, name, None, FILES)["id"])
    claim_candidate(database, ids[0], owner)
    assert [item["id"] for item in list_candidates(AGENT, database, tool="greet")["items"]] == [ids[4], ids[2], ids[0]]
    assert [item["id"] for item in list_candidates(AGENT, database, state="verifying")["items"]] == [ids[0]]
    first = list_candidates(AGENT, database, limit=3)
    rest = list_candidates(AGENT, database, cursor=first["next_cursor"], limit=3)
    assert [item["id"] for page in (first, rest) for item in page["items"]] == ids[::-1] and rest["next_cursor"] is None
    with pytest.raises(Invalid):
        list_candidates(AGENT, database, state="done")


def test_another_actor_approves_and_the_author_cannot(database: Database, submitted: dict[str, Any], owner: str) -> None:
    assert code_of(lambda: approve_candidate(BOSS, database, submitted["id"], "approve", "early")) == "candidate_not_passed"
    passed(database, submitted, owner)
    assert code_of(lambda: approve_candidate(AGENT, database, submitted["id"], "approve", "mine")) == "self_approval"
    assert code_of(lambda: approve_candidate(BOSS, database, submitted["id"], "approve", " ")) == "approval_invalid"
    assert code_of(lambda: approve_candidate(BOSS, database, submitted["id"], "maybe", "?")) == "approval_invalid"
    assert code_of(lambda: approve_candidate(CALLER, database, submitted["id"], "approve", "x")) == "permission_denied"
    assert code_of(lambda: approve_candidate(STRANGER, database, submitted["id"], "approve", "x")) == "candidate_not_found"
    decision = approve_candidate(BOSS, database, submitted["id"], "approve", "reads well")
    assert {"decision": "approve", "reason": "reads well", "actor": "key_boss"}.items() <= decision.items()
    after = read_candidate(AGENT, database, submitted["id"])
    assert (after["approval"], after["approvals"]) == ("approved", [decision])
    assert code_of(lambda: approve_candidate(BOSS, database, submitted["id"], "approve", "again")) == "approval_settled"
    with database.reading() as session:
        query = select(AuditEvent.actor, AuditEvent.outcome).where(AuditEvent.action == "candidate.decided")
        told = session.exec(query.order_by(col(AuditEvent.id))).all()
    assert [tuple(row) for row in told] == [
        ("key_boss", "refused"),
        ("key_agent", "refused"),
        ("key_boss", "done"),
        ("key_boss", "refused"),
    ]


def test_a_rejected_candidate_stays_passed_and_is_never_published(database: Database, submitted: dict[str, Any], owner: str) -> None:
    passed(database, submitted, owner)
    approve_candidate(BOSS, database, submitted["id"], "reject", "sends too eagerly")
    assert state_of(database, submitted) == "passed"
    with database.reading() as session:
        assert code_of(lambda: publishable(session, BOSS, submitted["id"])) == "candidate_rejected"


def test_the_registry_gets_a_candidate_only_when_all_is_in_order(database: Database, submitted: dict[str, Any], owner: str) -> None:
    def attempt(actor: Actor = BOSS) -> Any:
        with database.reading() as session:
            return publishable(session, actor, submitted["id"])

    assert code_of(lambda: attempt(STRANGER)) == "candidate_not_found"
    assert code_of(attempt) == "candidate_not_passed"
    digest = passed(database, submitted, owner)
    assert code_of(attempt) == "approval_required"
    approve_candidate(BOSS, database, submitted["id"], "approve", "reads well")
    ready = attempt()
    assert ready.report_digest == digest and ready.files["tool.py"] == "x = 1\n" and ready.report["publishable"]
    with database.writing() as session:
        mark_published(session, submitted["id"], 1)
    assert read_candidate(AGENT, database, submitted["id"])["version"] == 1
    assert code_of(attempt) == "already_published"
    with pytest.raises(Conflict), database.writing() as session:
        mark_published(session, submitted["id"], 2)


@pytest.mark.parametrize("altered", ["file", "report"])
def test_a_candidate_altered_in_the_database_is_not_published(
    database: Database, submitted: dict[str, Any], owner: str, altered: str
) -> None:
    passed(database, submitted, owner)
    approve_candidate(BOSS, database, submitted["id"], "approve", "reads well")
    with database.writing() as session:
        if altered == "file":
            session.get_one(CandidateFile, (submitted["id"], "tool.py")).content = "x = 2\n"
        else:
            row = session.get_one(Candidate, submitted["id"])
            row.report = (row.report or "").replace("[]", "[1]", 1)
    with database.reading() as session:
        assert code_of(lambda: publishable(session, BOSS, submitted["id"])) == "candidate_altered"


def test_a_release_approves_its_own_tools_by_digest_only(database: Database, submitted: dict[str, Any], owner: str) -> None:
    passed(database, submitted, owner)
    assert code_of(lambda: approve_from_release(database, submitted["id"], {"0" * 64}, "release")) == "not_released"
    approve_from_release(database, submitted["id"], {submitted["digest"]}, "named in the release")
    assert read_candidate(AGENT, database, submitted["id"])["approval"] == "approved"
