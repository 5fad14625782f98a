"""Small changes to a tool that its tests should notice: each a mutant with its line, its kind and what it does.

`must` kinds are those that a business cannot afford to miss: an effect that is not performed, another item, an error that is passed over,
a condition the other way round. Left alone: annotations, docstrings, imports, decorators, error texts, and what only names a log line.

It refuses to be: a judge. It makes the changes; who runs the tests says which were noticed.
"""

from __future__ import annotations

import ast
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MUST = frozenset({"effect_deleted", "item_changed", "raise_passed", "condition_negated"})
DONE = "__import__('toolkit').Outcome('done')"
"""The outcome that stands in for one that is not asked for; it needs no name in the module, by which tests could tell it."""

_PERFORMS = {"perform": DONE, "perform_each": "iter(())", "perform_many": "[]"}
_QUIET_CALLS = frozenset({"log", "progress"})
_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
}
_Do = Callable[[], Callable[[], None]]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change. `apply` makes it in the tree and returns what undoes it; `what` says it in words."""

    kind: str
    line: int
    what: str
    apply: _Do

    @property
    def must(self) -> bool:
        """Whether tests that miss it are refused whatever else they notice."""
        return self.kind in MUST


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its text; one is applied at a time."""
    yield from _block(tree.body, frozenset())


def chosen(found: Sequence[Mutant], tree: ast.Module, others: int, seed: str) -> dict[int, Mutant]:
    """All that must be noticed, and of the others a sample, by their places and in the order of the text.

    Each function and class has its turn, as long as it has any left, and what stands at the top level: lines that are there to be noticed
    easily take no place from those that matter.
    """
    starts = [statement.lineno for statement in tree.body if isinstance(statement, ast.FunctionDef | ast.ClassDef)]
    rest: dict[int, list[int]] = {}
    for place, mutant in enumerate(found):
        if not mutant.must:
            rest.setdefault(bisect_right(starts, mutant.line), []).append(place)
    lots = random.Random(seed)  # noqa: S311 - a sample that can be drawn again
    turns = [(turn, lots.random(), place) for group in rest.values() for turn, place in enumerate(lots.sample(group, len(group)))]
    drawn = {place for _, _, place in sorted(turns)[:others]}
    return {place: mutant for place, mutant in enumerate(found) if mutant.must or place in drawn}


def _block(body: list[ast.stmt], inside: frozenset[str]) -> Iterator[Mutant]:
    for index, statement in enumerate(body):
        if _is_text(statement) or isinstance(statement, ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal | ast.Pass):
            continue
        yield from _of_statement(body, index, statement, inside)


def _of_statement(body: list[ast.stmt], index: int, statement: ast.stmt, inside: frozenset[str]) -> Iterator[Mutant]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            for default in [*statement.args.defaults, *(each for each in statement.args.kw_defaults if each is not None)]:
                yield from _expressions(default, inside)
            yield from _block(statement.body, frozenset({"makes_item"}) if _is_item(statement.returns) else frozenset())
        case ast.ClassDef():
            yield from _block(statement.body, frozenset({"class"}))
        case ast.Raise():
            yield Mutant("raise_passed", statement.lineno, f"`{_text(statement)}` is passed over", _put(body, index, ast.Pass()))
            if isinstance(statement.exc, ast.Call) and _named(statement.exc) == "ToolError":
                for code in statement.exc.args[:1]:  # the rest is text, which no test should pin down
                    yield from _expressions(code, inside)
        case ast.If() | ast.While():
            if not isinstance(statement, ast.While):
                yield from _negated(statement)
            yield from _expressions(statement.test, inside)
            yield from _block(statement.body, inside)
            yield from _block(statement.orelse, inside)
        case ast.Continue() | ast.Break():
            other = ast.Break() if isinstance(statement, ast.Continue) else ast.Pass()
            yield Mutant("flow", statement.lineno, f"`{_text(statement)}` became `{_text(other)}`", _put(body, index, other))
        case ast.Return(value=ast.expr() as value) if not _is_constant(value, None):
            yield Mutant("result", statement.lineno, f"`{_text(statement)}` gives None", _set(statement, "value", ast.Constant(None)))
            yield from _expressions(value, _item(inside, "makes_item" in inside))
        case ast.AnnAssign(value=ast.expr() as value) if _is_item(statement.annotation):
            yield from _expressions(value, _item(inside, True))
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield Mutant("deleted", statement.lineno, f"`{_text(statement)}` is left out", _put(body, index, ast.Pass()))
            yield from _expressions(statement.value, inside)
        case ast.AugAssign():
            yield Mutant("deleted", statement.lineno, f"`{_text(statement)}` is left out", _put(body, index, ast.Pass()))
            yield from _operator(statement, statement.op, statement.lineno)
            yield from _expressions(statement.value, inside)
        case ast.Expr(value=ast.Call() as call) if not _quiet(call):
            if _performing(call) is None:
                yield Mutant("deleted", statement.lineno, f"`{_text(statement)}` is left out", _put(body, index, ast.Pass()))
            yield from _expressions(call, inside)
        case ast.AnnAssign() if "class" in inside:  # a field of a typed dictionary or dataclass
            if statement.value is not None:
                yield from _expressions(statement.value, inside)
        case _:
            yield from _parts(statement, inside)


