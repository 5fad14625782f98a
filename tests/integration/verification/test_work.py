"""Verifying a stored candidate: claimed, followed live, resumed after a worker's death, and never passed by a check that broke."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.candidates.cancelling import cancel_candidate, verify_again
from app.candidates.reading import read_candidate, read_report
from app.candidates.submission import submit_candidate
from app.candidates.verifying import claim_candidate
from app.connectors.scripted import scripted
from app.core import feed, owners
from app.core.actor import DEFAULT_TENANT, Actor
from app.core.db import Database
from app.core.settings import Settings
from app.observability import metrics
from app.spec.revisions import save_checked
from app.verification.gates import GATES
from app.verification.work import Verifier, verify_candidate
from tests.support import processes
from tests.support.bench import Lab
from tests.support.specimens import TESTS, TOOL, changed, specimen_spec
from tests.support.waiting import until, until_async

AUTHOR = Actor("key_author", "author", DEFAULT_TENANT, frozenset({"specs:write", "candidates:submit"}))
READER = Actor("key_reader", "reader", DEFAULT_TENANT, frozenset({"candidates:approve"}))
INSIDER = replace(READER, permissions=frozenset({"candidates:approve", "specs:held_out"}))
IMPORTS_OS = changed(TOOL, "import annotations\n", "import annotations\n\nimport os\n")
WRONG_TYPE = changed(TOOL, "-> SendItem:", "-> int:")


def verifier(lab: Lab, database: Database, owner: str | None = None) -> Verifier:
    owner = owner or owners.register(database, "worker", 60_000)
    settings = Settings(home=lab.template.parents[1])
    return Verifier(database, lab.sandbox, settings, scripted().catalog, lambda: owner)


def submitted(lab: Lab, database: Database, tool: str = TOOL, tests: str = TESTS, **options: Any) -> str:
    save_checked(AUTHOR, database, specimen_spec())
    files = [{"path": "tool.py", "content": tool}, {"path": "test_tool.py", "content": tests}]
    candidate: str = submit_candidate(AUTHOR, database, "greet_all", None, files, **options)["id"]
    return candidate


def state_of(database: Database, candidate: str) -> str:
    state: str = read_candidate(READER, database, candidate)["state"]
    return state


def statuses(report: Mapping[str, Any]) -> dict[str, str]:
    return {gate["gate"]: gate["status"] for gate in report["gates"]}


def descendants() -> set[int]:
    """Processes below this one that have not ended."""
    above: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rsplit(")", 1)[1].split()[:2]
            above |= {int(path.parent.name): int(parent)} if state != "Z" else {}
    found = {os.getpid()}
    while more := {pid for pid, parent in above.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """What this process counts while the test runs."""
    metrics.start(tmp_path / "metrics")
    yield lambda: metrics.render().decode()
    metrics.stop()


def test_a_correct_candidate_passes_every_gate_and_dimension(lab: Lab, sqlite_database: Database, counted: Callable[[], str]) -> None:
    candidate = submitted(lab, sqlite_database)
    assert lab.runner.run(verify_candidate(verifier(lab, sqlite_database), candidate)) == "passed"
    assert all(f'toolmint_gate_seconds_count{{gate="{gate.name}"}} 1.0' in counted() for gate in GATES)
    for name in ("toolmint_runs_total{", "toolmint_effects_total{", "toolmint_guests_total ", "toolmint_group_commit_items_count "):
        rows = [row for row in counted().splitlines() if row.startswith(name)]
        assert all(row.endswith(" 0.0") for row in rows), "a rehearsal is not counted among the runs of an installation"
    shown = read_candidate(READER, sqlite_database, candidate)
    assert (shown["state"], shown["approval"]) == ("passed", "waiting") and shown["report_digest"]
    report = read_report(INSIDER, sqlite_database, candidate)
    assert report["publishable"] is True and report["candidate_id"] == candidate and report["digest"] == shown["digest"]
    assert statuses(report) == {gate.name: "passed" for gate in GATES}
    assert {row["dimension"]: row["passed"] for row in report["rubric"]} == dict.fromkeys(
        ("correctness", "safety", "idempotency", "observability", "rollback", "cost"), True
    )
    assert not list((lab.template.parent).glob("bench-*"))


def test_gates_are_announced_as_they_start_and_end(lab: Lab, sqlite_database: Database) -> None:
    candidate = submitted(lab, sqlite_database, IMPORTS_OS)
    assert lab.runner.run(verify_candidate(verifier(lab, sqlite_database), candidate)) == "refused"
    told = [
        (signal.data.get("gate"), signal.data.get("status")) for signal in feed.since(sqlite_database, 0) if signal.subject == candidate
    ]
    assert ("imports", "running") in told and ("imports", "failed") in told and ("examples", "skipped") in told
    report = read_report(READER, sqlite_database, candidate)
    assert report["publishable"] is False and statuses(report)["effects"] == "skipped"
    blocked = [row["dimension"] for row in report["rubric"] if not row["passed"]]
    assert blocked == ["correctness", "safety", "idempotency", "observability", "rollback", "cost"]


def test_a_full_report_goes_on_after_a_red_gate(lab: Lab, sqlite_database: Database) -> None:
    candidate = submitted(lab, sqlite_database, changed(TOOL, "    ctx.log(", "    more = []\n    ctx.log("), full_report=True)
    assert lab.runner.run(verify_candidate(verifier(lab, sqlite_database), candidate)) == "refused"
    found = statuses(read_report(READER, sqlite_database, candidate))
    assert (found["ruff"], found["mypy"]) == ("failed", "failed")
    assert {found[name] for name in ("imports", "examples", "effects", "policy", "tests", "path", "rollback", "cost")} == {"passed"}


def test_authors_do_not_see_what_a_held_out_example_shows(lab: Lab, sqlite_database: Database) -> None:
    tool = changed(TOOL, 'for to in args["recipients"]]', 'for to in dict.fromkeys(a.lower() for a in args["recipients"])]')
    candidate = submitted(lab, sqlite_database, tool)
    assert lab.runner.run(verify_candidate(verifier(lab, sqlite_database), candidate)) == "refused"
    assert "c@example.com" in str(read_report(INSIDER, sqlite_database, candidate))
    shown = read_report(READER, sqlite_database, candidate)
    assert "c@example.com" not in str(shown) and "same address" not in str(shown)
    (finding,) = next(gate for gate in shown["gates"] if gate["gate"] == "examples")["findings"]
    assert finding["held_out"] is True and finding["rule"] == "example_effect_missing"


def test_a_dead_workers_candidate_is_verified_by_the_next(lab: Lab, sqlite_database: Database) -> None:
    candidate = submitted(lab, sqlite_database, IMPORTS_OS)
    dead = owners.register(sqlite_database, "worker", 60_000)
    assert claim_candidate(sqlite_database, candidate, dead) is not None
    assert lab.runner.run(verify_candidate(verifier(lab, sqlite_database), candidate)) is None
    owners.void(sqlite_database, owner=dead)
    assert lab.runner.run(verify_candidate(verifier(lab, sqlite_database), candidate)) == "refused"


def test_what_a_killed_worker_finished_is_not_done_again(lab: Lab, sqlite_database: Database, tmp_path: Path) -> None:
    candidate = submitted(lab, sqlite_database, WRONG_TYPE)
    command = [sys.executable, "-m", "tests.support.verifying", str(sqlite_database.engine.url), str(lab.template.parents[1]), candidate]
    child = processes.start(command, tmp_path / "child.log", env={"TOOLMINT_FAULTS": "candidate.gate.after=kill:3"})
    until(lambda: not child.alive, 60, "the worker has killed itself after its third gate")
    assert child.process.returncode == -signal.SIGKILL, child.text()
    seen = read_report(READER, sqlite_database, candidate)["gates"]
    finished = {gate["gate"] for gate in seen if gate["status"] == "passed"}
    assert finished >= {"spec"} and state_of(sqlite_database, candidate) == "verifying"
    owners.void(sqlite_database, pid=child.pid)
    assert lab.runner.run(verify_candidate(verifier(lab, sqlite_database), candidate)) == "refused"
    gates = read_report(READER, sqlite_database, candidate)["gates"]
    kept = {gate["gate"]: gate["kept"]["candidate_id"] for gate in gates if gate.get("kept")}
    anew = {gate["gate"] for gate in gates if gate["status"] == "passed" and not gate.get("kept")}
    assert "spec" in kept and set(kept.values()) == {candidate} and not anew & finished
    assert statuses(read_report(READER, sqlite_database, candidate))["mypy"] == "failed"


def test_a_change_of_the_tests_leaves_what_does_not_depend_on_them(lab: Lab, sqlite_database: Database) -> None:
    """Both are refused for the tool, so that this shows two depths alone; tests of keys show all gates."""
    first = submitted(lab, sqlite_database, IMPORTS_OS)
    second = submitted(lab, sqlite_database, IMPORTS_OS, tests=TESTS + "\n# Another test might stand here.\n")
    for candidate in (first, second):
        assert lab.runner.run(verify_candidate(verifier(lab, sqlite_database), candidate)) == "refused"
    gates = {gate["gate"]: gate for gate in read_report(READER, sqlite_database, second)["gates"]}
    assert [name for name, gate in gates.items() if gate.get("kept")] == ["mypy", "compatibility"]
    before = next(gate for gate in read_report(READER, sqlite_database, first)["gates"] if gate["gate"] == "mypy")
    assert gates["mypy"] == {**before, "kept": {"candidate_id": first, "at": gates["mypy"]["kept"]["at"]}}


def test_a_cancelled_verification_ends_its_gates_and_guests_and_can_be_begun_anew(lab: Lab, sqlite_database: Database) -> None:
    candidate, before = submitted(lab, sqlite_database), descendants()

    async def cancelled() -> str | None:
        task = asyncio.create_task(verify_candidate(verifier(lab, sqlite_database), candidate))
        await until_async(lambda: "running" in statuses(read_report(READER, sqlite_database, candidate)).values(), 30, "a gate runs")
        await asyncio.to_thread(cancel_candidate, AUTHOR, sqlite_database, candidate)
        return await task

    assert lab.runner.run(cancelled()) is None
    shown = read_candidate(READER, sqlite_database, candidate)
    assert shown["state"] == "cancelled" and shown["error"]["actor"] == AUTHOR.id
    assert not list(lab.template.parent.glob("bench-*")), "its files are gone"
    until(lambda: descendants() <= before, 10, "its guests are gone")
    verify_again(AUTHOR, sqlite_database, candidate)
    assert state_of(sqlite_database, candidate) == "queued"


def test_a_worker_that_stops_puts_the_candidate_back(lab: Lab, sqlite_database: Database) -> None:
    candidate = submitted(lab, sqlite_database)

    async def stopped() -> None:
        task = asyncio.create_task(verify_candidate(verifier(lab, sqlite_database), candidate))
        await until_async(lambda: state_of(sqlite_database, candidate) == "verifying")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    lab.runner.run(stopped())
    assert state_of(sqlite_database, candidate) == "queued"


def test_a_check_that_breaks_is_an_error_and_no_pass(lab: Lab, sqlite_database: Database, tmp_path: Path) -> None:
    candidate = submitted(lab, sqlite_database)
    broken = replace(verifier(lab, sqlite_database), settings=Settings(home=tmp_path / "file"))
    (tmp_path / "file").write_text("no folder")
    assert lab.runner.run(verify_candidate(broken, candidate)) == "error"
    shown = read_candidate(READER, sqlite_database, candidate)
    assert shown["state"] == "error" and shown["error"]["code"] == "verification_broke" and shown["report_digest"] is None


def test_a_worker_that_lost_its_claim_writes_nothing(lab: Lab, sqlite_database: Database) -> None:
    candidate = submitted(lab, sqlite_database)
    first, second = (owners.register(sqlite_database, "worker", 60_000) for _ in range(2))

    async def overtaken() -> tuple[str | None, str]:
        task = asyncio.create_task(verify_candidate(verifier(lab, sqlite_database, first), candidate))
        await until_async(lambda: state_of(sqlite_database, candidate) == "verifying")
        owners.void(sqlite_database, owner=first)
        assert await asyncio.to_thread(claim_candidate, sqlite_database, candidate, second) is not None
        return await task, state_of(sqlite_database, candidate)

    assert lab.runner.run(overtaken()) == (None, "verifying")


def test_the_table_of_gates_is_the_interfaces_first_cut() -> None:
    assert (
        " ".join(gate.name for gate in GATES)
        == "spec imports ruff mypy examples properties effects policy tests mutation path compatibility rollback cost annotations"
    )
    assert all(gate.limit_s <= 300 for gate in GATES)
