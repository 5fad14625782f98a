"""What is private to a room stays there: its repository, and the tables of others are reached through use cases."""

from __future__ import annotations

from pathlib import Path

from tests.architecture.sources import Module, imports, modules_under, parse


def _room(name: str) -> str:
    return ".".join(name.split(".")[:2])


def trespasses(module: Module) -> list[str]:
    """Imports of another room's repository."""
    found = []
    for name, line in imports(module):
        parts = name.split(".")
        if parts[0] == "app" and "repository" in parts[2:] and _room(name) != _room(module.name):
            found.append(f"{module.path}:{line} imports {name}")
    return found


def test_a_repository_is_imported_by_its_own_room_only() -> None:
    assert [line for module in modules_under("app", "jobs", "generated_tools") for line in trespasses(module)] == []


def test_a_trespass_is_noticed_in_each_way_of_writing_it() -> None:
    for text in (
        "from app.runtime import repository",
        "import app.runtime.repository",
        "from app.runtime.repository.runs import begin",
        "from ..runtime.repository import runs",
    ):
        assert trespasses(parse(Path("app/api/runs.py"), text))
    assert not trespasses(parse(Path("app/runtime/queue.py"), "from app.runtime.repository import runs"))
