"""Which Python a guest runs on: the service's minor version, in a place that the sandbox's uid can read.

The service's own, else the system's, else a copy of the service's made at set-up. It refuses to be: a way to another minor version, since a
tool must compile and behave as it did when it was verified.
"""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.sandbox.staging import build, copy, readable

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
FLAGS = ("-s", "-S", "-P", "-B")
"""No user site, no site, no unsafe path, no bytecode written. Not -I, which would ignore the fixed hash seed."""

INSIDE = "/python"


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path shown read-only at `target`."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`executable` is its path in the sandbox; `library_path` where its shared library is, if it has one outside the loader's way."""

    origin: Literal["service", "system", "copy"]
    executable: str
    host_executable: str
    mounts: tuple[Mount, ...] = ()
    library_path: str | None = None

    @property
    def command(self) -> tuple[str, ...]:
        """The executable with the flags that every guest runs under."""
        return (self.executable, *FLAGS)


def choose(root: Path, uid: int | None) -> Interpreter:
    """The first that can be read by `uid`; copies go below `root`. A candidate needs its standard library with ctypes."""
    prefix = Path(sys.base_prefix)
    if prefix != Path("/usr") and _whole(prefix, uid):
        return _mounted("service", prefix)
    if _whole(Path("/usr"), uid):
        executable = f"/usr/bin/python{VERSION}"
        return Interpreter("system", executable, executable, (Mount(str(Path(executable).resolve()), executable),))
    return _mounted("copy", copied(prefix, root))


def copied(prefix: Path, root: Path) -> Path:
    """A copy of an installation's executable and library without what no guest needs (about 40 MB)."""

    def make(target: Path) -> None:
        copy(prefix / "bin" / f"python{VERSION}", target / "bin" / f"python{VERSION}")
        copy(prefix / "lib" / f"python{VERSION}", target / "lib" / f"python{VERSION}", _unneeded)
        for library in (prefix / "lib").glob("libpython*.so*"):
            copy(library.resolve(), target / "lib" / library.name)

    return build(root / f"python-{sys.version.split()[0]}", make)


def _unneeded(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in _LEFT_OUT or name.startswith("config-")}


_LEFT_OUT = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "pydoc_data",
    "venv",
}


def _whole(prefix: Path, uid: int | None) -> bool:
    library = prefix / "lib" / f"python{VERSION}"
    needed = [prefix / "bin" / f"python{VERSION}", library, library / "os.py", library / "ctypes" / "__init__.py", library / "lib-dynload"]
    return all(readable(path, uid) for path in needed)


def _mounted(origin: Literal["service", "copy"], prefix: Path) -> Interpreter:
    executable = f"{INSIDE}/bin/python{VERSION}"
    host = prefix / "bin" / f"python{VERSION}"
    mounts = (Mount(str(host.resolve()), executable), Mount(str((prefix / "lib").resolve()), f"{INSIDE}/lib"))
    shared = bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))
    return Interpreter(origin, executable, str(host), mounts, f"{INSIDE}/lib" if shared else None)
