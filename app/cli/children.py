"""Child processes of the supervisor: started, reaped, started again with growing pauses, stopped by a deadline.

A child dies with its supervisor, even if that is killed with SIGKILL (PR_SET_PDEATHSIG, set between fork and exec). The
kernel ties that signal to the parent *thread*, so children are started from the main thread only.

It refuses to be: aware of what the children do.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0  # so that, with its start, work goes on within ten seconds of any death
STEADY_S = 10.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(eq=False)
class Child:
    """One supervised process. `pid` is None while it is down; `due` is the monotonic second at which it starts again."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    descriptors: tuple[int, ...] = ()
    pid: int | None = None
    due: float = 0.0
    started: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    restarts: int = -1
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> int:
        """Start it in a session of its own, so that Ctrl-C reaches the supervisor alone; returns the pid."""
        parent = os.getpid()

        def die_with_parent() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        self._process = subprocess.Popen(
            self.argv,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            pass_fds=self.descriptors,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  the supervisor has no other thread
        )
        self.pid, self.started = self._process.pid, time.monotonic()
        self.restarts += 1
        return self.pid

    def ended(self, code: int) -> None:
        """Note that it was reaped, end what it left behind, and say when it starts again."""
        self.send_group(signal.SIGKILL)
        if self._process is not None:
            self._process.returncode = code
        if time.monotonic() - self.started > STEADY_S:
            self.pause_s = FIRST_PAUSE_S
        self.due = time.monotonic() + self.pause_s
        self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)
        self.pid = None

    def send(self, number: int) -> None:
        """Signal the process itself, if it is up."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def send_group(self, number: int) -> None:
        """Signal the process and those that it started and did not set apart."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def adopt_orphans() -> None:
    """Have the kernel hand grandchildren without a parent to this process, which reaps them (in a container it is pid 1)."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reaped() -> dict[int, int]:
    """Every child that has ended since: pid → exit status as of `os.waitstatus_to_exitcode`."""
    ended: dict[int, int] = {}
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended


def how_it_ended(code: int) -> str:
    """`exit 1` or `SIGKILL`."""
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name
