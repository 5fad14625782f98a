"""The shape of an author's tests: what pytest is asked for, what each test asserts, what keeps a failure from being seen.

Tests are judged by what they notice (gate "mutation"); these rules refuse what could only be there to notice nothing, or to notice
something other than what the tool does. It refuses to be: an opinion on how tests are laid out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .asking import check_asked, fixture_names
from .findings import Findings
from .names import Names, inside

_MARKS = frozenset({"parametrize"})
_TOO_WIDE = frozenset({"AssertionError", "BaseException", "Exception"})
_ASKING = frozenset({"pytest.raises", "contextlib.suppress"})
_KINDS_OF = frozenset({"isinstance", "issubclass"})
_NAMED = "Name the error that is expected, e.g. ValueError; let a failed assertion fail the test."

Test = ast.FunctionDef


def check_suite(tree: ast.Module, names: Names, findings: Findings) -> None:
    """Every test of a file, and what stands around them."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    around = {id(part): node.decorator_list for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for part in node.body}
    fixtures = {name for node in functions for name in fixture_names(node, names)}
    asserting = _asserting(functions, names)
    check_asked(tree, names, findings)
    for node in ast.walk(tree):
        _check_mark(node, names, findings)
        _check_swallowing(node, names, findings)
        _check_leaving(node, findings)
        _check_chance(node, names, findings)
    _check_disguised(tree, names, findings)
    for function in functions:
        is_test = function.name.startswith("test")
        if is_test or any(fixture_names(function, names)):
            _check_parameters(function, fixtures | _parametrized([*function.decorator_list, *around.get(id(function), ())]), findings)
        if is_test and function.name not in asserting:
            message = f"{function.name} asserts nothing: it passes whatever the tool does."
            fix = "Assert what trial(...) returned: result, error, effects with their items and status, world."
            findings.add("asserts_nothing", function, message, fix)


def _check_mark(node: ast.AST, names: Names, findings: Findings) -> None:
    if isinstance(node, ast.Attribute) and names.dotted(node.value) == "pytest.mark" and node.attr not in _MARKS:
        fix = "Remove the mark: a test either holds or does not; cases are pytest.mark.parametrize."
        findings.add("test_marked", node, f"`pytest.mark.{node.attr}` takes a test out or changes what its failure means.", fix)


def _check_swallowing(node: ast.AST, names: Names, findings: Findings) -> None:
    if isinstance(node, ast.ExceptHandler):
        caught = {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)} if node.type else {"BaseException"}
        if caught & _TOO_WIDE and not any(isinstance(part, ast.Raise) for part in inside(node)):
            what = f"`except {ast.unparse(node.type)}`" if node.type else "`except:`"
            findings.add("test_swallows", node, f"{what} keeps a failed assertion from being seen.", _NAMED)
    elif isinstance(node, ast.Call) and names.dotted(node.func) in _ASKING:
        wide = _TOO_WIDE - ({"Exception"} if names.dotted(node.func) == "pytest.raises" else set())
        given = [*node.args, *(word.value for word in node.keywords)]
        if wide & {part.id for value in given for part in ast.walk(value) if isinstance(part, ast.Name)}:
            findings.add("test_swallows", node, f"`{ast.unparse(node)[:80]}` keeps a failed assertion from being seen.", _NAMED)


def _check_leaving(node: ast.AST, findings: Findings) -> None:
    """Blocks that end an error by leaving: a `finally` with a jump out of it, an `__exit__` that says it was seen to."""
    if isinstance(node, ast.Try | ast.TryStar):
        for part in _jumps(node.finalbody):
            message = f"`{ast.unparse(part)[:40]}` in a `finally` keeps a failed assertion from being seen."
            findings.add("test_swallows", part, message, "Let the block end by itself; return or go on after it.")
    elif isinstance(node, ast.FunctionDef) and node.name == "__exit__":
        for left in inside(node):
            if isinstance(left, ast.Return) and left.value is not None and getattr(left.value, "value", left) not in (None, False):
                message = "An `__exit__` that returns something keeps a failed assertion from being seen."
                findings.add("test_swallows", left, message, "Return nothing.")


