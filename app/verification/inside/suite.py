"""The shape of an author's tests: what pytest is asked for, what each test asserts, what keeps a failure from being seen.

Tests are judged by what they notice (gate "mutation"); these rules refuse what could only be there to notice nothing, or to notice
something other than what the tool does. It refuses to be: an opinion on how tests are laid out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .findings import Findings
from .names import Names, inside

_MARKS = frozenset({"parametrize"})
_TOO_WIDE = frozenset({"AssertionError", "BaseException", "Exception"})
_HOOKS = ("pytest_", "pytestmark")
_NAMED = "Name the error that is expected, e.g. ValueError; let a failed assertion fail the test."

Test = ast.FunctionDef


def check_suite(tree: ast.Module, names: Names, findings: Findings) -> None:
    """Every test of a file, and what stands around them."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    fixtures = {name for node in functions for name in _fixture_names(node, names)}
    asserting = _asserting(functions, names)
    for node in ast.walk(tree):
        _check_hook(node, findings)
        _check_mark(node, names, findings)
        _check_swallowing(node, names, findings)
        _check_chance(node, names, findings)
    for function in functions:
        is_test = function.name.startswith("test")
        if is_test or any(_fixture_names(function, names)):
            _check_parameters(function, fixtures, findings)
        if is_test and function.name not in asserting:
            message = f"{function.name} asserts nothing: it passes whatever the tool does."
            fix = "Assert what trial(...) returned: result, error, effects with their items and status, world."
            findings.add("asserts_nothing", function, message, fix)


def _check_hook(node: ast.AST, findings: Findings) -> None:
    name = node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else node.id if isinstance(node, ast.Name) else ""
    if name.startswith(_HOOKS):
        findings.add("pytest_hook", node, f"`{name}` changes how pytest runs or reports.", "Leave it out: tests are plain functions.")


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
    elif isinstance(node, ast.Call) and names.dotted(node.func) in ("pytest.raises", "contextlib.suppress"):
        wide = _TOO_WIDE - ({"Exception"} if names.dotted(node.func) == "pytest.raises" else set())
        given = [*node.args, *(word.value for word in node.keywords)]
        if wide & {part.id for value in given for part in ast.walk(value) if isinstance(part, ast.Name)}:
            findings.add("test_swallows", node, f"`{ast.unparse(node)[:80]}` keeps a failed assertion from being seen.", _NAMED)


def _check_chance(node: ast.AST, names: Names, findings: Findings) -> None:
    if isinstance(node, ast.Call) and names.dotted(node.func) == "random.Random" and not node.args:
        message = "`Random()` without a seed is another one in each run: the test proves something else each time."
        findings.add("randomness", node, message, "Give it a seed, e.g. Random(7).")


def _check_parameters(function: Test, fixtures: set[str], findings: Findings) -> None:
    """A parameter is a case's value or a fixture of this file: pytest's own fixtures change, print or record."""
    arguments = function.args
    given = {"self", "cls"} | fixtures | _parametrized(function)
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        if argument.arg in given or (argument.arg == "request" and _asks_for_its_case(function)):
            continue
        message = f"`{argument.arg}` is no parameter of a pytest.mark.parametrize and no fixture of this file."
        fix = "Give trial(...) the world, script or now that bring the case about; or define the fixture here."
        findings.add("foreign_fixture", argument, message, fix)


def _parametrized(function: Test) -> set[str]:
    """The names in the parametrize marks, of a function or its class, written as a text or as texts."""
    found: set[str] = set()
    for call in (node for decorator in function.decorator_list for node in ast.walk(decorator) if isinstance(node, ast.Call)):
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


def _fixture_names(function: Test, names: Names) -> Iterator[str]:
    for decorator in function.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        if names.dotted(call.func if call else decorator) == "pytest.fixture":
            words = [word.value for word in call.keywords if word.arg == "name"] if call else []
            yield str(words[0].value) if words and isinstance(words[0], ast.Constant) else function.name


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
    return isinstance(node, ast.Call) and names.dotted(node.func) in ("pytest.raises", "pytest.fail")


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""
