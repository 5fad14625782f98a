"""A result answers again only where everything that it depends on is the same, and never where it was red once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from app.spec.catalog import ConnectorCatalog
from app.verification.findings import Finding, GateOutcome, GateResult
from app.verification.gates import GATES
from app.verification.keeping import key_of
from app.verification.kept_files import MOST, KeptFiles
from app.verification.line import Evidence, Gate, run_line
from app.verification.subject import PARTS, Bench, Replaced, Subject
from tests.support.bench import subject
from tests.support.specimens import specimen_spec

SUBJECT = subject()
BENCH = Bench(cast("Any", None), cast("Any", None), Path(), Path())
OTHERS: dict[str, Subject] = {
    "tool.py": replace(SUBJECT, files={**SUBJECT.files, "tool.py": "# other\n"}),
    "test_tool.py": replace(SUBJECT, files={**SUBJECT.files, "test_tool.py": "# other\n"}),
    "replaces": replace(SUBJECT, replaces=Replaced(1, SUBJECT.spec)),
    "generation_usd": replace(SUBJECT, generation_usd=Decimal("0.1")),
}
ALWAYS: dict[str, Subject] = {
    "tenant": replace(SUBJECT, tenant="other"),
    "tool": replace(SUBJECT, tool="other"),
    "spec": replace(SUBJECT, spec=specimen_spec(description="Greets each of them.")),
    "catalog": replace(SUBJECT, catalog=ConnectorCatalog()),
}


def keys(candidate: Subject, bench: Bench = BENCH) -> dict[str, str]:
    return {gate.name: key_of(gate.name, candidate.only(gate.of), bench, {}) for gate in GATES}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_key_changes_with_each_part_that_the_gate_is_handed_and_with_no_other(part: str) -> None:
    before, after = keys(SUBJECT), keys(OTHERS[part])
    assert {name for name in before if before[name] != after[name]} == {gate.name for gate in GATES if part in gate.of}


@pytest.mark.parametrize("part", sorted(ALWAYS))
def test_every_key_changes_with_tenant_tool_spec_and_catalogue(part: str) -> None:
    assert not set(keys(SUBJECT).values()) & set(keys(ALWAYS[part]).values())


def test_a_key_changes_with_settings_and_with_the_evidence_that_is_read() -> None:
    assert not set(keys(SUBJECT).values()) & set(keys(SUBJECT, replace(BENCH, mutation_score=0.7)).values())
    assert key_of("cost", SUBJECT, BENCH, {"path": {"wall_ms": 1}}) != key_of("cost", SUBJECT, BENCH, {"path": {"wall_ms": 2}})


def test_who_sent_it_and_as_what_changes_no_key() -> None:
    assert keys(SUBJECT) == keys(replace(SUBJECT, candidate_id="cand_2", author="key_other"))


def test_a_changed_test_leaves_all_but_five_gates_as_they_were() -> None:
    before, after = keys(SUBJECT), keys(OTHERS["test_tool.py"])
    assert [name for name in before if before[name] != after[name]] == ["spec", "imports", "ruff", "tests", "mutation"]


def counted(calls: list[str], outcomes: list[GateOutcome]) -> Gate:
    async def check(*_: object) -> GateOutcome:
        calls.append("ran")
        return outcomes[min(len(calls), len(outcomes)) - 1]

    return Gate("a", (), check)


def walk(gate: Gate, keeper: KeptFiles) -> GateResult:
    return asyncio.run(run_line([gate], SUBJECT, BENCH, keeper=keeper))[0]


def test_a_pass_answers_again_with_the_evidence_that_it_had_and_says_since_when(tmp_path: Path) -> None:
    warning = Finding("odd", "It is odd.", "Look.", "warning", input={"x": 1}, held_out=True)
    calls: list[str] = []
    gate = counted(calls, [GateOutcome([warning], {"cases": [{"name": "a", "passed": True}]})])
    first, second = (walk(gate, KeptFiles(tmp_path / "kept")) for _ in range(2))
    assert calls == ["ran"] and first.kept is None
    assert second.kept is not None and second.kept["candidate_id"] == "local" and second.kept["at"].startswith("20")
    assert replace(second, kept=None).as_dict() == first.as_dict() and second.as_dict()["kept"] == second.kept
    assert second.findings[0].held_out


def test_what_was_red_once_runs_each_time_and_is_not_kept_when_it_passes(tmp_path: Path) -> None:
    calls: list[str] = []
    gate = counted(calls, [GateOutcome([Finding("wrong", "It is wrong.", "Mend it.")]), GateOutcome()])
    keeper = KeptFiles(tmp_path)
    assert [walk(gate, keeper).status for _ in range(3)] == ["failed", "passed", "passed"]
    assert len(calls) == 3


def test_a_pass_that_is_red_later_is_forgotten(tmp_path: Path) -> None:
    keeper, passed = KeptFiles(tmp_path), GateResult("a", "passed")
    asyncio.run(keeper.keep("key", passed))
    asyncio.run(keeper.keep("key", GateResult("a", "failed")))
    assert asyncio.run(keeper.find("key")) is None


def test_a_gate_is_handed_the_facts_of_the_last_pass_on_the_same_tool(tmp_path: Path) -> None:
    handed: list[object] = []

    async def check(subject: Subject, _bench: Bench, seen: Evidence) -> GateOutcome:
        handed.append(seen.get("a"))
        failed = "red" in subject.files["test_tool.py"]
        return GateOutcome([Finding("wrong", "It is wrong.", "Mend it.")] if failed else [], facts={"n": len(handed)})

    gate, keeper = Gate("a", (), check, facts_of=frozenset({"tool.py"})), KeptFiles(tmp_path)
    for files in ({"test_tool.py": "1"}, {"test_tool.py": "2 red"}, {"test_tool.py": "3"}, {"test_tool.py": "4"}, {"tool.py": "other"}):
        candidate = replace(SUBJECT, files={**SUBJECT.files, **files})
        asyncio.run(run_line([gate], candidate, BENCH, keeper=keeper))
    assert handed == [None, {"n": 1}, {"n": 1}, {"n": 3}, None]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"result": {"gate": "a"}, "at": "x"}', "null"])
def test_a_file_that_is_not_whole_answers_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    assert asyncio.run(KeptFiles(tmp_path).find("key")) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_file_that_is_not_whole_holds_no_facts(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    assert asyncio.run(KeptFiles(tmp_path).recall("key")) is None


def test_only_the_newest_files_stay(tmp_path: Path) -> None:
    for number in range(MOST + 5):
        (tmp_path / f"old{number}").touch()
    asyncio.run(KeptFiles(tmp_path).keep("key", GateResult("a", "passed")))
    assert len(list(tmp_path.iterdir())) == MOST and (tmp_path / "key").exists()
