"""Control groups, v2 or v1, where this process may make them: the only limit that holds for all processes of a sandbox together.

Where none can be made, limits per process and per uid remain; the proof says which holds. It refuses to be: required.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from app.sandbox.limits import MIB, ProcessLimits

ROOT = Path("/sys/fs/cgroup")
_PREFIX = "toolmint-"
_serial = count(1)
_process = secrets.token_hex(4)
"""Beside the pid, which a process that died with its groups may have had as well."""
_NAMESPACE = str(Path("/proc/self/ns/pid").stat().st_ino)
"""Pids mean something in their own namespace alone."""
_REMOVE_TRIES = 1000
_CLEAR_TRIES = 100
_STANDS_BACK = {"cpu": {"cpu.shares": 512, "cpu.idle": 1}, "unified": {"cpu.weight": 50, "cpu.idle": 1}}
"""Processes that stand back (`launcher.Plan.background`) do so within their group alone: it has to stand back as well.

In this order: an idle group has no share to write. A kernel before 5.15 knows no idle groups; there it gets half a share.
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Folders to enter before the sandbox is made: one for v2, one per controller for v1."""

    folders: tuple[str, ...]

    def out_of_memory(self) -> bool:
        """Whether the kernel ended a process of it for memory."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    lines = dict(line.split() for line in Path(folder, name).read_text().splitlines())
                    if int(lines.get("oom_kill", 0)):
                        return True
        return False

    def take(self, pid: int) -> None:
        """Move a process into it. Raises ProcessLookupError for one that has gone."""
        for folder in self.folders:
            Path(folder, "cgroup.procs").write_text(str(pid))

    def cpu_ms(self) -> int | None:
        """CPU time of all its processes so far; None where no group could be made."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                return int(Path(folder, "cpuacct.usage").read_text()) // 1_000_000
            with contextlib.suppress(OSError, KeyError, ValueError):
                return int(dict(line.split() for line in Path(folder, "cpu.stat").read_text().splitlines())["usage_usec"]) // 1000
        return None

    async def remove(self, tries: int = _REMOVE_TRIES) -> None:
        """Remove the folders; they empty a moment after the last process was reaped, and are left behind if they never do."""
        for _ in range(tries):
            if not [folder for folder in self.folders if not _removed(folder)]:  # one that stays holds up no other
                return
            await asyncio.sleep(0.005)  # the kernel gives no event for this on v1


@cache
def parents() -> dict[str, Path]:
    """Folder to make groups in, by controller of v1 (those of `memory`, `pids`, `cpuacct`, `cpu` there are), or `unified` for all.

    Empty where we may not.
    """
    own = dict(_own_paths())
    if "" in own and (unified := _first_usable([_below(ROOT, own[""]), ROOT], needs="memory")):
        return {"unified": unified}
    names = ("memory", "pids", "cpuacct", "cpu")
    found = {name: _first_usable([_below(ROOT / name, own[name]), ROOT / name]) for name in names if name in own}
    return {name: folder for name, folder in found.items() if folder is not None} if found.get("memory") else {}


def create(limits: ProcessLimits, *, background: bool = False) -> Group:
    """A group with the limits' memory and processes; without folders where none can be made.

    In the `background`, it gets the processor's time that nothing else wants.
    """
    settings: dict[str, dict[str, int]] = {
        "memory": {"memory.limit_in_bytes": limits.memory_mb * MIB},
        "pids": {"pids.max": limits.processes},
        "cpuacct": {},
        "unified": {"memory.max": limits.memory_mb * MIB, "memory.swap.max": 0, "pids.max": limits.processes},
    }
    if background:
        settings["cpu"] = _STANDS_BACK["cpu"]
        settings["unified"] |= _STANDS_BACK["unified"]
    return _make(settings)


def create_background() -> Group:
    """A group that limits nothing and stands back, for a sandbox whose limits are each child's own."""
    return _make(_STANDS_BACK)


async def clear() -> None:
    """End and remove what processes that are no more have left; an empty group of one that lives is about to be entered.

    A sandbox that was only starting when its process was killed does not end with it.
    """
    left = [str(folder) for parent in parents().values() for folder in parent.glob(f"{_PREFIX}*") if _deserted(folder.name)]
    for folder in left:
        _end(folder)
    await Group(tuple(left)).remove(_CLEAR_TRIES)


def _deserted(name: str) -> bool:
    pid, _, rest = name.removeprefix(_PREFIX).partition("-")
    return pid.isdigit() and rest.startswith(f"{_NAMESPACE}-") and not Path("/proc", pid).exists()


def _end(folder: str) -> None:
    """SIGKILL to all in it that we see and may end; another service that starts may have done so before."""
    with contextlib.suppress(FileNotFoundError):
        for pid in map(int, Path(folder, "cgroup.procs").read_text().split()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if pid:  # 0 stands for one of another pid namespace, and would mean ourselves
                    os.kill(pid, signal.SIGKILL)


def _make(settings: Mapping[str, Mapping[str, int]]) -> Group:
    name = f"{_PREFIX}{os.getpid()}-{_NAMESPACE}-{_process}-{next(_serial)}"
    folders: dict[str, None] = {}
    for controller, parent in parents().items():
        if controller not in settings:
            continue
        folder = parent / name
        folder.mkdir(exist_ok=True)  # cpu and cpuacct may be one folder by two names
        folders[str(folder.resolve())] = None
        for file, value in settings[controller].items():
            if (folder / file).exists():
                (folder / file).write_text(str(value))
    return Group(tuple(folders))


def _removed(folder: str) -> bool:
    try:
        Path(folder).rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # EBUSY: a process in it is not quite gone
        return False
    return True


def _own_paths() -> list[tuple[str, str]]:
    """(controller, path) of this process; the controller of v2 is the empty string."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    return [(name, path) for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")]


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _first_usable(folders: list[Path], needs: str | None = None) -> Path | None:
    """The first folder in which a group can be made, found by making one."""
    for folder in folders:
        trial = folder / f"toolmint-trial-{os.getpid()}"
        try:
            trial.mkdir()
        except OSError:
            continue
        usable = needs is None or (trial / f"{needs}.max").exists()
        trial.rmdir()
        if usable:
            return folder
    return None
