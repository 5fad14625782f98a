"""Tools that do exactly what the tool does, to be tried among its mutants: no test may fail on one.

A suite that notices every mutant because it looks at the tool's code, keeps count of its runs or draws lots fails on these as well, and is
thereby told apart from one that looks at what the tool does. It refuses to be: a mutant. Nothing that a caller could see is changed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

PADDING = "_unused = 0"
"""A statement that changes a function's code, constants and names, and nothing else."""


def unchanged(_tree: ast.Module) -> None:
    """The tool as it is, once more."""


def rewritten(tree: ast.Module) -> None:
    """An unused local at the head of every function, and every line one further down. Changes the tree in place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            head = 1 if ast.get_docstring(node, clean=False) is not None else 0
            node.body[head:head] = ast.parse(PADDING).body
    ast.fix_missing_locations(tree)
    ast.increment_lineno(tree)


DECOYS: dict[str, Callable[[ast.Module], None]] = {"unchanged": unchanged, "rewritten": rewritten}
