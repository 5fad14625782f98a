"""Artifacts on disk: read-only folders `<tool>/<version>/`, written whole or not at all, and read back byte for byte.

The database holds what is published; the folder shows it, and is watched: a stamp of a few `stat` calls tells whether anything in it
may have changed since it was last read.

It refuses to be: trusted. What is read here is compared with digests by whoever loads it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from app.core.actor import DEFAULT_TENANT
from app.registry.artifact import MANIFEST, Artifact

Stamp = tuple[tuple[int, int, int, int], ...]
_PATHS = ("", "spec.json", "tool.py", "test_tool.py", "contract.py", MANIFEST)
_MOST_BYTES = 4_000_000


def folder_of(tools_dir: Path, tenant: str, tool: str, version: int) -> Path:
    """Where a version is shown; other tenants than the default one have a folder of their own."""
    base = tools_dir if tenant == DEFAULT_TENANT else tools_dir / f"@{tenant}"
    return base / tool / str(version)


def put(folder: Path, artifact: Artifact) -> None:
    """Write the artifact, read-only, by a rename; a folder that is there already is left alone."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for path, text in {**artifact.files, MANIFEST: artifact.manifest}.items():
            handle = os.open(fresh / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        fresh.chmod(0o755)
        fresh.rename(folder)
        folder.chmod(0o555)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        if not folder.is_dir():
            raise


def take(folder: Path, digest: str) -> Artifact:
    """What lies in the folder now, under the digest that it should have; nothing where something else stands in its place."""
    files: dict[str, str] = {}
    if not folder.is_dir():
        return Artifact(digest, "", files)
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        plain = entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size <= _MOST_BYTES
        files[entry.name] = Path(entry.path).read_bytes().decode(errors="surrogateescape") if plain else ""
    return Artifact(digest, files.pop(MANIFEST, ""), files)


def folders(tools_dir: Path) -> list[Path]:
    """The folders of versions that lie there, of all tenants."""
    found = [*tools_dir.glob("*/[0-9]*"), *tools_dir.glob("@*/*/[0-9]*")]
    return sorted(folder for folder in found if folder.is_dir() and folder.name.isdigit())


def move(folder: Path, target: Path) -> None:
    """Move a folder that is read-only."""
    folder.chmod(0o755)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, target)


def stamp(folder: str) -> Stamp | None:
    """What changes whenever the folder or a file in it does; None where something is missing. About ten microseconds."""
    try:
        found = [os.stat(f"{folder}/{path}") for path in _PATHS]  # noqa: PTH116  # a Path for each would cost as much again
    except OSError:
        return None
    return tuple((seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns) for seen in found)