def _jumps(body: list[ast.stmt], looped: bool = False) -> Iterator[ast.stmt]:
    """Statements that leave a block; inside a loop of it `break` and `continue` do not."""
    for statement in body:
        if isinstance(statement, ast.Return) or (isinstance(statement, ast.Break | ast.Continue) and not looped):
            yield statement
        elif not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            within = looped or isinstance(statement, ast.For | ast.While)
            for part in ast.iter_child_nodes(statement):
                blocks = [part] if isinstance(part, ast.stmt) else getattr(part, "body", []) if not isinstance(part, ast.expr) else []
                yield from _jumps(blocks, within)


def _check_disguised(tree: ast.Module, names: Names, findings: Findings) -> None:
    """Errors of all kinds under another name, which a handler or pytest.raises is then given."""
    plain: set[int] = set()
    for node in ast.walk(tree):
        given: list[ast.AST | None] = []
        match node:
            case ast.ExceptHandler():
                given = [node.type]
            case ast.Raise():
                given = [node.exc]
            case ast.ClassDef():
                given = [*node.bases]
            case ast.arg() | ast.AnnAssign():
                given = [node.annotation]
            case ast.FunctionDef():
                given = [node.returns]
            case ast.Call(func=ast.Name(id=name)) if name in _KINDS_OF:
                given = [*node.args[1:]]
            case ast.Call() if names.dotted(node.func) in _ASKING:
                given = [*node.args, *node.keywords]
            case ast.Subscript() if names.dotted(node.value) == "pytest.ExceptionInfo":
                given = [node.slice]
        plain |= {id(part) for each in given if each is not None for part in ast.walk(each)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in _TOO_WIDE and isinstance(node.ctx, ast.Load) and id(node) not in plain:
            message = f"`{node.id}` under another name, or among others, keeps a failed assertion from being seen."
            findings.add("test_swallows", node, message, _NAMED)


def _check_chance(node: ast.AST, names: Names, findings: Findings) -> None:
    if isinstance(node, ast.Call) and names.dotted(node.func) == "random.Random" and not node.args:
        message = "`Random()` without a seed is another one in each run: the test proves something else each time."
        findings.add("randomness", node, message, "Give it a seed, e.g. Random(7).")


def _check_parameters(function: Test, known: set[str], findings: Findings) -> None:
    """A parameter is a case's value or a fixture of this file: pytest's own fixtures change, print or record."""
    arguments = function.args
    given = {"self", "cls"} | known
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        if argument.arg in given or (argument.arg == "request" and _asks_for_its_case(function)):
            continue
        message = f"`{argument.arg}` is no parameter of a pytest.mark.parametrize and no fixture of this file."
        fix = "Write a case's names out in the mark; give trial(...) the world, script or now; or define the fixture here."
        findings.add("foreign_fixture", argument, message, fix)


def _parametrized(decorators: list[ast.expr]) -> set[str]:
    """The names in parametrize marks, written as a text or as texts."""
    found: set[str] = set()
    for call in (node for decorator in decorators for node in ast.walk(decorator) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "parametrize":
            first = call.args[0] if call.args else next((word.value for word in call.keywords if word.arg == "argnames"), None)
            texts = [part.value for part in ast.walk(first) if isinstance(part, ast.Constant)] if first is not None else []
            found |= {name.strip() for text in texts if isinstance(text, str) for name in text.split(",")}
    return found


def _asks_for_its_case(function: Test) -> bool:
    """Whether `request` is used for `request.param` alone."""
    uses = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == "request"]
    params = [node for node in ast.walk(function) if isinstance(node, ast.Attribute) and node.attr == "param"]
    return bool(uses) and {id(node) for node in uses} <= {id(node.value) for node in params}


def _asserting(functions: list[Test], names: Names) -> set[str]:
    """Functions that assert something, or call one of the file that does."""
    found = {function.name for function in functions if any(_asserts(node, names) for node in ast.walk(function))}
    calls = {function.name: {_called(node) for node in ast.walk(function) if isinstance(node, ast.Call)} for function in functions}
    while more := {name for name, called in calls.items() if name not in found and called & found}:
        found |= more
    return found


def _asserts(node: ast.AST, names: Names) -> bool:
    if isinstance(node, ast.Assert):
        return not isinstance(node.test, ast.Constant)
    if isinstance(node, ast.Raise) and node.exc is not None:
        return any(isinstance(part, ast.Name) and part.id == "AssertionError" for part in ast.walk(node.exc))
    return isinstance(node, ast.Call) and names.dotted(node.func) in ("pytest.raises", "pytest.fail")


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""
