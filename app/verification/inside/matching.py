"""What class patterns take of a value: by name, or in the order that the class says.

It refuses to be: a view of classes that are made while the tool runs. A pattern takes parts in order of a class that stands in the file, is
imported or is the language's own.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .findings import Findings
from .names import Names

ORDER = "__match_args__"
_ROWS = frozenset({"collections.namedtuple", "typing.NamedTuple"})


@dataclass(frozen=True)
class Classes:
    """What a file says of its classes: the fields of each, orders that are written out, rows made by a call, names bound otherwise."""

    fields: Mapping[str, tuple[str, ...]]
    orders: frozenset[int]
    rows: frozenset[str]
    bound: frozenset[str]

    @classmethod
    def of(cls, tree: ast.Module, names: Names) -> Classes:
        nodes = list(ast.walk(tree))
        fields = {
            node.name: tuple(part.target.id for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name))
            for node in nodes
            if isinstance(node, ast.ClassDef)
        }
        made = [
            (part.targets[0], part.value.func) for part in tree.body if isinstance(part, ast.Assign) and isinstance(part.value, ast.Call)
        ]
        rows = {ast.unparse(target) for target, maker in made if (names.dotted(maker) or "") in _ROWS}
        bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
        return cls(fields, frozenset(_written_orders(nodes)), frozenset(rows), frozenset(bound))


def taken(node: ast.AST, classes: Classes) -> Iterator[str]:
    """The words by which a pattern, or the order that a class gives its patterns, reaches into a value."""
    if isinstance(node, ast.Assign | ast.AnnAssign) and _orders(node):
        yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))
    elif isinstance(node, ast.MatchClass):
        yield from node.kwd_attrs
        if node.patterns and isinstance(node.cls, ast.Name):
            yield from classes.fields.get(node.cls.id, ())


def check_order(node: ast.AST, classes: Classes, names: Names, findings: Findings) -> None:
    """An order is written out, and so is the class of which a pattern takes parts in order."""
    if isinstance(node, ast.Name) and node.id == ORDER and not isinstance(node.ctx, ast.Load) and id(node) not in classes.orders:
        findings.add("escape", node, f"`{ORDER}` is not written out.", "Write it as a tuple of texts, or leave it to a dataclass.")
    elif isinstance(node, ast.MatchClass) and node.patterns and not _is_seen(node.cls, classes, names):
        message = f"The pattern takes parts of `{ast.unparse(node.cls)}`, which is no class of the file."
        findings.add("dynamic_access", node, message, "Write the class, or take the parts by their names.")


def _orders(node: ast.Assign | ast.AnnAssign) -> list[ast.Name]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target for target in targets if isinstance(target, ast.Name) and target.id == ORDER]


def _written_orders(nodes: list[ast.AST]) -> Iterator[int]:
    for node in nodes:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) and _orders(node) else None
        if isinstance(value, ast.Tuple) and all(isinstance(part, ast.Constant) for part in value.elts):
            yield from map(id, _orders(node))  # type: ignore[arg-type]  # it has a value, see above


def _is_seen(cls: ast.expr, classes: Classes, names: Names) -> bool:
    if not isinstance(cls, ast.Name):
        return names.dotted(cls) is not None
    if cls.id in classes.fields:
        return cls.id not in classes.bound
    if cls.id in classes.rows or names.dotted(cls) is not None:
        return True
    return cls.id not in names.bound and isinstance(getattr(builtins, cls.id, None), type)
