"""What one supervisor holds for itself: the home folder, by a lock, and the address, by a listening socket.

The supervisor listens and hands the socket to the web process, so that a taken port is said at once, and a web process that is
restarted loses no connection.

It refuses to be: shared. A second supervisor on the same home is told who has it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from app.core.errors import Conflict, Failed
from app.core.settings import Settings

LISTEN_FD = "TOOLMINT_LISTEN_FD"
_BACKLOG = 512


@contextmanager
def home_of_our_own(home: Path) -> Iterator[None]:
    """Hold `home` until the end of the block. Raises Conflict `already_running`, Failed `home_unusable`."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(home / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = error.strerror or "unknown"
        raise Failed("home_unusable", f"{home} cannot be used: {reason}.", fix="Set TOOLMINT_HOME to a folder of yours.") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(handle, 20, 0).decode().strip() or "unknown"
        os.close(handle)
        raise Conflict(
            "already_running",
            f"Toolmint already runs on {home.absolute()} (pid {pid}).",
            fix="Stop it, or set TOOLMINT_HOME to another folder.",
        ) from None
    os.truncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def address_of_our_own(settings: Settings) -> Iterator[socket.socket]:
    """Listen on the configured address until the end of the block. Raises Conflict `port_taken`, Failed `address_unusable`."""
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Failed("address_unusable", f"Cannot listen on {where}: {error.strerror}.", fix="Correct TOOLMINT_HOST.") from None
    with closing(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Conflict(
                    "port_taken", f"Another program listens on {where}.", fix="Stop it, or set TOOLMINT_PORT to a free port."
                ) from None
            raise Failed("address_unusable", f"Cannot listen on {where}: {error.strerror}.", fix="Correct TOOLMINT_HOST.") from None
        yield listener
