"""What names mean in a module: where they were imported from, which are bound locally, which belong to the module.

It refuses to be: a type checker. It follows imports and plain assignments of imported things, nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass
class Names:
    """`origin` maps a local name to the dotted thing that it stands for, `bound` are names bound anywhere, `module` the module's own.

    `hidden` holds the id of each name node that means a parameter or local of a function, whatever an import of that name says.
    """

    origin: dict[str, str] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    module: set[str] = field(default_factory=set)
    hidden: set[int] = field(default_factory=set)
    aliases: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, tree: ast.Module) -> Names:
        names = cls()
        names._hide(tree, frozenset())
        for node in ast.walk(tree):
            names._learn(node)
        names.bound |= set(names.origin)
        names.module = {name for statement in tree.body for name in _bound_by(statement)}
        return names

    def dotted(self, node: ast.AST) -> str | None:
        """`datetime.datetime.now` for `dt.now` after `from datetime import datetime as dt`; None for what was not imported."""
        if isinstance(node, ast.Name):
            return None if id(node) in self.hidden and node.id not in self.aliases else self.origin.get(node.id)
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
            self.aliases.add(node.targets[0].id)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            self.bound.add(node.id)
        elif isinstance(node, ast.arg):
            self.bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.bound.add(node.name)

    def _hide(self, node: ast.AST, local: frozenset[str]) -> None:
        """Note each name below `node` that means one of `local`, which grows with each function and comprehension on the way."""
        if isinstance(node, ast.Name) and node.id in local:
            self.hidden.add(id(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            body = [node.body] if isinstance(node, ast.Lambda) else node.body
            within = (local | own_locals(node)) - _given_to_others(node)
            for child in ast.iter_child_nodes(node):
                self._hide(child, within if any(child is part for part in body) else local)
        elif isinstance(node, Comprehension):
            within = local | {name for generator in node.generators for name in _stored(generator.target)}
            first = node.generators[0]
            self._hide(first.iter, local)  # it is looked up outside
            parts = [child for child in ast.iter_child_nodes(node) if child is not first]
            for child in [*parts, first.target, *first.ifs]:
                self._hide(child, within)
        else:
            for child in ast.iter_child_nodes(node):
                self._hide(child, local)


def _bound_by(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Assign):
        return {node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return {statement.target.id}
    return set()


def local_to(function: Function | ast.Lambda) -> set[str]:
    """Names that a function binds itself: parameters, assignments, loops; not those of functions inside it."""
    bound = _parameters(function)
    for node in inside(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return bound


def own_locals(function: Function | ast.Lambda) -> frozenset[str]:
    """The same without what a comprehension in it binds, which is local to the comprehension alone."""
    bound = _parameters(function)
    body = [function.body] if isinstance(function, ast.Lambda) else function.body
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler | ast.MatchAs) and node.name:
            bound.add(node.name)
        if isinstance(node, Comprehension):
            waiting += [part for part in ast.walk(node) if isinstance(part, ast.NamedExpr)]
        elif not isinstance(node, SCOPES):
            waiting += ast.iter_child_nodes(node)
    return frozenset(bound)


def _given_to_others(function: Function | ast.Lambda) -> set[str]:
    """Names that a function imports or declares to be another scope's."""
    found: set[str] = set()
    for node in inside(function):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Global):
            found |= set(node.names)
    return found


def _parameters(function: Function | ast.Lambda) -> set[str]:
    arguments = function.args
    return {a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg] if a}


def _stored(target: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))


def binds(node: ast.AST) -> str:
    """The name that a node gives a meaning or takes it from, if it does."""
    if isinstance(node, ast.Name):
        return "" if isinstance(node.ctx, ast.Load) else node.id
    if isinstance(node, ast.alias):
        return (node.asname or node.name).split(".")[0]
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler | ast.FunctionDef | ast.ClassDef):
        return node.name or ""
    return node.rest or "" if isinstance(node, ast.MatchMapping) else ""


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
    root = root_of(node)
    return root.id if isinstance(root, ast.Name) else None


def root_of(node: ast.AST) -> ast.AST:
    """What a chain of attributes and subscripts begins with."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node
