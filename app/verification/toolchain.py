"""What a candidate is verified with: versions and digests of the interpreter, the checkers, the toolkit, the gates and the whole platform.

A report carries it, so that evidence says what it was made by. The digest of a distribution covers the files of its package as the index
served them, without launchers and records that name this machine.

It refuses to be: an inventory of the machine. Those who want every library look at the platform's digest.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import app
from app.registry.artifact import toolkit_digest

CHECKERS = ("ruff", "mypy", "pytest")
_LAUNCHER_BYTES = 1000


@functools.cache
def _toolchain() -> dict[str, Any]:
    ours = Path(app.__path__[0])
    return {
        "toolmint": {"version": distribution("toolmint").version, "sha256": _sources(ours)},
        "gates": {"sha256": _sources(ours / "verification")},
        "toolkit": {"sha256": toolkit_digest()},
        "python": {"version": sys.version.split()[0], "sha256": _file(Path(sys.executable).resolve())},
        **{name: {"version": distribution(name).version, "sha256": _installed(name)} for name in CHECKERS},
    }


def toolchain() -> dict[str, Any]:
    """`{"toolmint", "gates", "toolkit", "python", "ruff", "mypy", "pytest"}`, each with `sha256` and, where it has one, `version`."""
    return {name: dict(facts) for name, facts in _toolchain().items()}


def _sources(folder: Path) -> str:
    """SHA-256 over the names and contents of the Python files below a folder."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        whole.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return whole.hexdigest()


def _file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _installed(name: str) -> str:
    return hashlib.sha256("\n".join(sorted(_recorded(name))).encode()).hexdigest()


def _recorded(name: str) -> Iterator[str]:
    for file in distribution(name).files or ():
        ours = ".dist-info" in file.as_posix() or ("bin" in file.parts and (file.size or 0) < _LAUNCHER_BYTES)
        if file.hash is not None and not ours:
            yield f"{file.as_posix()} {file.hash.value}"
