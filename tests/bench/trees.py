"""CPU of a whole process tree, from /proc: live processes with the children that they have waited for."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.processes import descendants

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def cpu_ms(pid: int) -> float:
    """User and system time of `pid` and everything below it, in ms, at the kernel's resolution of 10 ms."""
    return sum(_one(each) for each in [pid, *descendants(pid)])


def _one(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(value) for value in fields[11:15]) * _TICK_MS
