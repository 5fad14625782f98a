"""Child processes of tests: started with their output in a file, ended by id, gone when the test process is gone."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import until_async

ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(eq=False)
class Child:
    """One process that this one started. `output` holds what it printed."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace")

    def send(self, number: int) -> None:
        """Send a signal to this process alone."""
        if self.alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.process.wait(timeout=60)

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM, then SIGKILL if it does not end in time; returns the exit status."""
        self.send(signal.SIGTERM)
        try:
            return self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode


def start(
    command: Sequence[str], output: Path, *, env: Mapping[str, str] | None = None, user: int | None = None, cwd: Path = ROOT
) -> Child:
    """Start a process from the repository's root; `env` is added to this process's own. It dies with the test process."""
    with output.open("ab") as sink:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  # one system call, which takes no lock
        )
    return Child(process, output)


def start_module(module: str, *arguments: str, output: Path, env: Mapping[str, str] | None = None) -> Child:
    """`python -m module …` with this interpreter."""
    return start([sys.executable, "-m", module, *arguments], output, env=env)


async def kill_whole(pids: Iterable[int]) -> None:
    """SIGKILL to processes, and a wait until they and all below them run no more."""
    ends = [each for pid in pids for each in (pid, *descendants(pid))]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await until_async(lambda: not any(map(_runs, ends)), what="what was killed has ended")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:  # it was reaped
        return False


def descendants(pid: int) -> list[int]:
    """Every live process below `pid`, from /proc."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it ended while we looked
                continue
            below.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    open_ = [pid]
    while open_:
        children = below.get(open_.pop(), [])
        found += children
        open_ += children
    return found
