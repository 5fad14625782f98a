"""What names mean in a module: where they were imported from, which are bound locally, which belong to the module.

It refuses to be: a type checker. It follows imports and plain assignments of imported things, nothing else.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass
class Names:
    """`origin` maps a local name to the dotted thing that it stands for, `bound` are names bound anywhere, `module` the module's own."""

    origin: dict[str, str] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    module: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, tree: ast.Module) -> Names:
        names = cls()
        for node in ast.walk(tree):
            names._learn(node)
        names.bound |= set(names.origin)
        names.module = {name for statement in tree.body for name in _bound_by(statement)}
        return names

    def dotted(self, node: ast.AST) -> str | None:
        """`datetime.datetime.now` for `dt.now` after `from datetime import datetime as dt`; None for what was not imported."""
        if isinstance(node, ast.Name):
            return self.origin.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else None
        return None

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.origin[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                self.origin[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and (origin := self.dotted(node.value)):
            self.origin[node.targets[0].id] = origin
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            self.bound.add(node.id)
        elif isinstance(node, ast.arg):
            self.bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.bound.add(node.name)


def _bound_by(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Assign):
        return {node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return {statement.target.id}
    return set()


def local_to(function: Function | ast.Lambda) -> set[str]:
    """Names that a function binds itself: parameters, assignments, loops, imports; not those of functions inside it."""
    arguments = function.args
    bound = {a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg] if a}
    for node in inside(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return bound


def inside(node: ast.AST) -> list[ast.AST]:
    """All nodes below `node`, without entering functions and classes defined there (they themselves are listed)."""
    found: list[ast.AST] = []
    waiting = list(ast.iter_child_nodes(node))
    while waiting:
        child = waiting.pop()
        found.append(child)
        if not isinstance(child, SCOPES):
            waiting.extend(ast.iter_child_nodes(child))
    return found


def root_name(node: ast.AST) -> str | None:
    """`TABLE` for `TABLE["a"].rows[0]`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
