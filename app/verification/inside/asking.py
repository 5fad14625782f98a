"""What a suite asks of pytest: fixtures of its own with plain words, and of an error that it expects no more than the error.

A fixture that is told pytest's configuration, or an error's frames, leads from a test into what runs the tests. It refuses to be: what
keeps a suite from being believed. Whoever counts imports no suite; this is why it says so before it is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .findings import Findings
from .names import Names

_OF_PYTEST = """
LineMatcher cache capfd capfdbinary caplog capsys capsysbinary capteesys doctest_namespace linecomp monkeypatch pytestconfig pytester
record_property record_testsuite_property record_xml_attribute recwarn request subtests testdir tmp_path tmp_path_factory tmpdir
tmpdir_factory
"""
_LITERAL = frozenset({"autouse", "name", "scope"})
_WORDS = {
    "pytest.fixture": _LITERAL | {"ids", "params"},
    "pytest.mark.parametrize": frozenset({"argnames", "argvalues", "ids", "scope", "indirect"}),
}
_OF_AN_ERROR = ("value", "type", "typename", "match", "exconly")
_BEHIND_AN_ERROR = frozenset({"getrepr", "tb", "traceback"})
_HOOKS = ("pytest_", "pytestmark")
_ERROR_ITSELF = f"Ask for {', '.join(f'.{name}' for name in _OF_AN_ERROR)} of what pytest.raises(...) gives, e.g. caught.value."


def check_asked(tree: ast.Module, names: Names, findings: Findings) -> None:
    """All that a file asks of pytest beyond running its tests."""
    decorators = {id(part) for part in _decorators(tree)}
    for node in ast.walk(tree):
        _check_hook(node, findings)
        _check_words(node, names, findings)
        if isinstance(node, ast.FunctionDef):
            _check_fixture(node, names, findings)
        elif names.dotted(node) == "pytest.fixture" and id(node) not in decorators:
            findings.add(
                "fixture_computed", node, "`pytest.fixture` is handed on.", "Write it as a decorator: @pytest.fixture above a def."
            )
        _check_behind(node, names, findings)
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Module)):
        _check_caught(function, names, findings)


def fixture_names(function: ast.FunctionDef, names: Names) -> Iterator[str]:
    """The name under which a function is a fixture; none where it is not."""
    for decorator in function.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        if names.dotted(call.func if call else decorator) == "pytest.fixture":
            words = [word.value for word in call.keywords if word.arg == "name"] if call else []
            yield str(words[0].value) if words and isinstance(words[0], ast.Constant) else function.name


def _decorators(tree: ast.Module) -> Iterator[ast.expr]:
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for decorator in function.decorator_list:
            yield decorator.func if isinstance(decorator, ast.Call) else decorator


def _check_hook(node: ast.AST, findings: Findings) -> None:
    for name in _named(node):
        if name.startswith(_HOOKS):
            findings.add("pytest_hook", node, f"`{name}` changes how pytest runs or reports.", "Leave it out: tests are plain functions.")


def _named(node: ast.AST) -> tuple[str, ...]:
    """The names that a node gives to something, or asks for."""
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            return (node.name,)
        case ast.Name():
            return (node.id,)
        case ast.alias():
            return (node.asname or node.name,)
        case ast.Attribute(ctx=ast.Store()):
            return (node.attr,)
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            return (name,)
        case ast.ExceptHandler(name=str(name)):
            return (name,)
    return ()


def _check_words(node: ast.AST, names: Names, findings: Findings) -> None:
    """Pytest calls what it is given for a scope with its configuration."""
    allowed = _WORDS.get(names.dotted(node.func) or "") if isinstance(node, ast.Call) else None
    if allowed is None or not isinstance(node, ast.Call):
        return
    for word in node.keywords:
        if word.arg not in allowed or (word.arg in _LITERAL and not isinstance(word.value, ast.Constant)):
            message = f"`{ast.unparse(word)[:60]}` is computed, or no word of {ast.unparse(node.func)}."
            findings.add("fixture_computed", word.value, message, 'Write scope, name and autouse as they are, e.g. scope="module".')


def _check_fixture(function: ast.FunctionDef, names: Names, findings: Findings) -> None:
    for name in fixture_names(function, names):
        taken = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
        if name in _OF_PYTEST.split() or name in taken:
            message = f"The fixture `{name}` takes the place of pytest's own, or of itself."
            findings.add("foreign_fixture", function, message, "Give it another name, and say in it what the case needs.")


def _check_behind(node: ast.AST, names: Names, findings: Findings) -> None:
    match node:
        case ast.Attribute(attr=name) if name in _BEHIND_AN_ERROR:
            findings.add("escape", node, f"`.{name}` reaches the frames of what runs.", _ERROR_ITSELF)
        case ast.MatchClass() if names.dotted(node.cls) == "pytest.ExceptionInfo" or _BEHIND_AN_ERROR & set(node.kwd_attrs):
            findings.add("escape", node, f"`case {ast.unparse(node)[:60]}` reaches the frames of what runs.", _ERROR_ITSELF)


def _check_caught(scope: ast.FunctionDef | ast.Module, names: Names, findings: Findings) -> None:
    """What `pytest.raises(...) as caught` gives, in the function that asks for it."""
    parts = list(ast.walk(scope)) if isinstance(scope, ast.FunctionDef) else [part for each in scope.body for part in _outside(each)]
    items = [item for node in parts if isinstance(node, ast.With) for item in node.items if _raises(item.context_expr, names)]
    for item in items:
        if item.optional_vars is not None and not isinstance(item.optional_vars, ast.Name):
            findings.add("escape", item.optional_vars, "What pytest.raises(...) gives is put away.", "Give it a plain name: `as caught`.")
    caught = {item.optional_vars.id for item in items if isinstance(item.optional_vars, ast.Name)}
    asked = {id(node.value) for node in parts if isinstance(node, ast.Attribute) and node.attr in _OF_AN_ERROR}
    asked |= {id(given) for node in parts if _calls_own(node, names) for given in ast.iter_child_nodes(node)}
    for node in parts:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in caught and id(node) not in asked:
            findings.add("escape", node, f"`{node.id}` is used for more than the error that was raised.", _ERROR_ITSELF)


def _outside(statement: ast.stmt) -> Iterator[ast.AST]:
    """All of a statement but what is in a function."""
    if isinstance(statement, ast.FunctionDef):
        return
    yield statement
    for child in ast.iter_child_nodes(statement):
        yield from _outside(child) if isinstance(child, ast.stmt) else ast.walk(child)


def _raises(node: ast.expr, names: Names) -> bool:
    return isinstance(node, ast.Call) and names.dotted(node.func) == "pytest.raises"


def _calls_own(node: ast.AST, names: Names) -> bool:
    """Whether this calls a function of the file, to which the same rules apply."""
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names.module and names.dotted(node.func) is None
    )
