"""Backup files for tests, with a part changed.

It refuses to be: a writer of backups.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path


def rewritten(source: Path, target: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """A copy of a backup with one member changed, and the manifest as it was."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            stream = old.extractfile(member)
            assert stream is not None
            content = stream.read()
            content = change(content) if member.name == name else content
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