def _parts(statement: ast.stmt, inside: frozenset[str]) -> Iterator[Mutant]:
    """Mutants of any other statement: of its expressions, then of the blocks in it."""
    for name, value in ast.iter_fields(statement):
        if name in ("annotation", "target", "targets", "type_params", "optional_vars"):
            continue
        if isinstance(value, ast.expr):
            yield from _expressions(value, inside)
        elif isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield from _block(value, inside)
        elif isinstance(value, list):
            for part in value:
                yield from _of_part(part, inside)


def _of_part(part: object, inside: frozenset[str]) -> Iterator[Mutant]:
    match part:
        case ast.expr():
            yield from _expressions(part, inside)
        case ast.withitem():
            yield from _expressions(part.context_expr, inside)
        case ast.match_case(guard=ast.expr() as guard):
            yield Mutant("condition_negated", guard.lineno, f"`if {_text(guard)}` became its opposite", _set(part, "guard", _not(guard)))
            yield from _expressions(guard, inside)
            yield from _block(part.body, inside)
        case ast.ExceptHandler() | ast.match_case():
            yield from _block(part.body, inside)


def _negated(statement: ast.If) -> Iterator[Mutant]:
    kind = "logic" if all(_only_tells(part) for part in (*statement.body, *statement.orelse)) else "condition_negated"
    what = f"`if {_text(statement.test)}` became its opposite"
    yield Mutant(kind, statement.lineno, what, _set(statement, "test", _not(statement.test)))


def _not(test: ast.expr) -> ast.expr:
    return test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else ast.UnaryOp(ast.Not(), test)


def _only_tells(statement: ast.stmt) -> bool:
    """Whether a statement does no more than say how far the tool is."""
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and _quiet(statement.value)
    )


def _expressions(node: ast.expr, inside: frozenset[str]) -> Iterator[Mutant]:
    """Mutants of an expression and of all in it; `inside` says of what it is a part."""
    match node:
        case ast.Call():
            yield from _call(node, inside)
            return
        case ast.Subscript(value=ast.Name(id="Literal")):  # a type
            return
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                other = _COMPARED[type(operator)]()
                changed = ast.Compare(node.left, [*node.ops[:index], other, *node.ops[index + 1 :]], node.comparators)
                what = f"`{_text(node)}` became `{_text(changed)}`"
                yield Mutant("comparison", node.lineno, what, _put(node.ops, index, other))
        case ast.BoolOp():
            other_op: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            what = f"`{_text(node)}` became `{_text(ast.BoolOp(other_op, node.values))}`"
            yield Mutant("logic", node.lineno, what, _set(node, "op", other_op))
        case ast.UnaryOp(op=ast.Not()):
            yield Mutant("logic", node.lineno, f"`{_text(node)}` became its opposite", _become(node, node.operand))
        case ast.BinOp():
            yield from _operator(node, node.op, node.lineno)
        case ast.IfExp():
            yield Mutant("choice", node.lineno, f"`{_text(node)}` always takes the first", _set(node, "test", ast.Constant(True)))
            yield Mutant("choice", node.lineno, f"`{_text(node)}` always takes the second", _set(node, "test", ast.Constant(False)))
        case ast.Constant():
            yield from _constant(node)
        case ast.Yield(value=ast.expr() as value):
            yield from _expressions(value, _item(inside, "makes_item" in inside))
            return
        case ast.Dict() if "item" in inside:
            for index, value in enumerate(node.values):
                if _is_constant(value, None):
                    continue
                name = _text(node.keys[index]) if node.keys[index] is not None else "**"
                what = f"the item's {name} became None"
                yield Mutant("item_changed", value.lineno, what, _put(node.values, index, ast.Constant(None)))
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield from _expressions(child, inside)
        elif isinstance(child, ast.comprehension):
            yield from _comprehension(child, inside)


