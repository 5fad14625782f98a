"""The page "What happens when…" says what tests show: each row names at least one, and each that is named exists."""

from __future__ import annotations

import re

from tests.architecture.sources import ROOT, modules_under

PAGE = ROOT / "docs" / "what_happens_when.md"
COLUMNS = ("When", "What the caller sees", "What the ledger shows", "What a person must do", "Test")


def _rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not set("".join(row)) <= set("-: ") and row != list(COLUMNS)]


def test_each_row_says_everything_and_names_a_test_that_exists() -> None:
    known = {node.name for module in modules_under("tests") for node in module.functions() if node.name.startswith("test_")}
    assert len(_rows()) >= 40
    for row in _rows():
        assert len(row) == len(COLUMNS) and all(row), row
        named = re.findall(r"`(test_\w+)`", row[-1])
        assert named, row
        assert set(named) <= known, (row[0], set(named) - known)
