"""Which effects may have left this process and what they were answered, noted in a file before and after each leaves.

The database is asked beforehand, and for many effects at once, so an effect that it has begun may still wait for a connection; and what
became of it is committed while the next is on its way. A killed process takes nothing back that it has handed to the system: whoever gives
its work up reads here what certainly has not left, and what was answered. Only what left and was not answered is unknown. Who gives an
owner up closes its file first, and nothing leaves under a closed file: whatever their clocks say, one of the two sees what the other wrote.

It refuses to be: durable. After a reboot, on another machine, or where the file cannot be read, all that was begun is unknown.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from app.core.db import Database
from app.runtime.repository.effects import Claim, Move

AHEAD = 6
"""How many effects may be begun for each that a connector takes at once, where departures are noted."""
_SLOT = 1024  # the header is as long, and no slot lies in two pages of memory
_SLOTS = 64
_ANSWER_AT = 128
_FLAG_AT = 63
_OPEN, _CLOSED = b"o", b"c"
_END = b"\n"
_HEAD = re.compile(rb"([!-~]+) ([0-9]+)")
Notes = Mapping[tuple[str, int], Move | None]
"""By effect and fence: what may have left, with what became of it if that was said."""
log = logging.getLogger(__name__)


class Departures:
    """What this process notes, as one owner after the other. Processes that share a database on this machine find each other's notes.

    A database on a server is shared by machines that do not, so nothing is noted there (`kept` is false).
    """

    def __init__(self, database: Database) -> None:
        self._folder = _folder(database)
        self._owner = ""
        self._fd = -1
        self._free: list[int] = []
        self._slots = 0
        self._taken: dict[Claim, int] = {}  # not by effect: another claim of it may be in flight already when this one is answered

    @property
    def kept(self) -> bool:
        """Whether departures are noted, and what is begun may therefore wait for its place."""
        return self._folder is not None

    def begin(self, owner: str) -> None:
        """Note for this owner from now on. Where no file can be made, what it has begun is unknown if it dies."""
        self.end()
        self._owner, self._free, self._slots, self._taken = owner, list(range(_SLOTS)), _SLOTS, {}
        if self._folder is None:
            return
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._fd = os.open(self._folder / owner, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.pwrite(self._fd, bytes((1 + _SLOTS) * _SLOT), 0)
            os.pwrite(self._fd, _header(), 0)
        except OSError:  # a full disk: without its header a file says nothing
            log.exception("departures cannot be noted")
            self.end()
            self._owner = owner

    def note(self, claim: Claim) -> bool:
        """A held effect is about to leave. False: it must not, since others have given its owner up, or it cannot be noted."""
        if claim.owner != self._owner:
            return False
        if self._fd < 0:
            return True
        if not self._free:
            self._free.append(self._slots)
            self._slots += 1
        slot = self._free.pop()
        if self._write(slot, _head(claim)) and self.open:
            self._taken[claim] = slot
            return True
        self._free.append(slot)
        return False

    def answered(self, end: Move) -> bool:
        """What became of an effect that has left. False: it is too long to be noted, so it is unknown until it is committed."""
        slot = self._taken.get(end.claim)
        if slot is None:
            return self._fd < 0
        text = json.dumps(end[2:]).encode() + _END
        if len(text) > _SLOT - _ANSWER_AT:
            return False
        os.pwrite(self._fd, text, (1 + slot) * _SLOT + _ANSWER_AT)
        return True

    def settled(self, claim: Claim) -> None:
        """What became of it is durable: its note may give way to another."""
        slot = self._taken.pop(claim, None)
        if slot is not None:
            self._free.append(slot)

    @property
    def open(self) -> bool:
        """Whether nobody has given this owner up, as far as its file says."""
        return self._fd < 0 or os.pread(self._fd, 1, _FLAG_AT) == _OPEN

    def end(self) -> None:
        """Nothing leaves any more in the name of this owner. Its file stays for those who look at what it has left behind."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._owner, self._taken = -1, "", {}

    def _write(self, slot: int, head: bytes) -> bool:
        try:
            return os.pwrite(self._fd, head, (1 + slot) * _SLOT) == len(head)
        except OSError:
            log.exception("a departure could not be noted")
            return False


def closed(database: Database, owner: str) -> Notes | None:
    """Close the file of an owner that is given up; returns its notes. None: what has left is not known."""
    folder = _folder(database)
    if folder is None:
        return None
    try:
        fd = os.open(folder / owner, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "r+b", buffering=0) as file:
        if os.pread(fd, _FLAG_AT, 0) != _header()[:_FLAG_AT]:
            return None
        os.pwrite(fd, _CLOSED, _FLAG_AT)
        file.seek(_SLOT)
        return dict(_notes(file.readall(), owner))


def forget(database: Database, owners: Iterable[str]) -> None:
    """Remove the files of owners that hold nothing any more."""
    folder = _folder(database)
    if folder is not None:
        for owner in owners:
            (folder / owner).unlink(missing_ok=True)


def forget_all(database: Database) -> None:
    """Remove all files, of a database that is thrown away."""
    folder = _folder(database)
    if folder is not None and folder.exists():
        shutil.rmtree(folder)


def _notes(slots: bytes, owner: str) -> Iterable[tuple[tuple[str, int], Move | None]]:
    for start in range(0, len(slots), _SLOT):
        slot = slots[start : start + _SLOT]
        head = _HEAD.fullmatch(slot[:_ANSWER_AT].rstrip(b"\0"))
        if head is not None:  # else it is empty, or its process died within the note: nothing has left
            claim = Claim(head[1].decode(), owner, int(head[2]))
            answer, whole, _ = slot[_ANSWER_AT:].partition(_END)
            yield (claim.id, claim.fence), _move(claim, answer) if whole and not answer.startswith(b"\0") else None


def _head(claim: Claim) -> bytes:
    """Whose the slot is, and that it has no answer yet."""
    return f"{claim.id} {claim.fence}".encode().ljust(_ANSWER_AT + 1, b"\0")


def _move(claim: Claim, answer: bytes) -> Move | None:
    """None: nothing that a process of this release has written."""
    try:
        end: list[Any] = json.loads(answer)
        return Move(claim, "performing", *end)
    except (ValueError, TypeError):
        return None


def _folder(database: Database) -> Path | None:
    return None if database.path is None else database.path.with_name(f"{database.path.name}-departures")


@cache
def _header() -> bytes:
    """This boot of this machine, and that the file is open: the system's memory of a file ends with the boot."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    return boot.ljust(_FLAG_AT, b"\0")[:_FLAG_AT] + _OPEN