def _comprehension(node: ast.comprehension, inside: frozenset[str]) -> Iterator[Mutant]:
    yield from _expressions(node.iter, inside)
    for index, condition in enumerate(node.ifs):
        what = f"`if {_text(condition)}` became its opposite"
        yield Mutant("condition_negated", condition.lineno, what, _put(node.ifs, index, _not(condition)))
        yield from _expressions(condition, inside)


def _call(node: ast.Call, inside: frozenset[str]) -> Iterator[Mutant]:
    instead = _performing(node)
    if instead is not None:
        replaced = ast.parse(instead, mode="eval").body
        yield Mutant("effect_deleted", node.lineno, f"`{_text(node)}` performs nothing", _become(node, replaced))
    if _quiet(node):
        return
    within = _item(inside, instead is not None)
    yield from _expressions(node.func, inside)
    for index, argument in enumerate(node.args):
        if instead is not None and index == 0:  # which effect: a typo there is refused by the host
            continue
        yield from _expressions(argument, within)
    for word in node.keywords:
        if _named(node).endswith("Item") and word.arg is not None and not _is_constant(word.value, None):
            what = f"the item's {word.arg!r} became None"
            yield Mutant("item_changed", word.value.lineno, what, _set(word, "value", ast.Constant(None)))
        yield from _expressions(word.value, within)


def _constant(node: ast.Constant) -> Iterator[Mutant]:
    value = node.value
    changed: object
    if isinstance(value, bool):
        changed = not value
    elif isinstance(value, int):
        changed = value + 1
    elif isinstance(value, float):
        changed = value + 1.0
    elif isinstance(value, str):
        changed = value + "~" if value else "~"
    else:
        return
    what = f"`{_short(repr(value))}` became `{_short(repr(changed))}`"
    yield Mutant("constant", node.lineno, what, _set(node, "value", changed))


def _operator(node: ast.BinOp | ast.AugAssign, operator: ast.operator, line: int) -> Iterator[Mutant]:
    other = _COMPUTED.get(type(operator))
    if other is None or (isinstance(node, ast.BinOp) and _is_string(node)):
        return
    yield Mutant("arithmetic", line, f"`{_text(node)}` computes with {other.__name__} instead", _set(node, "op", other()))


def _item(inside: frozenset[str], is_item: bool) -> frozenset[str]:
    """The same place; in the making of an effect's item where it is one."""
    return inside | {"item"} if is_item else inside


def _is_item(annotation: ast.expr | None) -> bool:
    """Whether a type names an effect's item, as the contract calls them: SendItem, Iterator[SendItem]."""
    return (
        any(isinstance(part, ast.Name) and part.id.endswith("Item") for part in ast.walk(annotation)) if annotation is not None else False
    )


def _performing(node: ast.Call) -> str | None:
    """What stands in for a call that performs effects; None for any other call."""
    return _PERFORMS.get(node.func.attr) if isinstance(node.func, ast.Attribute) else None


def _quiet(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr in _QUIET_CALLS


def _named(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _is_string(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str)) for side in sides)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_constant(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _text(node: ast.AST | None) -> str:
    return _short(ast.unparse(ast.fix_missing_locations(node)) if node is not None else "")


def _short(text: str) -> str:
    line = text.split("\n", 1)[0]
    return line if len(line) <= 70 else f"{line[:67]}…"


def _set(node: ast.AST, field: str, value: object) -> _Do:
    def apply() -> Callable[[], None]:
        before = getattr(node, field)
        setattr(node, field, value)
        return lambda: setattr(node, field, before)

    return apply


def _put(holder: list[Any], index: int, value: ast.AST) -> _Do:
    def apply() -> Callable[[], None]:
        before = holder[index]
        holder[index] = value
        return lambda: holder.__setitem__(index, before)

    return apply


def _become(node: ast.expr, other: ast.expr) -> _Do:
    """Make a node another in place: what holds it need not be known."""

    def apply() -> Callable[[], None]:
        kind, state = node.__class__, dict(node.__dict__)
        place: dict[str, Any] = {name: state[name] for name in ast.expr._attributes if name in state}
        node.__class__ = other.__class__
        node.__dict__.clear()
        node.__dict__.update({**other.__dict__, **place})

        def undo() -> None:
            node.__class__ = kind
            node.__dict__.clear()
            node.__dict__.update(state)

        return undo

    return apply
