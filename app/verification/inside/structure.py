"""The shape of a tool's module: its top level, its entry point, state between calls, loops that cannot end.

It refuses to be: a proof. A loop is judged by whether anything in it can end it; what slips through meets the time limit of the run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .admitted import EFFECTS, ENDLESS, METHODS, MUTATORS, READS, SHRINKERS
from .findings import Findings
from .names import Names, inside, root_name

_EMPTY = frozenset({"list", "dict", "set", "bytearray", "iter", "map", "filter", "zip", "enumerate", "reversed", "object"})
_KEEPERS = frozenset(
    {"collections.defaultdict", "collections.ChainMap", "io.StringIO", "io.BytesIO"}
    | {"itertools.count", "itertools.cycle", "itertools.repeat"}
)
_KEEPERS_IF_EMPTY = frozenset({"collections.deque", "collections.Counter", "collections.OrderedDict"})
_PURE = frozenset({"len", "int", "str", "bool", "min", "max", "sum", "sorted", "abs", "any", "all"})
_ANSWERS = EFFECTS | READS | {"progress"}


def check_top_level(tree: ast.Module, names: Names, findings: Findings) -> None:
    """Declarations only: nothing happens at import, nothing mutable is kept there."""
    for position, statement in enumerate(tree.body):
        if isinstance(statement, ast.FunctionDef) and statement.name.startswith("__"):
            message = f"A module's `{statement.name}` changes what its names mean."
            findings.add("special_method", statement, message, "Give the function a plain name.")
        if isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            _check_constant(statement, names, findings)
        elif not (position == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            kind = type(statement).__name__.lower()
            fix = "Remove it: the platform imports the module and calls run(args, ctx)." if kind == "if" else "Move it into run()."
            findings.add("work_at_import", statement, f"A top-level {kind} statement runs when the module is imported.", fix)


def check_entry(tree: ast.Module, findings: Findings) -> None:
    """`def run(args, ctx)`: once, plain, exactly these two parameters."""
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "run"]
    fix = "Write `def run(args: Args, ctx: Context) -> Result:` at the top level."
    if len(found) != 1:
        findings.add("run_signature", found[1] if found else 1, f"The module defines `run` {len(found)} times.", fix)
        return
    run, arguments = found[0], found[0].args
    plain = [a.arg for a in arguments.args] == ["args", "ctx"] and not arguments.defaults and not arguments.kwonlyargs
    if not plain or arguments.vararg or arguments.kwarg or arguments.posonlyargs:
        findings.add("run_signature", run, "`run` must take exactly `args` and `ctx`, without defaults.", fix)
    if run.decorator_list:
        findings.add("run_signature", run, "`run` must not be decorated.", "Remove the decorator.")
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in inside(run)):
        findings.add("run_signature", run, "`run` is a generator: nothing in it would happen.", "Return the result.")


def check_classes(tree: ast.Module, names: Names, findings: Findings) -> None:
    """No metaclasses, no special methods beyond the plain ones, no shared mutable attribute, however deep they stand in its body."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        hidden = any(keyword.arg in ("metaclass", None) for keyword in node.keywords)
        if hidden or any(isinstance(base, ast.Starred) or root_name(base) == "type" for base in node.bases):
            findings.add("metaclass", node, "A metaclass changes what a class means.", "Use a dataclass or a plain class.")
        for part in inside(node):
            if isinstance(part, ast.FunctionDef) and part.name.startswith("__") and part.name.endswith("__") and part.name not in METHODS:
                findings.add("special_method", part, f"`{part.name}` is not admitted.", "Give the method a plain name.")
            elif isinstance(part, ast.Assign | ast.AnnAssign) and _keeps_state(part.value, names):
                message = "A class attribute that can be changed is shared by all calls of the process."
                findings.add("module_state", part, message, "Set it in __init__, or use dataclasses.field(default_factory=…).")


def check_loops(tree: ast.Module, names: Names, findings: Findings) -> None:
    """Each `while` can end: something in its body leaves it or changes what its condition reads."""
    methods = frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    for node in ast.walk(tree):
        if isinstance(node, ast.While):
            if isinstance(node.test, ast.Constant) and node.test.value and not _leaves(node):
                message = "`while True` without break, return, raise or yield never ends."
                findings.add("unbounded_loop", node, message, "Loop over the data: `for item in items:`, or break when it is done.")
            elif not isinstance(node.test, ast.Constant) and not _leaves(node) and not _moves(node, methods):
                message = "Nothing in the loop changes what its condition reads, and it neither acts nor reports progress."
                findings.add("unbounded_loop", node, message, "Change the condition's variable in the loop, or write a for loop.")
        elif isinstance(node, ast.For) and _endless(node.iter, names) and not _leaves(node):
            message = "The loop runs over an endless iterator and nothing leaves it."
            findings.add("unbounded_loop", node, message, "Use range(n), or break when it is done.")


