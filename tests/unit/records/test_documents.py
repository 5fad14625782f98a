"""What a record may be: everything both databases can hold and search, and canonical JSON can say; nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import Invalid
from app.records.documents import body_text, check_body, check_collection, check_filter, check_key
from app.spec.canonical import canonical_bytes


def nested(depth: int) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for _ in range(depth - 1):
        body = {"x": body}
    return body


@pytest.mark.parametrize("name", ["customers", "a", "email_templates2", "a" * 64])
def test_collection_names(name: str) -> None:
    check_collection(name)


@pytest.mark.parametrize("name", ["", "A", "1a", "a-b", "a b", "a" * 65, "ä", "a\n", "../a"])
def test_names_that_are_no_collection(name: str) -> None:
    with pytest.raises(Invalid, match="collection_invalid"):
        check_collection(name)


@pytest.mark.parametrize("key", ["a", " ", "é/?#", "x" * 512, "🎈"])
def test_keys_that_can_be_stored(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize("key", ["", "x" * 513, "a\x00", "a\n", "\ud800", "\x7f"])
def test_keys_that_cannot_be_stored(key: str) -> None:
    with pytest.raises(Invalid, match="key_invalid"):
        check_key(key)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"a": "\\u0000"},
        {"n": 2**53 - 1},
        {"t": "1234567890123456789"},
        nested(64),
        {"x": "é" * 100_000},
        {"l": [{}] * 1000},
        {"f": 1e300},
    ],
)
def test_bodies_that_can_be_stored(body: dict[str, Any]) -> None:
    assert check_body(body)
    assert canonical_bytes(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ([], "must be a JSON object"),
        ("x", "must be a JSON object"),
        ({"a": "\x00"}, "NUL"),
        ({"\x00": 1}, "NUL"),
        ({"a": "\ud800"}, "surrogates"),
        ({"a": float("nan")}, "no JSON"),
        ({"a": float("inf")}, "no JSON"),
        ({"a": {1, 2}}, "no JSON"),
        ({"a": 2**53}, "beyond"),
        ({"a": [-(2**53)]}, "beyond"),
        (nested(65), "deeper than 64"),
        ({"x": "a" * (256 * 1024)}, "limit is 262144"),
        ({"x": "é" * (128 * 1024)}, "limit is 262144"),
    ],
)
def test_bodies_that_cannot_be_stored(body: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        body_text(body)
    with pytest.raises(Invalid, match="record_invalid"):
        check_body(body)


def test_a_body_that_contains_itself_is_refused() -> None:
    body: dict[str, Any] = {}
    body["x"] = body
    with pytest.raises(ValueError, match="no JSON"):
        body_text(body)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        "x",
        {"a": {}},
        {"a": []},
        {"a": [[1]]},
        {'a"b': 1},
        {"a\\b": 1},
        {"": 1},
        {"a": "\x00"},
        {"a": "\ud800"},
        {"a": float("nan")},
        {"a": 2**53},
        {str(i): 1 for i in range(9)},
        {"a": list(range(101))},
    ],
)
def test_filters_that_cannot_be_used(wrong: Any) -> None:
    with pytest.raises(Invalid, match="filter_invalid") as refused:
        check_filter(wrong)
    assert refused.value.problems[0].path.startswith("$.filter")
