"""The command line that makes a sandbox, as a pure function of a value: what is mounted, unshared, limited and filtered.

It refuses to be: configurable. A plan is made here for production and for verification; nothing in the service weakens one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.core.errors import Unavailable
from app.sandbox import seccomp
from app.sandbox.installation import Installation
from app.sandbox.interpreter import Mount
from app.sandbox.limits import CHILD_RLIMITS, MIB, ProcessLimits

INSIDE_UID = 64000
LIBRARY = "/guest/lib"
TOOLKIT = f"{LIBRARY}/toolkit"
CHECKERS_SITE = "/guest/checkers"
PROGRAMS = "/guest/bin"
WORK = "/work"

ENVIRONMENT: Mapping[str, str] = {
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONPATH": LIBRARY,
    "PATH": PROGRAMS,
}
"""All that any guest sees of an environment, in production and in verification; hash seed, locale and time zone are fixed."""

DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
NAMESPACES = ("user", "pid", "net", "ipc", "uts", "cgroup")


@dataclass(frozen=True, slots=True)
class Plan:
    """One sandbox to be made. `argv` turns it into a command; the spawner gives it the descriptors that the command names."""

    bwrap: str
    host_uid: int | None
    mounts: tuple[Mount, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)
    namespaces: tuple[str, ...] = NAMESPACES
    nested_namespaces: bool = False
    read_only_root: bool = True
    drop_capabilities: bool = True
    scratch_mb: int | None = None
    """Size of the writable tmpfs at /work; None: nothing is writable."""
    rlimits: Mapping[str, int] = field(default_factory=dict)
    """Of the whole sandbox, by prlimit's names."""
    broad_filter: bytes = b""
    strict_filter: bytes = b""
    """For the fork server's children; it applies this itself, in the child."""
    child_rlimits: Mapping[str, int] = field(default_factory=dict)
    background: bool = False
    """Whether it gets the processor's time that nothing else wants (SCHED_IDLE), so that whatever else wakes runs at once."""

    def argv(self, command: Sequence[str], *, seccomp_fd: int | None, files: Mapping[str, int], cgroups: Sequence[str] = ()) -> list[str]:
        """The whole command. `files` maps a path below /work to the descriptor that holds its content."""
        return [
            *_join_cgroups(cgroups),
            *([program("chrt"), "--idle", "0"] if self.background else ()),
            *_limit(self.rlimits),
            *_become(self.host_uid),
            self.bwrap,
            *self._isolation(),
            *self._view(files),
            *(("--seccomp", str(seccomp_fd)) if seccomp_fd is not None else ()),
            "--",
            *command,
        ]

    def _isolation(self) -> list[str]:
        words = [f"--unshare-{name}" for name in self.namespaces]
        words += ["--die-with-parent", "--new-session"]
        if "user" in self.namespaces:
            words += ["--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID)]
            words += [] if self.nested_namespaces else ["--disable-userns"]
        if "uts" in self.namespaces:
            words += ["--hostname", "sandbox"]
        words += ["--cap-drop", "ALL"] if self.drop_capabilities else ["--cap-add", "ALL"]
        words.append("--clearenv")
        for name, value in self.environment.items():
            words += ["--setenv", name, value]
        return words

    def _view(self, files: Mapping[str, int]) -> list[str]:
        words = _system_view()
        for mount in self.mounts:
            words += ["--ro-bind", mount.source, mount.target]
        words += ["--dir", "/dev"]
        for device in DEVICES:
            words += ["--dev-bind", device, device]
        if self.scratch_mb is not None:
            words += ["--perms", "0755", "--size", str(self.scratch_mb * MIB), "--tmpfs", WORK]
            for name, descriptor in files.items():
                words += ["--perms", "0644", "--file", str(descriptor), f"{WORK}/{name}"]
        if self.read_only_root:
            words += ["--remount-ro", "/"]
        return [*words, "--chdir", "/" if self.scratch_mb is None else WORK]


def runtime_plan(installation: Installation, host_uid: int | None) -> Plan:
    """The sandbox of a fork server: nothing writable, and the strict filter for its children."""
    interpreter = installation.interpreter
    extra = {} if interpreter.library_path is None else {"LD_LIBRARY_PATH": interpreter.library_path}
    return Plan(
        bwrap=installation.bwrap,
        host_uid=host_uid,
        mounts=(*interpreter.mounts, Mount(installation.toolkit, TOOLKIT)),
        environment={**ENVIRONMENT, **extra},
        broad_filter=seccomp.broad(),
        strict_filter=seccomp.strict(),
        child_rlimits=CHILD_RLIMITS,
    )


def verification_plan(installation: Installation, host_uid: int | None, limits: ProcessLimits) -> Plan:
    """A fresh sandbox for a checker: the same view and the checkers, a small writable /work, the broad filter over all of it."""
    base = runtime_plan(installation, host_uid)
    site, ruff = installation.checkers()
    return Plan(
        bwrap=base.bwrap,
        host_uid=host_uid,
        mounts=(*base.mounts, Mount(site, CHECKERS_SITE), Mount(ruff, f"{PROGRAMS}/ruff")),
        environment={**base.environment, "PYTHONPATH": f"{WORK}:{LIBRARY}:{CHECKERS_SITE}", "HOME": WORK, "TMPDIR": WORK},
        scratch_mb=limits.disk_mb,
        rlimits=limits.rlimits(),
        broad_filter=base.broad_filter,
    )


def _system_view() -> list[str]:
    """The C library and its loader, read-only, as the distribution lays them out."""
    words = ["--ro-bind", "/usr/lib", "/usr/lib"]
    for path in (Path("/usr/lib64"), Path("/lib"), Path("/lib64")):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    return words


def _join_cgroups(folders: Sequence[str]) -> list[str]:
    """A shell that enters control groups before it becomes the rest, so that no process of the sandbox is ever outside them."""
    if not folders:
        return []
    script = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1/cgroup.procs" || exit 125; shift; n=$((n-1)); done; exec "$@"'
    return ["/bin/sh", "-c", script, "sh", str(len(folders)), *folders]


def _limit(rlimits: Mapping[str, int]) -> list[str]:
    return [program("prlimit"), *(f"--{name}={value}" for name, value in rlimits.items()), "--"] if rlimits else []


def _become(uid: int | None) -> list[str]:
    if uid is None:
        return []
    return [program("setpriv"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]


def program(name: str) -> str:
    """Full path of a util-linux program. Raises Unavailable `program_missing`."""
    path = shutil.which(name, path=os.defpath + ":/usr/sbin:/sbin")
    if path is None:
        raise Unavailable("program_missing", f"{name} was not found", fix="install util-linux", retryable=False)
    return path
