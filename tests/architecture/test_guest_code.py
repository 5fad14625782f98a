"""What a guest may import: the standard library, the toolkit and its contract, and nothing of the service."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.architecture.sources import Module, imports, modules_under, parse

GIVEN = {"toolkit", "contract"}
BESIDE_A_TEST = {"tool", "pytest"}


def foreign(module: Module) -> list[str]:
    """Imports that a guest would not find in its sandbox."""
    allowed = set(sys.stdlib_module_names) | GIVEN | (BESIDE_A_TEST if module.path.name.startswith("test_") else set())
    inside = module.path.parts[:2] == ("generated_tools", "toolkit")
    return [
        f"{module.path}:{line} imports {name}"
        for name, line in imports(module)
        if name.split(".")[0] not in allowed and not (inside and name.startswith("generated_tools.toolkit"))
    ]


def test_tools_and_toolkit_import_only_what_a_guest_has() -> None:
    assert [line for module in modules_under("generated_tools") for line in foreign(module)] == []


def test_a_foreign_import_is_noticed() -> None:
    assert foreign(parse(Path("generated_tools/a/b/tool.py"), "import app.core"))
    assert foreign(parse(Path("generated_tools/a/b/tool.py"), "import httpx2"))
    assert not foreign(parse(Path("generated_tools/a/b/tool.py"), "from contract import Args\nimport json"))
