"""What a sandbox looks like from inside: run there as a tool or as a program, never imported by the service.

Its source is sent as any tool's is. Standard library only. It refuses to be: an attack. `tests/escape` attacks; this looks.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_PR_GET_SECCOMP, _PR_GET_NO_NEW_PRIVS = 21, 39
_CLONE_NEWUSER = 0x10000000
_SIOCGIFNAME = 0x8910


def _attempt(action: Callable[[], object]) -> str:
    """The name of the error that `action` meets, or "ok"."""
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "ok"


def _capabilities() -> list[int]:
    """Effective, permitted and inheritable sets, both halves of each."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if _libc.capget(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    return list(data)


def _write(folder: str) -> None:
    os.close(os.open(Path(folder, "toolmint-probe"), os.O_WRONLY | os.O_CREAT, 0o600))


def _unshare() -> None:
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _reach(name: str) -> None:
    """Connect to an abstract address, which exists per network namespace."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + name)


def _open(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY))


def _descriptors() -> list[int]:
    return [fd for fd in range(64) if _attempt(lambda fd=fd: os.fstat(fd)) == "ok"]  # type: ignore[misc]  # mypy cannot type a lambda's default


def look(args: dict[str, Any]) -> dict[str, Any]:
    """Facts and attempts. `args`: {"canary": path, "socket": abstract name, "writes": [folders]}."""
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "capabilities": _capabilities(),
        "seccomp": _libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0),
        "no_new_privileges": _libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
        "environment": dict(os.environ),
        "descriptors": _descriptors(),
        "root": sorted(path.name for path in Path("/").iterdir()),
        "canary": _attempt(lambda: _open(args["canary"])),
        "init_environment": _attempt(lambda: _open("/proc/1/environ")),
        "host_socket": _attempt(lambda: _reach(args["socket"])),
        "inet_socket": _attempt(lambda: socket.socket(socket.AF_INET).close()),
        "user_namespace": _attempt(_unshare),
        "fork": _attempt(_fork),
        "writes": {folder: _attempt(lambda folder=folder: _write(folder)) for folder in args["writes"]},  # type: ignore[misc]  # as above
        "hostname": os.uname().nodename,
    }


def run(args: dict[str, Any], ctx: object) -> dict[str, Any]:
    """As a tool."""
    return look(args)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(json.load(sys.stdin))))
