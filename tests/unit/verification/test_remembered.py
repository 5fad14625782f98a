"""Which tests say the same still, and what is therefore known of mutants."""

from __future__ import annotations

from typing import Any

import pytest

from app.verification.inside.remembered import Facts, Passes, Texts

SUITE = b"""
import pytest
from tool import RATES, run

CASES = [1, 2]


def made(n):
    return {"n": n}


def test_one() -> None:
    assert run(made(1)) == 1


@pytest.mark.parametrize("rate", ["low", ("a::b",), -1, RATES])
def test_two(rate: "str | int") -> None:
    assert run(made(2)) == 2


@pytest.mark.parametrize("n", CASES)
def test_three(n: int) -> None:
    assert run(made(n)) == n


class TestMore:
    def test_four(self) -> None:
        assert run(made(4)) == 4
"""
ONE, TWO = "test_tool.py::test_one", "test_tool.py::test_two[a::b]"
THREE, FOUR = "test_tool.py::test_three[1]", "test_tool.py::TestMore::test_four"


def texts(source: bytes = SUITE) -> Texts:
    found = Texts.of(source)
    assert found is not None
    return found


def edited(old: str, new: str) -> Texts:
    assert SUITE.count(old.encode()) == 1
    return texts(SUITE.replace(old.encode(), new.encode()))


def differing(other: Texts) -> set[str]:
    """What is another in a file: tests by name, and the context."""
    before = texts()
    names = {name for name in before.digests.keys() | other.digests.keys() if before.digests.get(name) != other.digests.get(name)}
    return names | ({"context"} if before.context != other.context else set())


@pytest.mark.parametrize(
    ("old", "new", "other"),
    [
        ("\n\ndef test_one", "\n\n# a remark\n\n\ndef test_one", set()),
        ("made(1)) == 1", "made(1)) == 3", {"test_one"}),
        ("\n\ndef test_one", "\n\ndef test_zero() -> None:\n    assert run\n\n\ndef test_one", {"test_zero"}),
        ('"low", ("a', '"high", ("a', {"test_two"}),
        ("made(n)) == n", "made(n)) != n", {"test_three"}),
        ('("n", CASES)', '("n", CASES[:1])', {"context", "test_three"}),
        ("made(4)) == 4", "made(4)) == 5", {"context"}),
        ('{"n": n}', '{"m": n}', {"context"}),
        ("run(made(2)) == 2", "test_one() == 2", {"context", "test_one", "test_two"}),
        ("CASES = [1, 2]", "CASES = [1, 2]\nNAMED = 'test_one'", {"context", "test_one"}),
        ("def test_one", "@pytest.fixture(name='made')\ndef test_one", {"context", "test_one"}),
    ],
)
def test_a_change_is_one_of_a_test_or_of_what_all_tests_stand_in(old: str, new: str, other: set[str]) -> None:
    assert differing(edited(old, new)) == other


@pytest.mark.parametrize(
    "head",
    [
        "@pytest.mark.parametrize('n', [made(1)])\ndef test_one(n) -> None:",
        "def test_one(n=CASES.append(3)) -> None:",
        "def test_one(n: CASES.append(3)) -> None:",
        "def test_one() -> made(1):",
        "@pytest.mark.parametrize('n', [(CASES := 1)])\ndef test_one(n) -> None:",
        "@pytest.mark.parametrize('n', [RATES.low])\ndef test_one(n) -> None:",
    ],
)
def test_what_runs_when_a_test_is_defined_is_part_of_the_context(head: str) -> None:
    assert "context" in differing(edited("def test_one() -> None:", head))


@pytest.mark.parametrize("source", [b"x = " + b"-" * 5000 + b"1", b"def test_x(:\n", b"x = 1\0"])
def test_a_text_that_cannot_be_read_has_no_tests_to_tell_apart(source: bytes) -> None:
    assert Texts.of(source) is None


def told(*mutants: list[Any], of: Texts) -> dict[str, Any]:
    facts = Facts(of, {place: (killed, tests) for place, killed, tests in mutants})
    said = facts.as_json()
    assert said is not None
    return said


def test_what_is_certain_is_read_as_it_was_told() -> None:
    rows: list[list[Any]] = [[0, True, [ONE]], [3, False, [THREE, TWO]], [4, True, [FOUR, ONE]]]
    assert Facts.read(told(*rows, of=texts()), texts()).known == {place: (killed, tests) for place, killed, tests in rows}


def test_of_a_changed_test_nothing_is_certain_any_more() -> None:
    former = told([0, True, [ONE]], [1, True, [ONE, TWO]], [2, True, [TWO]], [3, False, [ONE, FOUR]], of=texts())
    facts = Facts.read(former, edited("made(1)) == 1", "made(1)) == 3"))
    assert facts.known == {2: (True, [TWO]), 3: (False, [FOUR])}
    assert facts.killers == {1: TWO}, "what killed after a test that is another now is asked first"


@pytest.mark.parametrize("of", [edited("CASES = [1, 2]", "CASES = [1]"), None], ids=["another context", "nothing to tell tests by"])
def test_in_another_context_nothing_is_known(of: Texts | None) -> None:
    facts = Facts.read(told([0, True, [ONE]], of=texts()), of)
    assert not facts.known and not facts.killers


def test_a_test_that_passed_and_is_unchanged_has_passed() -> None:
    rows = [(ONE, {"outcome": "passed", "ms": 3}), (TWO, {"outcome": "failed", "ms": 1}), (FOUR, {"outcome": "passed", "ms": 0})]
    former = Passes.told(texts(), rows)
    found = Passes.read(former, edited("made(2)) == 2", "made(2)) == 3"))
    assert [found.passed(name) for name in (ONE, TWO, THREE, FOUR)] == [3, None, None, 0]
    assert Passes.read(former, edited("made(1)) == 1", "made(1)) == 3")).passed(ONE) is None
    assert Passes.read(former, edited("CASES = [1, 2]", "CASES = [1]")).passed(ONE) is None
    assert Passes.told(None, rows) is None and Passes.read(former, None).passed(ONE) is None
