"""What every child process of this room does first: give up most of what a process may use.

It refuses to be: the sandbox. It bounds work on texts that are parsed, not programs that are run.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import app

ROOT = Path(app.__file__).resolve().parents[1]
_MEGABYTE = 1 << 20


def confine(*, memory_mb: int, cpu_s: int | None) -> None:
    """Bound this process: address space, CPU seconds, open files; no file can be written, no process started."""
    _bound(resource.RLIMIT_AS, memory_mb * _MEGABYTE)
    if cpu_s is not None:
        _bound(resource.RLIMIT_CPU, cpu_s)
    _bound(resource.RLIMIT_FSIZE, 0)
    _bound(resource.RLIMIT_NOFILE, 64)
    _bound(resource.RLIMIT_CORE, 0)
    if os.getuid() != 0:  # the kernel does not count root's processes, and a limit of others would refuse their threads
        _bound(resource.RLIMIT_NPROC, 1)


def _bound(limit: int, value: int) -> None:
    _soft, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


def child_command(module: str) -> list[str]:
    """The command of a child: this interpreter, without user site packages, on one module of ours."""
    return [sys.executable, "-s", "-P", "-m", module]


def child_environment() -> dict[str, str]:
    """The whole environment of a child: nothing of ours but the way to our own code, so no secret reaches it."""
    return {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
