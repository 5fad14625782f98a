"""Where the requests of a tool go, as far as its text says: the hosts written out in the `url` of its items.

It refuses to be: the boundary. The host judges each request; this tells of one that no example makes before a customer does.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

_HOST = re.compile(r"https?://([^/\s?#{}]+)")


def hosts_of(tree: ast.Module) -> list[dict[str, object]]:
    """`{"host", "whole", "line"}` of each absolute URL in the `url` of a literal with `method` and `url`, or in a constant named there.

    Not `whole`: the text ends with it, so that more of the host may follow, as in `f"https://api.{country}.example.com/"`.
    """
    constants = dict(_constants(tree))
    found: list[dict[str, object]] = []
    for node in ast.walk(tree):
        value = _url_of(node)
        if value is not None:
            found += [{"host": host, "whole": whole, "line": value.lineno} for host, whole in _hosts(value, constants)]
    return found


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from ((target.id, statement.value) for target in targets if isinstance(target, ast.Name))


def _url_of(node: ast.AST) -> ast.expr | None:
    if not isinstance(node, ast.Dict):
        return None
    by_name = {key.value: value for key, value in zip(node.keys, node.values, strict=True) if isinstance(key, ast.Constant)}
    return by_name["url"] if "method" in by_name and "url" in by_name else None


def _hosts(value: ast.expr, constants: dict[str, ast.expr]) -> Iterator[tuple[str, bool]]:
    for part in ast.walk(value):
        if isinstance(part, ast.Name) and part.id in constants:
            yield from _hosts(constants[part.id], {})
        elif isinstance(part, ast.Constant) and isinstance(part.value, str) and (match := _HOST.match(part.value)):
            yield match[1], match.end() < len(part.value)
