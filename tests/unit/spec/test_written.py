"""A spec in a file is read as strictly as the host reads its own."""

from __future__ import annotations

import pytest

from app.spec.written import read_json


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the name 'c' twice"),
        ("[" * 100_000, "nests deeper"),
        ("[" * 300 + "]" * 300, "nests deeper"),
        (f"[{'9' * 5000}]", "a whole number beyond 9007199254740991"),
        ("[9007199254740992]", "a whole number beyond 9007199254740991"),
        ("[1e999]", "too large"),
        ("[NaN]", "no JSON"),
        ("[-Infinity]", "no JSON"),
        ("{", "line 1 column 2"),
    ],
)
def test_what_readers_would_not_agree_on_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_json(text)


def test_everything_else_is_read() -> None:
    assert read_json('{"a": [1, -2.5, null, true, "x", 9007199254740991], "b": {}}') == {
        "a": [1, -2.5, None, True, "x", 2**53 - 1],
        "b": {},
    }
