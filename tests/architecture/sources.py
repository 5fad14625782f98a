"""The repository's files as the architecture tests see them: what git tracks, and what it would add.

It refuses to be: a list that somebody must keep. New files are seen by themselves.
"""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LEFT_OUT = {".git", ".venv", ".toolmint", "__pycache__", ".mypy_cache", ".ruff_cache", "build", "published"}


@functools.cache
def files() -> tuple[Path, ...]:
    """Relative paths of every file of the repository, ignored ones left out."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
        ).stdout
        found = [Path(name) for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):  # an archive without git
        found = [path.relative_to(ROOT) for path in ROOT.rglob("*") if not _LEFT_OUT & set(path.relative_to(ROOT).parts)]
    return tuple(sorted(path for path in found if (ROOT / path).is_file()))


@dataclass(frozen=True)
class Module:
    """A Python file: its relative path, text and syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """`app.core.db`"""
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


@functools.cache
def modules() -> tuple[Module, ...]:
    """Every Python file of the repository."""
    return tuple(parse(path, (ROOT / path).read_text(encoding="utf-8")) for path in files() if path.suffix == ".py")


def parse(path: Path, text: str) -> Module:
    return Module(path, text, ast.parse(text, str(path)))


def modules_under(*tops: str) -> list[Module]:
    """The Python files below these top-level folders."""
    return [module for module in modules() if module.path.parts[0] in tops]


@functools.cache
def texts() -> tuple[tuple[Path, str], ...]:
    """Every file that is UTF-8 text, but for the lock file and what is vendored."""
    found = []
    for path in files():
        if "vendor" in path.parts or path.name == "requirements.lock":
            continue
        try:
            found.append((path, (ROOT / path).read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return tuple(found)


def imports(module: Module) -> Iterator[tuple[str, int]]:
    """Every imported name with its line, `from a import b` as `a.b`, relative imports resolved."""
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
