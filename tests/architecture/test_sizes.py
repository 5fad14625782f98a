"""Growth forces a name: modules, functions and templates stay small, and each that may be larger says why."""

from __future__ import annotations

from pathlib import Path

from tests.architecture.sources import ROOT, Module, files, modules, parse

MODULE, FUNCTION, TEMPLATE = 400, 50, 120
MODULE_AT_MOST, FUNCTION_AT_MOST = 500, 70

LARGER_MODULES: dict[str, tuple[int, str]] = {}
"""path → (lines allowed, why)."""

LARGER_FUNCTIONS: dict[str, tuple[int, str]] = {}
"""path:function → (lines allowed, why)."""

GENERATED = ("alembic/versions/",)
"""Alembic writes these; a revision is as long as the change of tables."""

TABLES = ("defects.py",)
"""A table of the calibration set is as long as the mistakes that were seeded; it holds values alone."""


def _written_by_people(module: Module) -> bool:
    return not module.path.as_posix().startswith(GENERATED)


def long_functions(module: Module) -> list[tuple[str, int]]:
    """`(path:name, lines)` of functions over the limit, docstring and decorators included."""
    return [
        (f"{module.path.as_posix()}:{node.name}", length)
        for node in module.functions()
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION
    ]


def _allowed(path: str) -> int:
    return MODULE_AT_MOST if path.endswith(TABLES) else LARGER_MODULES.get(path, (MODULE, ""))[0]


def test_modules_stay_small() -> None:
    sizes = {m.path.as_posix(): m.text.count("\n") for m in modules() if _written_by_people(m)}
    assert {path: lines for path, lines in sizes.items() if lines > _allowed(path)} == {}


def test_a_table_of_defects_holds_values_alone() -> None:
    tables = [module for module in modules() if module.path.name in TABLES]
    assert [module.path.as_posix() for module in tables if any(module.functions())] == []


def test_functions_stay_small() -> None:
    found = [entry for module in modules() if _written_by_people(module) for entry in long_functions(module)]
    assert [(name, lines) for name, lines in found if lines > LARGER_FUNCTIONS.get(name, (FUNCTION, ""))[0]] == []


def test_templates_stay_small() -> None:
    sizes = {p.as_posix(): (ROOT / p).read_text().count("\n") for p in files() if p.parts[0] == "templates"}
    assert {path: lines for path, lines in sizes.items() if lines > TEMPLATE} == {}


def test_every_exception_is_needed_explained_and_bounded() -> None:
    sizes = {m.path.as_posix(): m.text.count("\n") for m in modules()}
    functions = dict(entry for module in modules() for entry in long_functions(module))
    for path, (allowed, why) in LARGER_MODULES.items():
        assert MODULE < sizes.get(path, 0) <= allowed <= MODULE_AT_MOST and len(why) > 20, path
    for name, (allowed, why) in LARGER_FUNCTIONS.items():
        assert FUNCTION < functions.get(name, 0) <= allowed <= FUNCTION_AT_MOST and len(why) > 20, name


def test_a_long_function_is_noticed() -> None:
    text = "def long() -> None:\n" + "    x = 1\n" * FUNCTION
    assert long_functions(parse(Path("app/x.py"), text)) == [("app/x.py:long", FUNCTION + 1)]
