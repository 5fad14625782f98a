"""What an author's tests may be made of: honest suites have no finding, each way of cheating is refused by its rule, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.verification.inside.allowlist import examine
from tests.support.snippets import parts

ROOT = Path(__file__).parents[3]
SUITES = sorted([*ROOT.glob("generated_tools/*/*/test_tool.py"), *ROOT.glob("tests/calibration/shapes/*/test_tool.py")])
HEAD = "import pytest\nfrom tool import run\nfrom toolkit.testing import trial\n"

SNIPPETS = Path(__file__).with_name("snippets")
HONEST = [(name, code) for (name,), code in parts(SNIPPETS / "honest_suites.txt")]
CHEATS = [(name, rule, code) for (name, rule), code in parts(SNIPPETS / "cheating_suites.txt")]


def rules(suite: str) -> list[str]:
    return [str(row["rule"]) for row in examine(suite, "test_tool.py", frozenset({"codec"}))[0]]


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.parent.name)
def test_suites_of_careful_authors_pass(path: Path) -> None:
    assert examine(path.read_text(encoding="utf-8"), "test_tool.py")[0] == []


@pytest.mark.parametrize(("name", "suite"), HONEST, ids=[part[0] for part in HONEST])
def test_what_honest_tests_are_made_of_passes(name: str, suite: str) -> None:
    assert examine(HEAD + suite, "test_tool.py")[0] == []


@pytest.mark.parametrize(("name", "rule", "suite"), CHEATS, ids=[cheat[0] for cheat in CHEATS])
def test_a_suite_that_cheats_is_refused_with_the_reason(name: str, rule: str, suite: str) -> None:
    rows = [row for row in examine(HEAD + suite, "test_tool.py", frozenset({"codec"}))[0] if row["rule"] == rule]
    assert rows, rules(HEAD + suite)
    assert all(int(str(row["line"])) > 3 and str(row["message"]).endswith(".") and str(row["fix"]).endswith(".") for row in rows)


def test_there_are_enough_ways_of_cheating() -> None:
    assert len(SUITES) >= 2 and len({name for name, *_ in CHEATS}) == len(CHEATS) >= 40
