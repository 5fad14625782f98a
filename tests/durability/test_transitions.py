"""Every line of the diagrams and every row of the table of second items is reached by a test that can be named.

It refuses to be: those tests. It notices a transition or a row that was added without one.
"""

from __future__ import annotations

import re

import pytest

from app.runtime.state import COUNTED, EFFECT_MOVES, RUN_MOVES
from tests.durability.chapters import CHAPTERS, REACHED
from tests.support.processes import ROOT

KILLS = "tests/durability/test_fault_points.py::test_a_process_killed_at_any_point_leaves_the_ledger_of_a_clean_run"
TABLES = "tests/integration/runtime/test_tables.py"
EFFECTS = "tests/integration/runtime/test_effects.py"
ROW = f"{TABLES}::test_each_row_of_the_table_of_existing_states"
ROWS: dict[str, tuple[str, ...]] = {
    "an earlier item of this run": (f"{EFFECTS}::test_equal_addresses_in_one_run_are_sent_to_once", ROW),
    "planned, cancelled": (ROW,),
    "claimed or performing elsewhere": (f"{TABLES}::test_what_another_run_performs_is_waited_for_and_then_skipped", ROW),
    "done by this very item (a resume)": (
        "tests/unit/runtime/test_state.py::test_a_second_item_with_the_same_key_gets_what_the_table_says",
        KILLS,
    ),
    "done by another run": (
        f"{EFFECTS}::test_a_second_run_skips_what_the_first_did_and_does_the_rest",
        f"{EFFECTS}::test_other_content_under_the_same_key_is_skipped_and_said_to_differ",
    ),
    "in the retry queue": (ROW,),
    "unknown": (ROW, f"{EFFECTS}::test_a_lost_reply_is_an_unknown_that_is_held_and_never_repeated"),
    "failed, dead, abandoned": (ROW, f"{EFFECTS}::test_what_failed_is_planned_again_only_where_the_spec_says_so"),
}


def lines() -> list[str]:
    """Every transition of both machines: `effect.planned-claimed`."""
    machines = {"effect": EFFECT_MOVES, "run": RUN_MOVES}
    return [f"{name}.{before}-{after}" for name, moves in machines.items() for before, afters in moves.items() for after in sorted(afters)]


def test_every_line_of_the_diagrams_is_reached_by_a_named_test() -> None:
    reached_by = {line: f"{KILLS}[{chapter}]" for chapter in CHAPTERS for line in REACHED[chapter]}
    assert sorted(reached_by) == sorted(lines()), "a line without a test, or a test of a line that is gone"


def test_every_row_of_the_table_of_second_items_has_its_tests() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text.partition("A second item with the same key gets")[2].partition("\n\nA run:")[0]
    rows = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[1:]
    assert sorted(rows) == sorted(ROWS)
    named = {state for row in rows for state in COUNTED if re.search(rf"\b{state}\b", row)}
    assert named | {"retry_wait"} == set(COUNTED), "a state that the table does not speak of"


@pytest.mark.parametrize("test", sorted({test for tests in ROWS.values() for test in tests} | {KILLS}))
def test_a_test_that_is_named_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), test
