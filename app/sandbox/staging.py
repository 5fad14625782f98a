"""Paths that the sandbox's host uid can read: the original where it can, else a copy made once in a place that it can reach.

A service run by root may live in a folder that is closed to everyone else; bubblewrap mounts as the sandbox's own uid and must reach it.

It refuses to be: a cache of anything secret. Only programs and libraries are copied.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from app.core.errors import Unavailable

Ignore = Callable[[str, list[str]], set[str]]


def readable(path: Path, uid: int | None) -> bool:
    """Whether the host uid `uid` (None: our own) can reach and read `path`, by the mode bits for others."""
    try:
        if uid is None:
            return os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0))
        real = path.resolve(strict=True)
        open_way = all(parent.stat().st_mode & stat.S_IXOTH for parent in real.parents)
        needed = stat.S_IROTH | (stat.S_IXOTH if real.is_dir() else 0)
        return open_way and real.stat().st_mode & needed == needed
    except OSError:
        return False


def staging_root(home: Path, uid: int | None) -> Path:
    """Where copies live: `home`/sandbox where the uid can reach it, else a folder of ours under the system's temporary one.

    Raises Unavailable `staging_unsafe` where somebody else owns that folder.
    """
    preferred = home.resolve() / "sandbox"
    preferred.mkdir(parents=True, exist_ok=True, mode=0o755)
    if readable(preferred, uid):
        return preferred
    fallback = Path(tempfile.gettempdir()).resolve() / f"toolmint-sandbox-{os.geteuid()}"
    fallback.mkdir(exist_ok=True, mode=0o755)
    held = fallback.lstat()
    if not stat.S_ISDIR(held.st_mode) or held.st_uid != os.geteuid() or held.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unavailable("staging_unsafe", f"{fallback} is not a folder of ours", fix=f"remove {fallback}", retryable=False)
    fallback.chmod(0o755)
    return fallback


def fingerprint(source: Path) -> str:
    """A short digest of a file's or tree's names, sizes and times, so that a changed source is copied anew."""
    digest = hashlib.sha256(str(source.resolve()).encode())
    files = (
        [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    )
    for path in files:
        held = path.stat()
        digest.update(f"{path.relative_to(source.parent)}:{held.st_size}:{held.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def staged(source: Path, root: Path, uid: int | None) -> Path:
    """`source` itself where the uid can read it, else a readable copy under `root`."""
    return (
        source if readable(source, uid) else build(root / f"{source.name}-{fingerprint(source)}" / source.name, lambda to: copy(source, to))
    )


def copy(source: Path, target: Path, ignore: Ignore | None = None) -> None:
    """Copy a file or tree; everyone may read it, only we may write it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        shutil.copy2(source, target)
        target.chmod(0o755 if source.stat().st_mode & stat.S_IXUSR else 0o644)
        return
    shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
    for folder, _, names in os.walk(target):
        Path(folder).chmod(0o755)
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def build(target: Path, make: Callable[[Path], None]) -> Path:
    """`target`, made by `make` in a folder beside it and moved into place whole, so that a second process never sees a half."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
    try:
        scratch.chmod(0o755)
        make(scratch / target.name)
        try:
            (scratch / target.name).rename(target)
        except OSError:
            if not target.exists():  # otherwise another process built the same in the meantime
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target
