"""Typed stubs of our own toolkit, made from its source, so that what authors read is what guests import.

It refuses to be: for code of others. It parses bundled files only.
"""

from __future__ import annotations

import ast
from collections.abc import Collection


def stub_of(source: str, names: Collection[str]) -> str:
    """The named classes, functions and aliases of a module, in its order: signatures and docstrings, every body `...`."""
    kept = [_stub(node) for node in ast.parse(source).body if _name_of(node) in names]
    return "\n\n".join(ast.unparse(node) for node in kept)


def _name_of(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return None


def _stub(node: ast.stmt) -> ast.stmt:
    if isinstance(node, ast.FunctionDef) and _is_attribute(node) and node.returns is not None:
        return ast.AnnAssign(ast.Name(node.name), node.returns, None, 1)
    if isinstance(node, ast.FunctionDef):
        node.body = [*_docstring(node), ast.Expr(ast.Constant(...))]
    elif isinstance(node, ast.ClassDef):
        made = {base.id for base in node.bases if isinstance(base, ast.Name)} & {"Exception"}
        members = [_stub(part) for part in node.body if _shown(part, bool(made))]
        node.body = [*_docstring(node), *_attributes(node), *members] or [ast.Expr(ast.Constant(...))]
    return node


def _is_attribute(node: ast.FunctionDef) -> bool:
    """Whether it is used without a call."""
    return any(isinstance(each, ast.Name) and each.id in ("property", "cached_property") for each in node.decorator_list)


def _shown(part: ast.stmt, made: bool) -> bool:
    """Public members; how an instance is made, too, where authors make it (exceptions)."""
    name = _name_of(part) or "_"
    return not name.startswith("_") or (made and name == "__init__")


def _attributes(node: ast.ClassDef) -> list[ast.stmt]:
    """Public attributes that `__init__` declares with a type."""
    inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    declared = [line for init in inits for line in init.body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Attribute)]
    return [
        ast.AnnAssign(ast.Name(line.target.attr), line.annotation, None, 1)
        for line in declared
        if isinstance(line.target, ast.Attribute) and not line.target.attr.startswith("_")
    ]


def _docstring(node: ast.FunctionDef | ast.ClassDef) -> list[ast.stmt]:
    return node.body[:1] if ast.get_docstring(node) is not None else []
