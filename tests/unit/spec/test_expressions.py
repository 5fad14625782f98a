"""Keys: the restricted language, its agreement with CEL, and identities."""

from __future__ import annotations

import hashlib
import random
import time
from typing import Any

import pytest
import rfc8785

from app.core.errors import Invalid
from app.spec.cel_engine import compile_expression
from app.spec.expressions import IDENTITY_FORMAT, BadKey, compile_key, compile_value, effect_identity, run_identity

NAMES = ("a", "b2", "long_name", "Camel", "x")
TEXTS = ("", "plain", "ünïcode 💡", 'quote " inside', "back\\slash", "line\nbreak", "tab\t\x00\x1f\x7f", "it's", "\u2028")


def _scalar(rng: random.Random) -> Any:
    return rng.choice([rng.choice(TEXTS), rng.randint(-(2**53) + 1, 2**53 - 1), rng.randint(-9, 9), True, False])


def _tree(rng: random.Random, depth: int) -> dict[str, Any]:
    return {name: _tree(rng, depth - 1) if depth and rng.random() < 0.4 else _scalar(rng) for name in rng.sample(NAMES, 3)}


def _paths(tree: dict[str, Any], prefix: tuple[str, ...]) -> list[tuple[str, ...]]:
    found = []
    for name, value in tree.items():
        found += _paths(value, (*prefix, name)) if isinstance(value, dict) else [(*prefix, name)]
    return found


def test_keys_mean_what_the_cel_library_says_they_mean() -> None:
    rng = random.Random(20260301)
    for _ in range(500):
        args, item = _tree(rng, 2), _tree(rng, 2)
        parts = [".".join(path) for path in rng.choices(_paths(args, ("args",)) + _paths(item, ("item",)), k=rng.randint(1, 4))]
        parts += rng.sample(["'text'", '"other"', "7", "-3", "0"], rng.randint(0, 2))
        rng.shuffle(parts)
        text = "[" + rng.choice([", ", ",", " , "]).join(parts) + "]"
        expected = compile_expression(text).execute({"args": args, "item": item})
        assert compile_key(text).evaluate(args, item) == expected, text
        assert [type(value) for value in compile_key(text).evaluate(args, item)] == [type(value) for value in expected]


def test_an_identity_is_the_digest_of_the_rfc_8785_form() -> None:
    rng = random.Random(8785)
    for _ in range(500):
        key = [_scalar(rng) for _ in range(rng.randint(1, 5))]
        expected = hashlib.sha256(rfc8785.dumps([IDENTITY_FORMAT, "tenant", "tool", "send", *key])).hexdigest()
        assert effect_identity("tenant", "tool", "send", key) == expected
        assert run_identity(key).encode() == rfc8785.dumps(key)


def test_parts_of_a_key_cannot_run_together() -> None:
    assert effect_identity("t", "tool", "send", ["ab", "c"]) != effect_identity("t", "tool", "send", ["a", "bc"])
    assert effect_identity("t", "tool", "send", ["1"]) != effect_identity("t", "tool", "send", [1])
    assert effect_identity("t", "tool", "send", []) != effect_identity("t", "tool", "sen", ["d"])


def test_a_whole_number_is_one_key_however_it_is_written() -> None:
    assert compile_key("[item.n]").evaluate({}, {"n": 1.0}) == [1]


def test_a_bound_key_looks_the_arguments_up_once() -> None:
    bind = compile_key("[args.campaign, item.to, 'v1']").bind({"campaign": "c", "people": ["x"] * 100_000})
    assert bind({"to": "a"}) == ["c", "a", "v1"]
    assert bind({"to": "b"}) == ["c", "b", "v1"]


def test_a_key_and_its_identity_cost_microseconds() -> None:
    bind = compile_key("[args.campaign, args.template, item.to]").bind({"campaign": "c", "template": "t"})
    items = [{"to": f"user{number}@example.com"} for number in range(5000)]
    best = min(_timed(lambda: [effect_identity("default", "tool", "send", bind(item)) for item in items]) for _ in range(5))
    assert best / len(items) < 20e-6  # 4 µs on a quiet machine


def _timed(work: Any) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("args.a", "a list"),
        ("[]", "a list"),
        ("", "a list"),
        ("[args.a", "a list"),
        ("[args]", "a whole object"),
        ("[args.a,]", "after the last comma"),
        ("[,args.a]", "no path"),
        ("[args.a args.b]", "a comma"),
        ("[size(args.a)]", "only paths"),
        ("[args.a[0]]", "comma was expected"),
        ("[args['a']]", "a whole object"),
        ("[item.x + 1]", "only paths"),
        ("[-item.x]", "only paths"),
        ("['a\\n']", "only paths"),
        ("[other.a]", "no path of args or item"),
        ("[args.in]", "reserved word"),
        ("[1.5]", "only paths"),
        ("[[args.a]]", "no path"),
        ("[args.a == 1]", "only paths"),
        ("[args.a ? 1 : 2]", "only paths"),
        ("[args.a] // x", "only paths"),
    ],
)
def test_what_is_outside_the_language_is_refused_with_a_reason(text: str, said: str) -> None:
    with pytest.raises(BadKey, match=said):
        compile_key(text)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "is null"),
        ([], "is a list"),
        ({}, "is an object"),
        (1.5, "fraction"),
        (2**53, "exactly"),
        (float("inf"), "fraction"),
        ("\ud800", "surrogate"),
    ],
)
def test_a_value_that_identifies_nothing_is_refused(value: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said) as refusal:
        compile_key("[item.to]").evaluate({}, {"to": value})
    assert refusal.value.code == "key_unusable"


@pytest.mark.parametrize("item", [{}, {"to": "text"}, {"to": ["x"]}, {"to": None}])
def test_a_missing_path_is_refused(item: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=r"item\.to\.x is missing"):
        compile_key("[item.to.x]").evaluate({}, item)


def test_a_key_tells_its_paths_and_whether_it_varies() -> None:
    key = compile_key("[args.a.b, 'x', item.c]")
    assert key.paths == (("args", "a", "b"), ("item", "c"))
    assert key.varies_with("item")
    assert not compile_key("[args.a]").varies_with("item")


def test_single_values_may_be_of_any_type_where_a_scalar_is_not_asked_for() -> None:
    assert compile_value("item.body").evaluate({"item": {"body": {"a": 1}}}) == {"a": 1}
    assert compile_value("'all'").scalar({}) == "all"
    with pytest.raises(Invalid, match="is an object"):
        compile_value("item.body").scalar({"item": {"body": {}}})
    with pytest.raises(BadKey, match="one path or one literal"):
        compile_value("[item.a]")
