"""Bounds of a module: how much of it there is, how deep it nests, how large a value grows that is written short.

It refuses to be: a limit on what a tool computes. The sandbox has the limits of time and memory; these name the line.
"""

from __future__ import annotations

import ast
import math
import re

from .findings import Findings

MOST_NODES = 20_000
MOST_DEPTH = 60
MOST_TIMES = 10_000_000
MOST_EXPONENT = 256
_HUGE = math.inf
_WIDTH = re.compile(r"\d{6,}")
_PERCENT = re.compile(r"%[-#0 +]*[\d.]*\d{6,}")
_PADDING = frozenset({"ljust", "rjust", "center", "zfill"})
_ZEROES = frozenset({"bytes", "bytearray"})
_FIX = "Write the value that is meant, or take it from args."


def check_bounds(tree: ast.Module, findings: Findings) -> bool:
    """Whether nodes and nesting are few enough for all later checks, which are not tried where they are not."""
    level: list[ast.AST] = [tree]
    count = depth = 0
    while level:
        depth, count = depth + 1, count + len(level)
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if count > MOST_NODES:
        findings.add("too_large", 1, f"The module has {count} syntax nodes; {MOST_NODES} are allowed.", "Shorten it.")
    if depth > MOST_DEPTH:
        findings.add("too_deep", 1, f"The code nests {depth} levels deep; {MOST_DEPTH} are allowed.", "Name parts of it as functions.")
    return count <= MOST_NODES and depth <= MOST_DEPTH


def check_computed(node: ast.AST, findings: Findings) -> None:
    """No literal that is written short and is huge once it is computed: `9**9**9`, `"a" * 10**9`, `f"{1:999999999}"`."""
    if isinstance(node, ast.BinOp):
        _check_sum(node, findings)
    elif isinstance(node, ast.FormattedValue) and node.format_spec is not None and _is_wide(node.format_spec):
        findings.add("literal_bounds", node, f"`{ast.unparse(node.format_spec)[:60]}` fills a text up to a huge width.", _FIX)
    elif isinstance(node, ast.Call) and (_number(node.args[0]) or 0 if node.args else 0) > MOST_TIMES:
        word = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if word in (_PADDING if isinstance(node.func, ast.Attribute) else _ZEROES):
            findings.add("literal_bounds", node, f"`{ast.unparse(node)[:60]}` makes over {MOST_TIMES} characters.", _FIX)


def _check_sum(node: ast.BinOp, findings: Findings) -> None:
    if isinstance(node.op, ast.Pow | ast.LShift) and _number(node) is _HUGE:
        findings.add("literal_bounds", node, f"`{ast.unparse(node)[:60]}` is a number of hundreds of digits, or more.", _FIX)
    elif isinstance(node.op, ast.Mult) and (_length(node) or 0) > MOST_TIMES:
        findings.add("literal_bounds", node, f"`{ast.unparse(node)[:60]}` repeats a literal over {MOST_TIMES} times.", _FIX)
    elif isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str | bytes):
        text = node.left.value if isinstance(node.left.value, str) else node.left.value.decode("latin-1")
        if _PERCENT.search(text):
            findings.add("literal_bounds", node, f"`{ast.unparse(node.left)[:60]}` fills a text up to a huge width.", _FIX)


def _is_wide(spec: ast.expr) -> bool:
    """Whether a format asks for a width or precision of six digits and more."""
    for part in ast.walk(spec):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and _WIDTH.search(part.value):
            return True
        if isinstance(part, ast.FormattedValue) and (_number(part.value) or 0) > MOST_TIMES:
            return True
    return False


def _length(node: ast.expr) -> float | None:
    """How many elements or characters an expression of literals has; None for what is no such thing."""
    if isinstance(node, ast.Constant):
        return max(len(node.value), 1) if isinstance(node.value, str | bytes) else None
    if isinstance(node, ast.List | ast.Tuple):
        return max(len(node.elts), 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        for part, times in ((node.left, node.right), (node.right, node.left)):
            if (length := _length(part)) is not None and (number := _number(times)) is not None:
                return length * max(number, 0)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _length(node.left), _length(node.right)
        return None if left is None and right is None else (left or 0) + (right or 0)
    return None


def _number(node: ast.expr) -> float | None:
    """The value of an expression of whole numbers; infinite where it has over a few hundred digits, None for what is no such thing."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, int) else None
    if isinstance(node, ast.UnaryOp):
        return _number(node.operand) if isinstance(node.op, ast.UAdd | ast.Invert) else None
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _number(node.left), _number(node.right)
    if left is None or right is None:
        return None
    if _HUGE in (left, right):
        return _HUGE
    if isinstance(node.op, ast.Pow):
        return _HUGE if right > MOST_EXPONENT or abs(left) > MOST_TIMES else left**right
    if isinstance(node.op, ast.LShift):
        return _HUGE if right > MOST_EXPONENT else left * 2**right
    return left * right if isinstance(node.op, ast.Mult) else max(left, right)
