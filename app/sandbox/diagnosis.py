"""Why a sandbox would not start, in words of what to change, from what bubblewrap said and how this machine is set.

It refuses to be: a test. It is asked only once the doing has failed.
"""

from __future__ import annotations

from pathlib import Path

_SYSCTLS = (
    ("/proc/sys/user/max_user_namespaces", "0", "user namespaces are switched off: sysctl -w user.max_user_namespaces=15000"),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "unprivileged user namespaces are switched off: sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor restricts user namespaces: give bwrap a profile that allows userns, or sysctl -w "
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)
_SECCOMP = "the container's seccomp profile forbids namespaces: run it with --security-opt seccomp=docs/seccomp-nested-sandbox.json"
_FLAGS = (
    ("new namespace", _SECCOMP),
    ("unshare", _SECCOMP),
    ("clone", _SECCOMP),
    ("max_user_namespaces", "the container's /proc/sys is read-only: run it with --security-opt systempaths=unconfined"),
    ("Read-only file system", "the container's /proc/sys is read-only: run it with --security-opt systempaths=unconfined"),
    ("", "the container's AppArmor profile forbids mounts: run it with --security-opt apparmor=unconfined"),
)
"""What bubblewrap says where one flag of the container is missing, in the order in which it meets them; the Dockerfile lists all three."""
_SAID = (
    ("setresuid", "the service runs as root without CAP_SETUID and CAP_SETGID: give it both, or run it as an ordinary user"),
    ("setgroups", "the service runs as root without CAP_SETUID and CAP_SETGID: give it both, or run it as an ordinary user"),
    ("No such file", "a part of the sandbox is missing: run the set-up again"),
    ("seccomp", "the kernel refuses system call filters: use one with CONFIG_SECCOMP_FILTER"),
)
_NAMESPACE_WORDS = (
    "namespace",
    "uid map",
    "Operation not permitted",
    "Permission denied",
    "Read-only file system",
    "pivot_root",
    "loopback",
)


def advice(said: str) -> str:
    """What to do, by the first cause that fits."""
    for word, fix in _SAID:
        if word in said:
            return fix
    if any(word in said for word in _NAMESPACE_WORDS):
        for path, value, fix in _SYSCTLS:
            if _reads(path) == value:
                return fix
        if in_container():
            return missing_flag(said)
    return "run `toolmint doctor` and see what bubblewrap says"


def missing_flag(said: str) -> str:
    """The flag that this container was started without."""
    return next(fix for words, fix in _FLAGS if words in said)


def in_container() -> bool:
    """Whether this looks like a container of Docker, Podman or Kubernetes."""
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or "kubepods" in _reads("/proc/1/cgroup")


def _reads(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
