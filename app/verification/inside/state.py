"""State between calls: nothing at module level is changed from inside a function, by its own name or by another.

A tool is loaded once and called many times in tests, and by a process that may be gone after each call in production: what one call leaves
behind makes the two differ. It refuses to be: an analysis of all that values can be. It follows plain names, loops and calls of the file's
own functions; the run in one process twice meets the rest.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from .admitted import MUTATORS
from .findings import Findings
from .names import Function, Names, inside, local_to, root_name, root_of

_HANDING = frozenset({"get", "items", "values", "setdefault"})
_MOST_HANDED = 8
"""Calls through which a value is followed."""
_FIX = "Create it inside run(), or change a copy: dict(…), list(…)."

Changed = dict[str, frozenset[str]]
"""Of each function of the file, the parameters whose values it changes."""


def check_state(tree: ast.Module, names: Names, findings: Findings) -> None:
    """Every change of what belongs to the module: a second call in the same process would see it."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            fix = "Return the value, or keep it in a dict local to run()."
            findings.add("module_state", node, f"`global {', '.join(node.names)}` keeps state between calls.", fix)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _check_defaults(node, findings)
    visible = {name: name for name in names.module - set(names.origin)}
    _check_scope(tree, visible, functions, _changed_parameters(functions), findings)


def _check_defaults(function: Function, findings: Findings) -> None:
    for default in [*function.args.defaults, *filter(None, function.args.kw_defaults)]:
        if isinstance(default, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
            message = f"A changeable default of `{function.name}` keeps state between calls."
            findings.add("module_state", default, message, "Use None as the default and create the value inside.")


def _check_scope(
    scope: ast.AST, visible: dict[str, str], functions: dict[str, ast.FunctionDef], changed: Changed, findings: Findings
) -> None:
    """`visible` maps each name that means a value of the module, here, to the module's own name for it."""
    for node in inside(scope):
        if not isinstance(scope, ast.Module):
            if (name := _changes(node)) in visible:
                message = f"`{visible[name]}` belongs to the module and is changed here: a second call in the same process would see it."
                findings.add("module_state", node, message, _FIX)
            for name, function in _handed(node, visible, functions, changed):
                message = f"`{visible[name]}` belongs to the module and {function} changes what it is given."
                findings.add("module_state", node, message, _FIX)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            local = local_to(node)
            within = {name: meant for name, meant in visible.items() if name not in local}
            _check_scope(node, within | _aliases(node, within), functions, changed, findings)
        elif isinstance(node, ast.ClassDef):
            _check_scope(node, visible, functions, changed, findings)


def _changes(node: ast.AST) -> str:
    """The name whose value a node changes in place, if it does."""
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        return root_name(node) or ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        return root_name(node.func.value) or ""
    return ""


def _aliases(function: Function | ast.Lambda, visible: dict[str, str]) -> dict[str, str]:
    """Locals that never mean anything but a part of one of the module's values."""
    meant: dict[str, str] = {}
    times: Counter[str] = Counter()
    for name, source in _given(function):
        if (root := root_name(source)) in visible or (root := _asked(source)) in visible:
            meant[name] = visible[root or ""]
            times[name] += 1
    bound = Counter(node.id for node in inside(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return {name: origin for name, origin in meant.items() if times[name] == bound[name]}


def _given(function: Function | ast.Lambda) -> Iterator[tuple[str, ast.expr]]:
    """Each local name with what a plain assignment or a loop gives it."""
    for node in inside(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            yield node.target.id, node.value
        elif isinstance(node, ast.For | ast.comprehension):
            yield from ((part.id, node.iter) for part in ast.walk(node.target) if isinstance(part, ast.Name))


def _asked(source: ast.expr) -> str | None:
    """`TABLE` for `TABLE.get(name)` and `TABLE.items()`."""
    if isinstance(source, ast.Call) and isinstance(source.func, ast.Attribute) and source.func.attr in _HANDING:
        return root_name(source.func)
    return None


def _changed_parameters(functions: dict[str, ast.FunctionDef]) -> Changed:
    found: Changed = {name: frozenset() for name in functions}
    for _ in range(_MOST_HANDED):
        more = {name: _changed_in(function, functions, found) for name, function in functions.items()}
        if more == found:
            break
        found = more
    return found


def _changed_in(function: ast.FunctionDef, functions: dict[str, ast.FunctionDef], known: Changed) -> frozenset[str]:
    bound = {node.id for node in inside(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    mine = {argument.arg: argument.arg for argument in _parameters(function) if argument.arg not in bound}
    mine |= _aliases(function, mine)
    nodes = inside(function)
    changed = {mine[name] for node in nodes if (name := _changes(node)) in mine}
    changed |= {mine[name] for node in nodes for name, _ in _handed(node, mine, functions, known)}
    return frozenset(changed)


def _handed(node: ast.AST, visible: dict[str, str], functions: dict[str, ast.FunctionDef], changed: Changed) -> Iterator[tuple[str, str]]:
    """`(name, function)` where one of the visible values is given to a function of the file that changes it."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions):
        return
    function = node.func.id
    parameters = [argument.arg for argument in _parameters(functions[function])]
    given = [*zip(parameters, node.args, strict=False), *((word.arg or "", word.value) for word in node.keywords)]
    for parameter, value in given:
        root = root_of(value)
        if parameter in changed[function] and isinstance(root, ast.Name) and root.id in visible:
            yield root.id, function


def _parameters(function: ast.FunctionDef) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