def _check_constant(statement: ast.Assign | ast.AnnAssign, names: Names, findings: Findings) -> None:
    if isinstance(statement, ast.Assign) and any(not isinstance(target, ast.Name | ast.Tuple) for target in statement.targets):
        findings.add("module_state", statement, "The top level changes a part of something else.", "Build the value in one expression.")
    elif _keeps_state(statement.value, names):
        message = "A changeable empty container or an iterator at module level keeps state between calls of one process."
        findings.add("module_state", statement, message, "Create it inside run(); constants are non-empty literals, tuples or frozensets.")


def _keeps_state(value: ast.expr | None, names: Names) -> bool:
    if isinstance(value, ast.List | ast.Set):
        return not value.elts
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.GeneratorExp):
        return True
    if not isinstance(value, ast.Call):
        return False
    if (origin := names.dotted(value.func)) is not None:
        return origin in _KEEPERS or (origin in _KEEPERS_IF_EMPTY and _is_empty(value))
    if isinstance(value.func, ast.Name) and value.func.id in _EMPTY and value.func.id not in names.bound:
        return _is_empty(value) or value.func.id in ("iter", "map", "filter", "zip", "enumerate", "reversed")
    return False


def _is_empty(call: ast.Call) -> bool:
    return not call.args and not call.keywords


def _endless(iterable: ast.expr, names: Names) -> bool:
    if not isinstance(iterable, ast.Call):
        return False
    origin = names.dotted(iterable.func)
    return origin in ENDLESS and not (origin == "itertools.repeat" and len(iterable.args) + len(iterable.keywords) > 1)


def _leaves(loop: ast.While | ast.For) -> bool:
    waiting: list[tuple[ast.AST, bool]] = [(statement, True) for statement in loop.body]
    while waiting:
        node, own = waiting.pop()
        if isinstance(node, ast.Return | ast.Raise | ast.Yield | ast.YieldFrom) or (own and isinstance(node, ast.Break)):
            return True
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        within = own and not isinstance(node, ast.While | ast.For)
        waiting.extend((child, within) for child in ast.iter_child_nodes(node))
    return False


def _moves(loop: ast.While, methods: frozenset[str]) -> bool:
    """Whether anything in the loop may end it. What a condition asks only whether there is any of it is not ended by more of it.

    `methods` are the file's own: what one is called on, it may change.
    """
    read = {node.id for node in ast.walk(loop.test) if isinstance(node, ast.Name)}
    held = {id(node) for node in _held(loop.test)}
    beyond = {node.id for node in ast.walk(loop.test) if isinstance(node, ast.Name) and id(node) not in held}
    more = {id(node.target) for node in ast.walk(loop) if isinstance(node, ast.AugAssign) and _adds_parts(node)}
    for node in ast.walk(loop):
        if isinstance(node, ast.NamedExpr) and any(part is node for part in ast.walk(loop.test)):
            return True
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del) and node.id in (beyond if id(node) in more else read):
            return True
        stored = isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
        if stored and root_name(node) in (beyond if _is_put_in(node) else read):
            return True
        if isinstance(node, ast.Call) and _may_change(node, read, beyond, methods):
            return True
    return False


def _held(test: ast.expr) -> Iterator[ast.Name]:
    """The names of which a condition asks no more than whether there is anything, or more than so much, in them."""
    if isinstance(test, ast.Name):
        yield test
    elif isinstance(test, ast.BoolOp):
        for part in test.values:
            yield from _held(part)
    elif isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id in ("len", "bool") and len(test.args) == 1:
        yield from _held(test.args[0])
    elif isinstance(test, ast.Compare) and isinstance(test.left, ast.Call) and isinstance(test.ops[0], ast.Gt | ast.GtE):
        yield from _held(test.left)


def _adds_parts(node: ast.AugAssign) -> bool:
    return isinstance(node.op, ast.Add) and isinstance(node.value, ast.List | ast.ListComp | ast.Tuple | ast.JoinedStr)


def _is_put_in(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and not isinstance(node.slice, ast.Slice)


def _may_change(call: ast.Call, read: set[str], beyond: set[str], methods: frozenset[str]) -> bool:
    if isinstance(call.func, ast.Attribute):
        if call.func.attr in _ANSWERS:
            return True
        if call.func.attr in MUTATORS and root_name(call.func) in (read if call.func.attr in SHRINKERS else beyond):
            return True
        if call.func.attr in methods and root_name(call.func) in read:
            return True
    handed = [*call.args, *(keyword.value for keyword in call.keywords)]
    pure = isinstance(call.func, ast.Name) and call.func.id in _PURE
    return not pure and any(isinstance(value, ast.Name) and value.id in read for value in handed)
