"""Texts that are formatted: `{0.__class__}` in a text that comes from outside would be obeyed, so what is formatted is written in the file.

It refuses to be: a formatter. It asks whether all that a text can be stands in the file, and whether any of that reaches into a value.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from .admitted import MUTATORS
from .findings import Findings
from .names import Names, binds, root_name

Written = Mapping[str, tuple[str, ...]]
"""Names that are nowhere in a file given anything but literals, with the texts in them."""

_ROUNDS = 3
_KEEPING = frozenset({"types.MappingProxyType", "textwrap.dedent"})
_FIX = (
    "Format a literal text, or fill in with string.Template(text).safe_substitute(values) or re.sub; name a method of your own otherwise."
)


def check_format(base: ast.expr | None, node: ast.AST, written: Written, names: Names, findings: Findings) -> None:
    """What `.format` is taken of; None where nothing says so."""
    if base is None or not _is_literal(base, frozenset(written), names):
        message = "The text that is formatted is no literal of the file: braces in data would reach into values."
        findings.add("format_of_data", node, message, _FIX)
    elif _reaches([*_texts(base, written)]):
        findings.add("escape", node, "A format text reaches a private attribute.", "Format plain values.")


def written_in(tree: ast.Module, names: Names) -> Written:
    """Every name of which all values stand in the file; what is made of such names is such a one too."""
    bound = Counter(binds(node) for node in ast.walk(tree))
    changed = {_changed(node) for node in ast.walk(tree)}
    given = [each for node in ast.walk(tree) for each in _given(node)]
    written: Written = {}
    for _ in range(_ROUNDS):
        texts: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
        for name, value in given:
            if _is_literal(value, frozenset(written), names):
                texts[name].append(tuple(_texts(value, written)))
        written = {name: sum(each, ()) for name, each in texts.items() if bound[name] == len(each) and name not in changed}
    return written


def _reaches(texts: list[str]) -> bool:
    """Whether the texts, one after the other or joined by one of them, may ask for what begins with an underscore."""
    if not any("{" in text for text in texts):
        return False
    parted = any(text.startswith("_") for text in texts) and any(text.endswith(".") for text in texts)
    return parted or "._" in "".join(texts)


def _texts(node: ast.expr, written: Written) -> Iterator[str]:
    """The texts in an expression, in the order in which they are written."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name):
        yield from written.get(node.id, ())
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield from _texts(child, written)


def _given(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names with what is given or added to them."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign) or (isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add)):
        targets = [node.target]
    for target in targets:
        if isinstance(target, ast.Name) and (value := getattr(node, "value", None)) is not None:
            yield target.id, value


def _changed(node: ast.AST) -> str:
    """The name of whose value a part is changed."""
    if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
        return root_name(node) or ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        return root_name(node.func.value) or ""
    return ""


def _is_literal(node: ast.expr, known: frozenset[str], names: Names) -> bool:
    """Whether all that an expression can be is written in the file."""
    match node:
        case ast.Constant():
            return True
        case ast.JoinedStr():  # what it fills in comes from outside; literal braces were written here
            return not any(isinstance(part, ast.FormattedValue) for part in node.values)
        case ast.Name():
            return node.id in known
        case ast.BinOp(op=ast.Add()):
            return _is_literal(node.left, known, names) and _is_literal(node.right, known, names)
        case ast.IfExp():
            return _is_literal(node.body, known, names) and _is_literal(node.orelse, known, names)
        case ast.Tuple() | ast.List():
            return all(_is_literal(part, known, names) for part in node.elts)
        case ast.Dict():
            return all(_is_literal(part, known, names) for part in node.values)
        case ast.Subscript():
            return _is_literal(node.value, known, names)
        case ast.Call(func=ast.Attribute(value=base, attr="get")):  # what it is asked for does not come out
            return _is_literal(base, known, names) and all(_is_literal(part, known, names) for part in node.args[1:])
        case ast.Call(func=ast.Attribute(value=base, attr="strip" | "join"), keywords=[]):
            return all(_is_literal(part, known, names) for part in [base, *node.args])
        case ast.Call(keywords=[]):
            return names.dotted(node.func) in _KEEPING and all(_is_literal(part, known, names) for part in node.args)
    return False
