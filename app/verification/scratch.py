"""Folders for one verification's private files. Who works in one holds a lock on it, so that the next sees whose process died.

It refuses to be: kept. A folder goes with its verification; one that a killed worker left goes with the next verification.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

_PREFIX = "bench-"


@asynccontextmanager
async def scratch_folder(parent: Path) -> AsyncIterator[Path]:
    """A new folder below `parent`, gone afterwards; those that nobody works in any more go first. Files are worked on in a thread."""
    taking = asyncio.ensure_future(asyncio.to_thread(_take, parent))
    try:
        folder, held = await asyncio.shield(taking)
    except asyncio.CancelledError:
        await asyncio.to_thread(_give_back, *await taking)  # a thread does not stop: what it is about to take goes as well
        raise
    try:
        yield folder
    finally:
        await asyncio.to_thread(_give_back, folder, held)


def _take(parent: Path) -> tuple[Path, int]:
    """The folder, and what holds the lock on it."""
    with _locked(parent):  # so that no folder is seen between its making and its lock
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        held = _open(folder)
        fcntl.flock(held, fcntl.LOCK_EX)
    return folder, held


def _give_back(folder: Path, held: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(held)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError, BlockingIOError), _locked(folder, fcntl.LOCK_NB):  # it just went, or somebody works in it
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path, how: int = 0) -> Iterator[None]:
    held = _open(folder)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(held)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
