"""A candidate is exactly two plain files; anything else says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from app.candidates.files import candidate_digest, checked_files
from app.core.errors import Invalid

TOOL, TESTS = {"path": "tool.py", "content": "x = 1\n"}, {"path": "test_tool.py", "content": "y = 1\n"}


def test_two_plain_files_are_accepted_in_a_fixed_order() -> None:
    assert [file.path for file in checked_files([TESTS, TOOL])] == ["tool.py", "test_tool.py"]
    assert checked_files([TESTS, TOOL]) == checked_files([TOOL, TESTS])


def test_the_digest_covers_the_contract_and_each_file() -> None:
    files = checked_files([TOOL, TESTS])
    other = checked_files([{**TOOL, "content": "x = 2\n"}, TESTS])
    swapped = checked_files([{**TOOL, "content": "y = 1\n"}, {**TESTS, "content": "x = 1\n"}])
    assert (
        len({candidate_digest("a", files), candidate_digest("b", files), candidate_digest("a", other), candidate_digest("a", swapped)}) == 4
    )


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ([TOOL], "$.files", "lacks test_tool.py"),
        ([], "$.files", "lacks tool.py"),
        ([TOOL, TESTS, {"path": "conftest.py", "content": ""}], "$.files[2].path", "not accepted"),
        ([TOOL, TESTS, {"path": "../tool.py", "content": ""}], "$.files[2].path", "not accepted"),
        ([TOOL, TESTS, {"path": "sitecustomize.py", "content": ""}], "$.files[2].path", "not accepted"),
        ([TOOL, TESTS, {"path": "tool.py\0.txt", "content": ""}], "$.files[2].path", "not accepted"),
        ([TOOL, TESTS, *({"path": f"f{n}.py", "content": ""} for n in range(100_000))], "$.files", "far more than two"),
        ([TOOL, TESTS, {"path": "./tool.py", "content": ""}], "$.files[2].path", "not accepted"),
        ([TOOL, TESTS, {"path": "Tool.py", "content": ""}], "$.files[2].path", "not accepted"),
        ([TOOL, TESTS, {"path": "tool.py\x00", "content": ""}], "$.files[2].path", "not accepted"),
        ([TOOL, TESTS, TOOL], "$.files[2].path", "twice"),
        ([TOOL, {**TESTS, "mode": "0755"}], "$.files[1]", "two texts"),
        ([TOOL, {"path": "test_tool.py", "content": b"bytes"}], "$.files[1]", "two texts"),
        (["tool.py", TESTS], "$.files[0]", "two texts"),
        ([{**TOOL, "content": "a\x00b"}, TESTS], "$.files[0].content", "U+0000 in line 1"),
        ([{**TOOL, "content": "a\n# x\rimport os\n"}, TESTS], "$.files[0].content", "U+000D in line 2"),
        ([{**TOOL, "content": "a\r\nb"}, TESTS], "$.files[0].content", "U+000D"),
        ([{**TOOL, "content": "a = '\u202e'"}, TESTS], "$.files[0].content", "U+202E"),
        ([{**TOOL, "content": "\ufeffa"}, TESTS], "$.files[0].content", "U+FEFF"),
        ([{**TOOL, "content": "'\ud800'"}, TESTS], "$.files[0].content", "surrogate"),
        ([{**TOOL, "content": "#!x\n# -*- coding: utf-7 -*-\n"}, TESTS], "$.files[0].content", "encoding of its own"),
        ([{**TOOL, "content": " \n"}, TESTS], "$.files[0].content", "empty"),
        ([{**TOOL, "content": "é" * 30_721}, TESTS], "$.files[0].content", "61442 bytes"),
        ([TOOL, {**TESTS, "content": "x" * 122_881}], "$.files[1].content", "122880 are allowed"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_how_to_mend_it(files: list[Any], path: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        checked_files(files)
    assert caught.value.code == "candidate_files_invalid"
    problem = next(problem for problem in caught.value.problems if problem.path == path and message in problem.message)
    assert problem.fix


def test_a_flood_of_entries_is_cut_short() -> None:
    with pytest.raises(Invalid) as caught:
        checked_files([TOOL] * 100_000)
    assert len(caught.value.problems) <= 20


def test_a_utf_8_comment_and_words_of_any_script_are_fine() -> None:
    content = "# -*- coding: utf-8 -*-\nGREETING = 'Grüße, שלום, 你好'\n"
    assert checked_files([{**TOOL, "content": content}, TESTS])[0].content == content
