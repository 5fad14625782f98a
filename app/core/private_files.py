"""Files of ours that hold a secret: made once, whole, readable by their owner only, and on the disk before anyone relies on them.

It refuses to be: a vault. What a file holds, and what is done where others may read it, its owner decides.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_OTHERS = 0o077


def make_once(path: Path, text: str) -> bool:
    """Make the file unless it is there; says whether it was made here. Of processes that do so at once, one wins, with a whole file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = _written(path, text)
    try:
        os.link(fresh, path)
    except FileExistsError:
        return False
    finally:
        fresh.unlink()
    _settle(path.parent)
    return True


def replace(path: Path, text: str) -> None:
    """Put a file with this text in the place of the one that is there, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _written(path, text).replace(path)
    _settle(path.parent)


def exposed(path: Path) -> bool:
    """Whether anyone but the owner may read or change the file. Raises FileNotFoundError."""
    return bool(stat.S_IMODE(path.stat().st_mode) & _OTHERS)


def _written(path: Path, text: str) -> Path:
    fresh = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return fresh


def _settle(folder: Path) -> None:
    with suppress(OSError):  # a file system that cannot sync a folder keeps its promises or does not
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
