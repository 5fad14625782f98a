"""Hints are compared with what the gates' runs did: what promises more than was seen is refused, what was never done is unproved."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from app.verification.annotations_gate import check_annotations
from app.verification.findings import GateOutcome
from app.verification.subject import Bench, Subject
from tests.support.bench import rules, subject
from tests.support.specimens import SPEC, specimen_spec

BENCH = Bench(cast(Any, None), cast(Any, None), Path(), Path())
UNDOABLE = {**SPEC["effects"][0], "undo": {"effect": "send", "item": {"to": "item.to"}}, "undo_reason": None}


def proved(candidate: Subject, runs: int = 4, repeats: int = 2, added: int = 0, undone: Any = None, **effects: int) -> GateOutcome:
    facts = {"touched": {"runs": runs, "reads": {"sender": runs}, "effects": effects}, "repeats": {"calls": repeats, "added": added}}
    seen = {"examples": {"touched": facts["touched"]}, "effects": facts, "rollback": {"undone": undone or {}}}
    return asyncio.run(check_annotations(candidate, BENCH, seen))


def test_what_spec_and_runs_agree_on_is_proved() -> None:
    outcome = proved(subject(), send=3)
    assert outcome.passed and not outcome.findings
    assert outcome.evidence["hints"] == outcome.evidence["declared"]
    assert outcome.evidence["hints"] == {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True, "openWorldHint": True}
    assert outcome.evidence["effects"] == {"send": 6} and outcome.evidence["runs"] == 8 and all(outcome.evidence["proved"].values())


def test_an_effect_that_no_run_has_done_is_refused_though_examples_name_it() -> None:
    outcome = proved(subject())
    assert rules(outcome.findings) == ["effect_never_done"] and not outcome.passed
    assert outcome.evidence["hints"]["readOnlyHint"] is False  # what is declared may happen one day: the more careful word counts
    assert outcome.evidence["proved"]["effect send"] is False


def test_an_effect_of_a_tool_that_declares_none_contradicts_two_hints() -> None:
    outcome = proved(subject(spec=specimen_spec(effects=[], invariants=[], examples=[])), send=1)
    assert set(rules(outcome.findings)) == {"hint_contradicted"}
    assert [finding.message.partition(":")[0] for finding in outcome.findings] == ["readOnlyHint", "destructiveHint"]
    assert outcome.evidence["hints"]["readOnlyHint"] is False and outcome.evidence["proved"]["readOnlyHint"] is False


def test_a_way_back_that_no_run_has_gone_makes_a_tool_destructive() -> None:
    candidate = subject(spec=specimen_spec(effects=[UNDOABLE]))
    assert proved(candidate, send=1, undone={"send": True}).evidence["hints"]["destructiveHint"] is False
    outcome = proved(candidate, send=1, undone={"send": False})
    assert rules(outcome.findings) == ["hint_contradicted"] and "has undone all that was done: send" in outcome.findings[0].message
    assert outcome.evidence["hints"]["destructiveHint"] is True


def test_a_tool_that_goes_on_when_called_again_is_listed_as_such_and_not_refused() -> None:
    outcome = proved(subject(), send=1, added=2)
    assert outcome.passed and rules(outcome.findings) == ["hint_contradicted"]
    assert outcome.evidence["hints"]["idempotentHint"] is False and outcome.evidence["proved"]["idempotentHint"] is True
    assert not proved(subject(), send=1, repeats=0).passed


def test_a_read_that_no_run_has_made_is_told() -> None:
    spare = {"id": "spare", "connector": "records.get", "config": {"collection": "other"}}
    outcome = proved(subject(spec=specimen_spec(reads=[*SPEC["reads"], spare])), send=1)
    assert outcome.passed and rules(outcome.findings) == ["read_never_made"]


def test_gates_that_left_no_facts_prove_nothing() -> None:
    outcome = asyncio.run(check_annotations(subject(), BENCH, {"examples": {}, "effects": {}, "rollback": {}}))
    assert not outcome.passed and outcome.evidence["runs"] == 0
    assert outcome.evidence["hints"] == {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True}
