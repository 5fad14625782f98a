"""Which paths a CEL text names, and binding only those."""

from __future__ import annotations

import pytest

from app.spec.cel_engine import compile_expression, variables
from app.spec.paths import bind, macro_depth, names_in


@pytest.mark.parametrize(
    ("text", "paths", "functions"),
    [
        ("result.sent == effects.send.done", {"result.sent", "effects.send.done"}, set()),
        ("size(args.people) == result.a.b", {"args.people", "result.a.b"}, {"size"}),
        ("args.people.size() > 0", {"args.people"}, {"size"}),
        ("args.list[0].name == 'args.other'", {"args.list"}, set()),
        ("result.items.all(x, x.ok && x.n < args.max)", {"result.items", "args.max"}, {"all"}),
        ("result.rows.exists(r, r.cells.all(c, c == args.v))", {"result.rows", "args.v"}, {"exists", "all"}),
        ('has(args.note) ? args.note != "it\'s args.x" : true', {"args.note"}, {"has"}),
        ("args . a  .b == 1 // args.c", {"args.a.b"}, set()),
        ("1.5e3 + 0x1F > args.n && 'x' in args.set", {"args.n", "args.set"}, set()),
        ('r"\\d" == args.a || """args.b""" == \'\'\'args.c\'\'\'', {"args.a"}, set()),
        ("args", {"args"}, set()),
    ],
)
def test_named_paths_are_found(text: str, paths: set[str], functions: set[str]) -> None:
    compile_expression(text)
    names = names_in(text)
    assert {".".join(path) for path in names.paths} == paths
    assert names.functions == functions


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("size(args.a) == (1 + 2)", 0),
        ("args.a.filter(x, x > 1).map(x, x + 1).all(x, x > 2)", 1),
        ("args.a.all(x, args.b.exists(y, (x == y)) && args.c.exists_one(z, z == x))", 2),
        ("args.a . all (x, [1].map(y, [2].filter(z, z == x)).size() > 0)", 3),
        (r"r'\' == '' || args.a.all(x, args.b.all(y, args.c.all(z, x == y + z + '')))", 3),
        (r"'''\''' all(''' == '' || args.a.all(x, 'all((' == x) // all(((", 1),
    ],
)
def test_how_deep_macros_nest_is_counted_outside_texts_and_comments(text: str, depth: int) -> None:
    compile_expression(text)
    assert macro_depth(text) == depth


def test_no_root_that_the_library_sees_is_missed() -> None:
    for text in ("args.a + result.b == effects.c.done", "[1, 2].map(q, q * args.k).exists(z, z == result.m)", "{'a': args.z}.a == 1"):
        free = {path[0] for path in names_in(text).paths}
        assert {"args", "result", "effects"} & variables(text) <= free


def test_only_named_parts_are_bound_and_absent_ones_stay_absent() -> None:
    roots = {"args": {"big": [0] * 1000, "a": {"b": 1, "c": 2}}, "result": {"n": 3}}
    assert bind([("args", "a", "b"), ("args", "zip"), ("result", "n"), ("nowhere", "x")], roots) == {
        "args": {"a": {"b": 1}},
        "result": {"n": 3},
    }


def test_a_shorter_path_binds_the_whole() -> None:
    roots = {"args": {"a": {"b": 1, "c": 2}}}
    assert bind([("args", "a", "b"), ("args", "a")], roots) == roots
