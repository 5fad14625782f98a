"""The demo's closing table fits a terminal."""

from __future__ import annotations

from tests.demo.promises import Promises


def test_the_table_stays_within_120_columns_and_loses_no_word() -> None:
    promises = Promises()
    promises.check("a promise of " + "many words " * 12, [(404, "tool_not_found")] * 6, "x" * 90)
    promises.check("short", 1, 1)
    lines = promises.table().splitlines()
    assert max(map(len, lines)) <= 120
    assert " ".join(lines).count("words") == 12 and "".join(lines).count("tool_not_found") == 6 and "".join(lines).count("x") == 90
    assert lines[-1].split() == ["short", "1", "1", "kept"]
