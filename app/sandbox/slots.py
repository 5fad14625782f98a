"""Host uids of running sandboxes: one each, held by a lock file, so that the kernel's per-uid counts do not mix.

Only a service run by root can take another uid; otherwise a sandbox runs under the service's own.

It refuses to be: an allocator for anything else. The uids have no account, own no file and are never looked up.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from app.core.errors import Limited

FIRST_UID = 64000
SLOTS = 256


@dataclass(slots=True)
class Slot:
    """A held uid (None: the service's own); give it back with `release`, or by leaving the `with` block."""

    uid: int | None
    lock: int | None = None

    def release(self) -> None:
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def first_uid() -> int | None:
    """The uid that stands for all of them when asking what is readable."""
    return FIRST_UID if os.geteuid() == 0 else None


def claim() -> Slot:
    """A uid that no other sandbox on this machine holds. Raises Limited `sandbox_slots_taken` when all are."""
    if os.geteuid() != 0:
        return Slot(None)
    run = Path("/run")
    folder = (run if os.access(run, os.W_OK) else Path(tempfile.gettempdir())) / "toolmint-sandbox-uids"
    folder.mkdir(mode=0o700, exist_ok=True)
    start = secrets.randbelow(SLOTS)  # not the one given back last, whose processes may not all be gone yet
    for uid in (FIRST_UID + (start + step) % SLOTS for step in range(SLOTS)):
        lock = os.open(folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return Slot(uid, lock)
    raise Limited("sandbox_slots_taken", f"all {SLOTS} sandboxes of this machine are in use", fix="try again, or run fewer at once")
