"""Which changes a tool's tests are tried with."""

from __future__ import annotations

import ast
import textwrap

import pytest

from app.verification.inside.mutants import chosen, mutants


def _changes(source: str) -> list[tuple[str, bool, str]]:
    """Kind, whether it must be noticed, and the text of the whole module with the change; the tree is the same again afterwards."""
    tree = ast.parse(textwrap.dedent(source))
    before = ast.dump(tree)
    found = []
    for mutant in list(mutants(tree)):
        undo = mutant.apply()
        found.append((mutant.kind, mutant.must, ast.unparse(ast.fix_missing_locations(tree))))
        undo()
        assert ast.dump(tree) == before, mutant
    return found


def _texts(source: str, kind: str) -> list[str]:
    return [text for found, _, text in _changes(source) if found == kind]


@pytest.mark.parametrize(
    ("source", "kind", "changed"),
    [
        ("def run(args, ctx):\n    ctx.perform('send', make(args))", "effect_deleted", "__import__('toolkit').Outcome('done')"),
        ("def run(args, ctx):\n    for o in ctx.perform_each('send', items):\n        use(o)", "effect_deleted", "for o in iter(())"),
        ("def run(args, ctx):\n    a = ctx.perform_many('send', items)", "effect_deleted", "a = []"),
        ("def run(args, ctx):\n    ctx.perform('send', {'to': args['to']})", "item_changed", "{'to': None}"),
        ("def letter(to) -> SendItem:\n    return {'to': to}", "item_changed", "return {'to': None}"),
        ("def letters() -> Iterator[SendItem]:\n    yield {'to': x}", "item_changed", "yield {'to': None}"),
        ("item: SendItem = {'to': x}", "item_changed", "{'to': None}"),
        ("items = [SendItem(to=x, text=y)]", "item_changed", "SendItem(to=None, text=y)"),
        ("def f(x):\n    match x:\n        case [y] if y:\n            g()", "condition_negated", "case [y] if not y"),
        ("def f():\n    raise ToolError('no', 'text')", "raise_passed", "pass"),
        ("def f(x):\n    if x > 1:\n        g()", "condition_negated", "if not x > 1"),
        ("def f(x):\n    return [y for y in x if y]", "condition_negated", "if not y"),
    ],
)
def test_what_a_business_cannot_afford_to_miss_must_be_noticed(source: str, kind: str, changed: str) -> None:
    found = [(must, text) for name, must, text in _changes(source) if name == kind]
    assert found and all(must for must, _ in found)
    assert any(changed in text for _, text in found), found


@pytest.mark.parametrize(
    ("source", "kind", "changed"),
    [
        ("x = a < b", "comparison", "a <= b"),
        ("def f(x):\n    if x:\n        ctx.progress(1)\n    g()", "logic", "if not x"),
        ("item['to'] = x", "deleted", "pass"),
        ("x = a == b", "comparison", "a != b"),
        ("x = a in b", "comparison", "a not in b"),
        ("x = a and b", "logic", "a or b"),
        ("x = not a", "logic", "x = a"),
        ("x = a + b", "arithmetic", "a - b"),
        ("x += b", "arithmetic", "x -= b"),
        ("x += b", "deleted", "pass"),
        ("def f():\n    g()", "deleted", "pass"),
        ("x = a if b else c", "choice", "a if True else c"),
        ("x = 50", "constant", "51"),
        ("x = True", "constant", "False"),
        ("x = 'done'", "constant", "'done~'"),
        ("def f():\n    return x", "result", "return None"),
        ("for x in y:\n    continue", "flow", "break"),
        ("def f(x=3):\n    return x", "constant", "x=4"),
    ],
)
def test_other_changes_count_towards_the_score(source: str, kind: str, changed: str) -> None:
    assert any(changed in text for text in _texts(source, kind)), _changes(source)
    assert not any(must for name, must, _ in _changes(source) if name == kind)


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring."""',
        "from json import dumps",
        "def f(x: 'int' = g) -> 'str':\n    pass",
        "@decorated('x')\ndef f():\n    pass",
        "class Item(TypedDict):\n    to: str",
        "Kind = Literal['a', 'b']",
        "def f(ctx):\n    ctx.log('sent', number=1)\n    ctx.progress(1, 2)",
    ],
)
def test_what_no_test_should_pin_down_is_left_alone(source: str) -> None:
    assert _changes(source) == []


def test_the_text_of_an_error_is_left_alone_and_its_code_is_not() -> None:
    changed = [text for _, _, text in _changes("def f():\n    raise ToolError('no_such', 'There is none.')")]
    assert any("'no_such~'" in text for text in changed)
    assert not any("none.~" in text for text in changed)


def test_lines_that_are_there_to_be_noticed_take_no_place_from_those_that_matter() -> None:
    padding = "\n".join(f"    x.append({n})" for n in range(300))
    conditions = "\n".join(f"    if x:\n        x.append({n})" for n in range(50))
    tree = ast.parse(f"def pad(x):\n{padding}\n\n\ndef run(x):\n    y = x + 1\n{conditions}\n    return y * 2\n")
    found = list(mutants(tree))
    picked = chosen(found, tree, 80, "seed")
    assert picked == chosen(found, tree, 80, "seed") and len(picked) == 80 + 50
    assert sum(mutant.must for mutant in picked.values()) == 50, "what must be noticed is tried to the last"
    assert sum(mutant.line > 301 for mutant in picked.values() if not mutant.must) == 40, "each function has its turn"
