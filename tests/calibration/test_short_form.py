"""The short form of `make calibrate`: the set is whole, and each gate sees a defect that it should see."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.settings import Settings
from app.verification.findings import Finding, GateResult
from app.verification.gates import GATES
from app.verification.rubric import DIMENSIONS
from tests.calibration.__main__ import proven_sandbox
from tests.calibration.defect import FAMILIES, Change, Defect, SetBroken, seeded
from tests.calibration.judging import RUBRIC, Judged, judge_defect, judge_tool, verdict_of
from tests.calibration.shape import shapes
from tests.calibration.table import MOST_S, broken_promises, printed

SHAPES = {shape.name: shape for shape in shapes()}
LEAST_SHAPES, LEAST_DEFECTS = 10, 16
ONE_FOR_EACH_GATE = {
    "spec": ("pure_computation", "a_field_that_is_not_described"),
    "imports": ("pure_computation", "a_counter_of_orders_is_kept_in_the_module"),
    "ruff": ("pure_computation", "whatever_a_line_breaks_counts_as_nothing"),
    "mypy": ("pure_computation", "amounts_are_given_as_text"),
    "examples": ("pure_computation", "prices_are_binary_floating_point"),
    "properties": ("pure_computation", "a_day_that_is_not_in_the_calendar_breaks_the_run"),
    "effects": ("load", "what_became_of_the_receipt_is_not_looked_at"),
    "policy": ("pure_computation", "rates_are_read_from_records_without_being_declared"),
    "tests": ("pure_computation", "a_month_is_thirty_days"),
    "mutation": ("pure_computation", "a_suite_of_totals_alone"),
    "path": ("pure_computation", "the_customer_is_logged"),
    "compatibility": ("load", "a_later_version_knows_imports_without_their_parts"),
    "rollback": ("mail", "a_call_that_has_nobody_left_to_write_to_is_an_error"),
    "cost": ("mail", "the_baseline_names_a_model_without_a_price"),
}
JUDGED_BY_OTHERS = {"annotations"}
"""Gates that run nothing of their own: what they refuse, a gate whose runs they read has refused before."""


@pytest.mark.parametrize("name", SHAPES)
def test_every_defect_fits_the_correct_tool_once(name: str) -> None:
    shape = SHAPES[name]
    assert len(shape.defects) >= LEAST_DEFECTS
    assert [name for name, count in Counter(defect.name for defect in shape.defects).items() if count > 1] == []
    known = {gate.name for gate in GATES} | {RUBRIC}
    for defect in shape.defects:
        assert seeded(shape.files, defect) != shape.files
        assert defect.gates and set(defect.gates) <= known, defect.name
        assert defect.rules or not defect.grave, f"{defect.name}: by which rule is it to be seen?"


def test_the_set_holds_enough_shapes_and_every_family() -> None:
    assert len(SHAPES) >= LEAST_SHAPES
    assert {defect.family for shape in SHAPES.values() for defect in shape.defects} == set(FAMILIES)
    assert ONE_FOR_EACH_GATE.keys() | JUDGED_BY_OTHERS == {gate.name for gate in GATES}


@pytest.mark.timeout(300)
def test_each_gate_sees_a_defect_that_it_should_see_and_no_correct_tool(tmp_path: Path) -> None:
    async def judged() -> list[Judged]:
        settings = Settings(home=tmp_path)
        async with proven_sandbox(tmp_path) as sandbox:
            found = [await judge_tool(SHAPES["pure_computation"], sandbox, settings)]
            for gate, (shape, name) in ONE_FOR_EACH_GATE.items():
                defect = next(defect for defect in SHAPES[shape].defects if defect.name == name)
                assert gate in defect.gates
                found.append(await judge_defect(SHAPES[shape], defect, sandbox, settings))
            return found

    found = asyncio.run(judged())
    assert [(each.shape, each.defect and each.defect.name, each.verdict, each.by) for each in found if each.verdict not in _GOOD] == []
    assert broken_promises([replace(each, seconds=0.0) for each in found]) == [], "what it takes beside other tests says nothing"
    table = printed(found, Settings(home=tmp_path))
    assert all(re.search(rf"^{name} +\d\.\d\d +\d\.\d\d to ", table, re.MULTILINE) for name in DIMENSIONS), table


_GOOD = ("passed", "caught")


def test_what_is_not_seen_is_told_and_breaks_the_promise() -> None:
    defect = Defect("nothing_at_all", "money", "examples", (Change("tool.py", "x = 1", "x  = 1"),), grave=True)
    mild = replace(defect, grave=False)
    missed, caught = (Judged("shape", defect, verdict, (), (), 1.0) for verdict in ("missed", "caught"))
    refused = Judged("shape", None, "refused", ("ruff",), (), 1.0)
    assert broken_promises([caught]) == []
    assert len(broken_promises([caught, missed, refused])) == 3
    assert len(broken_promises([Judged("shape", defect, "accident", ("mypy",), (), 1.0)])) == 2
    slow = Judged("shape", None, "passed", (), (), MOST_S + 1)
    assert broken_promises([slow, replace(slow, seconds=MOST_S)]) == ["the correct tool shape took 46 s; 45 s is asked for"]
    assert len(broken_promises([caught] * 99 + [Judged("shape", mild, "broke", (), (), 1.0, "why")])) == 1


def test_a_defect_that_is_seen_by_another_gate_or_another_rule_was_seen_by_accident() -> None:
    defect = Defect("nothing_at_all", "money", ("examples", "tests"), (), rule=("example_effect", "example_result"))
    results = [
        GateResult("examples", "failed", findings=(Finding("example_crash", "It broke.", "Mend it."),)),
        GateResult("effects", "failed", findings=(Finding("example_effect", "It differs.", "Mend it."),)),
    ]
    assert verdict_of(defect, results, ("examples", "effects")) == "accident"
    assert verdict_of(replace(defect, rule="example_crash"), results, ("examples",)) == "caught"
    assert verdict_of(replace(defect, rule=()), results, ("examples",)) == "caught"
    assert verdict_of(replace(defect, gate="tests", rule=()), results, ("examples",)) == "accident"


@pytest.mark.parametrize("old", ["twice", "never"])
def test_a_defect_that_does_not_fit_breaks_the_set(old: str) -> None:
    files = {"tool.py": "twice = twice", "spec.json": "{}", "test_tool.py": ""}
    with pytest.raises(SetBroken, match="this occurs"):
        seeded(files, Defect("x", "money", "examples", (Change("tool.py", old, "y"),)))
