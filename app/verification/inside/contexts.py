"""Where code holds the context of its run: a parameter that says so, another local name of it, an attribute that is only ever given it.

A name alone says nothing: what is called `ctx` may be a clock. It refuses to be: a type checker. What it does not see to be the context is
not taken for it.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from .names import Comprehension, Function, Names, binds, inside, own_locals, root_name

CONTEXT = "toolkit.Context"
_UNTYPED = frozenset({"ctx", "context"})
"""Parameters that mean the context where they have no type."""
_ROUNDS = 3
"""From a name to an attribute to a name: how often one is learned from the other."""


def contexts_of(tree: ast.Module, names: Names) -> frozenset[int]:
    """The ids of the nodes that mean the context."""
    found: set[int] = set()
    held: frozenset[str] = frozenset()
    for _ in range(_ROUNDS):
        _find(tree, frozenset(), names, held, found)
        held = _attributes(tree, names, found)
        found |= {id(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in held}
    return frozenset(found)


def _find(node: ast.AST, meant: frozenset[str], names: Names, held: frozenset[str], found: set[int]) -> None:
    """Note each name below `node` that is one of `meant`, which each function and comprehension on the way makes its own."""
    if isinstance(node, ast.Name) and node.id in meant:
        found.add(id(node))
    body: list[ast.AST] = []
    within = meant
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        body, within = [*node.body], _in_function(node, meant, names, held)
    elif isinstance(node, ast.Lambda):
        body, within = [node.body], meant - own_locals(node)
    elif isinstance(node, Comprehension):
        body = [*ast.iter_child_nodes(node)]
        within = meant - {part.id for each in node.generators for part in ast.walk(each.target) if isinstance(part, ast.Name)}
    inner = {id(part) for part in body}
    for child in ast.iter_child_nodes(node):
        _find(child, within if id(child) in inner else meant, names, held, found)


def _in_function(function: Function, outer: frozenset[str], names: Names, held: frozenset[str]) -> frozenset[str]:
    nodes = inside(function)
    bound = Counter(binds(node) for node in nodes if not isinstance(node, ast.arg))
    bound.update(name for node in ast.walk(function) if isinstance(node, ast.Nonlocal) for name in node.names)
    meant = (outer - own_locals(function)) | {name for name in _parameters(function, names) if not bound[name]}
    for node in nodes:
        for target, value in _given(node):
            is_held = isinstance(value, ast.Attribute) and value.attr in held
            same = is_held or (isinstance(value, ast.Name) and value.id in meant)
            if same and isinstance(target, ast.Name) and bound[target.id] == 1:
                meant |= {target.id}
    return meant


def _parameters(function: Function, names: Names) -> Iterator[str]:
    arguments = function.args
    for place, argument in enumerate([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]):
        untyped = argument.annotation is None and argument.arg in _UNTYPED
        if untyped or is_context(argument.annotation, names) or (function.name, place, argument.arg) == ("run", 1, "ctx"):
            yield argument.arg


def is_context(annotation: ast.expr | None, names: Names) -> bool:
    """Whether a type says that something is the context, or is it where it is anything."""
    if isinstance(annotation, ast.Constant):
        word = annotation.value
        return isinstance(word, str) and word not in names.module and names.origin.get(word) == CONTEXT
    if isinstance(annotation, ast.BinOp):
        parts = [part for part in (annotation.left, annotation.right) if not (isinstance(part, ast.Constant) and part.value is None)]
        return len(parts) == 1 and is_context(parts[0], names)
    return annotation is not None and root_name(annotation) not in names.module and names.dotted(annotation) == CONTEXT


def _attributes(tree: ast.Module, names: Names, found: set[int]) -> frozenset[str]:
    """Attributes that are given nothing but the context, wherever they are given anything."""
    given: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            given[node.attr] += 1
        for target, value in _given(node):
            if isinstance(target, ast.Attribute) and id(value) in found:
                seen[target.attr] += 1
        if isinstance(node, ast.ClassDef):
            fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
            for field in fields:
                given[field.target.id] += 1  # type: ignore[union-attr]  # a Name, see above
                seen[field.target.id] += is_context(field.annotation, names)  # type: ignore[union-attr]  # as above
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    given[part.name] += 1
                    seen[part.name] += _is_property(part) and is_context(part.returns, names)
    return frozenset(word for word, times in seen.items() if times and times == given[word])


def _is_property(function: ast.FunctionDef) -> bool:
    return any(isinstance(decorator, ast.Name) and decorator.id == "property" for decorator in function.decorator_list)


def _given(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """`(target, value)` of a plain assignment, also part by part."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        yield node.target, node.value
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield target, node.value
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple) and len(target.elts) == len(node.value.elts):
                yield from zip(target.elts, node.value.elts, strict=True)
