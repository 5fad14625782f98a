"""The style that a linter cannot know: docstrings, reasons beside exceptions to rules, names, and how tests are written."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from pathlib import Path

import pytest

from app.core import errors
from tests.architecture.sources import Module, files, modules, modules_under, parse

SAYS_NOTHING = {"service", "util", "utils", "helper", "helpers", "common", "misc", "manager", "base"}
_SILENCED = re.compile(r"#\s*(noqa|type:\s*ignore|pragma|nosec)\b(:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|\[[\w, -]+\])?[\s#:-]*(?P<reason>.*)")
_ERRORS = {kind.__name__ for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ToolmintError)}
_ASSERTING = re.compile(r"^(assert|check|expect|until|must|should|wait_for|problem_of)")


@functools.cache
def _comments(text: str) -> dict[int, str]:
    return {t.start[0]: t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT}


def unexplained(module: Module) -> list[str]:
    """Silenced rules without a reason beside them."""
    found = []
    for line, comment in _comments(module.text).items():
        match = _SILENCED.search(comment)
        if match and len(match["reason"].split()) < 2:
            found.append(f"{module.path}:{line} {comment}")
    return found


def swallowing(module: Module) -> list[str]:
    """`except Exception` (or wider) that neither raises again nor says on its line, or the next, why it may."""
    comments = _comments(module.text)
    found = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        names = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"BaseException"}
        if not names & {"Exception", "BaseException"}:
            continue
        raises_again = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
        if not raises_again and not {node.lineno, node.lineno + 1} & comments.keys():
            found.append(f"{module.path}:{node.lineno}")
    return found


def adviceless(module: Module) -> list[str]:
    """Errors of the product that are made without saying what to do: neither `fix` nor `problems`, each of which names its place."""
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call) and len(node.args) > 1]
    made = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id in _ERRORS]
    silent = [node for node in made if not {"fix", "problems", None} & {keyword.arg for keyword in node.keywords}]
    return [f"{module.path}:{node.lineno} {ast.unparse(node)[:80]}" for node in silent]


def test_an_error_without_advice_is_noticed() -> None:
    assert adviceless(parse(Path("app/x.py"), "raise NotFound('a_code', 'a detail')"))
    assert not adviceless(parse(Path("app/x.py"), "raise NotFound('a_code', 'a detail', fix='what to do')"))


def test_every_error_says_what_to_do() -> None:
    assert [line for module in modules_under("app") for line in adviceless(module)] == []


def test_every_module_says_what_it_is() -> None:
    silent = [m.path.as_posix() for m in modules() if m.text.strip() and m.path.parts[0] != "docs" and not ast.get_docstring(m.tree)]
    assert silent == []


def test_every_module_of_the_product_says_what_it_refuses_to_be() -> None:
    told_elsewhere = {"models.py", "repository.py"}  # the same in each room, and told once in ARCHITECTURE.md; routes likewise
    product = [
        m
        for m in modules_under("app", "jobs")
        if m.text.strip() and m.path.name not in told_elsewhere and not {"routes", "repository"} & set(m.path.parts)
    ]
    unsaid = [m.path.as_posix() for m in product if "refuses" not in (ast.get_docstring(m.tree) or "")]
    assert unsaid == []


def test_a_room_holds_nothing_but_its_docstring_in_its_init() -> None:
    rooms = [m for m in modules_under("app", "jobs") if m.path.name == "__init__.py" and m.text.strip() and len(m.path.parts) <= 3]
    assert [m.path.as_posix() for m in rooms if len(m.tree.body) > 1] == []


def test_every_silenced_rule_has_its_reason_beside_it() -> None:
    assert [line for module in modules() for line in unexplained(module)] == []


def test_no_wide_except_swallows_without_a_reason() -> None:
    assert [line for module in modules() for line in swallowing(module)] == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("x = 1  # noqa: S101\n", True),
        ("x = 1  # noqa\n", True),
        ("x = 1  # type: ignore[attr-defined]\n", True),
        ("x = 1  # type: ignore[attr-defined]  # the library has no types\n", False),
        ("x = 1  # noqa: BLE001  one failure must not end the worker\n", False),
    ],
)
def test_a_silenced_rule_without_a_reason_is_noticed(text: str, wrong: bool) -> None:
    assert bool(unexplained(parse(Path("app/x.py"), text))) is wrong


def test_a_swallowing_except_is_noticed() -> None:
    assert swallowing(parse(Path("app/x.py"), "try:\n    pass\nexcept Exception:\n    pass\n"))
    assert not swallowing(parse(Path("app/x.py"), "try:\n    pass\nexcept Exception:  # the page shows it\n    pass\n"))


def test_files_are_named_for_what_they_do() -> None:
    product = [path for path in files() if path.parts[0] in {"app", "jobs", "templates", "generated_tools"}]
    assert [path.as_posix() for path in product if path.stem.strip("_") in SAYS_NOTHING and path.suffix in {".py", ".html"}] == []


def test_no_unfinished_work_is_marked_in_the_code() -> None:
    mark = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert [m.path.as_posix() for m in modules() for comment in _comments(m.text).values() if mark.search(comment)] == []


def _mocks(module: Module) -> list[str]:
    """Mocks, and parts that are replaced without a word beside it of why: taking a defence away is a reason, faking a part is none."""
    comments = _comments(module.text)
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            if any(re.search(r"(^|\.)mock($|\.)", name) for name in named):
                found.append(f"{module.path}:{node.lineno} imports a mock")
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "monkeypatch.setattr" and node.lineno not in comments:
            found.append(f"{module.path}:{node.lineno} replaces a part")
    return found


def _sleeps(module: Module) -> list[str]:
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "asyncio.sleep", "anyio.sleep", "sleep"}:
            yields = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if not yields:
                found.append(f"{module.path}:{node.lineno}")
    return found


def test_tests_use_real_parts_and_no_mocks() -> None:
    assert [line for module in modules_under("tests") for line in _mocks(module)] == []


def test_tests_wait_for_conditions_and_never_just_sleep() -> None:
    waiting = Path("tests/support/waiting.py")
    assert [line for module in modules_under("tests") if module.path != waiting for line in _sleeps(module)] == []


def test_mocks_and_sleeps_are_noticed() -> None:
    assert _mocks(parse(Path("tests/x.py"), "from unittest import mock"))
    assert _mocks(parse(Path("tests/x.py"), "def f(monkeypatch): monkeypatch.setattr(a, 'b', c)"))
    assert _sleeps(parse(Path("tests/x.py"), "import time\ntime.sleep(1)"))
    assert not _sleeps(parse(Path("tests/x.py"), "async def f(): await asyncio.sleep(0)"))


def asserts(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a test states something: an assert, `pytest.raises`, or a call of something that is named for asserting."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assert):
            return True
        if isinstance(inner, ast.Call):
            name = ast.unparse(inner.func)
            if name.endswith((".raises", ".fail", ".warns")) or _ASSERTING.match(name.rpartition(".")[2].lstrip("_")):
                return True
    return False


def test_every_test_asserts_something() -> None:
    tests = [(m, node) for m in modules_under("tests") for node in m.functions() if node.name.startswith("test_")]
    assert len(tests) > 20
    assert [f"{m.path}:{node.name}" for m, node in tests if not asserts(node)] == []


def test_test_names_are_sentences() -> None:
    tests = [(m, node) for m in modules_under("tests") for node in m.functions() if node.name.startswith("test_")]
    assert [f"{m.path}:{node.name}" for m, node in tests if node.name.count("_") < 2] == []
