"""`toolmint up` as a real process tree on a home and a port of its own."""

from __future__ import annotations

import os
import signal
import socket
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app.core import owners
from app.core.db import Database
from tests.support.processes import Child, descendants, start_module
from tests.support.waiting import until

UP_S = 90.0
MOST_HELD = 64
_held: deque[int] = deque()


def free_port() -> int:
    """A port that nobody is given by chance until many more were asked for: it stays bound, which only leaves it to who wants this one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        _held.append(os.dup(probe.fileno()))
        if len(_held) > MOST_HELD:
            os.close(_held.popleft())
        return int(probe.getsockname()[1])


@dataclass(eq=False)
class Supervised:
    """A started service. `environment` is what its supervisor was given beside this process's own."""

    home: Path
    port: int
    environment: dict[str, str]
    supervisor: Child

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.supervisor.text()

    def pid(self, name: str) -> int:
        """The pid of the child `web`, `worker` or `redis`; 0 while it is not noted."""
        with suppress(OSError, ValueError):
            return int((self.home / "children" / name).read_text())
        return 0

    def family(self) -> list[int]:
        """Every process below the supervisor."""
        return descendants(self.supervisor.pid)

    def get(self, path: str, timeout_s: float = 10.0) -> tuple[int, bytes]:
        """Status and body; status 0 if there was no answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout_s) as answer:
                return int(answer.status), bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return int(error.code), bytes(error.read())
        except OSError:
            return 0, b""

    def database(self) -> Database:
        """Its database, opened from here."""
        return Database(f"sqlite:///{self.home / 'toolmint.db'}")

    def stop(self) -> None:
        """SIGTERM; whatever is left after ten seconds is killed."""
        family = self.family() if self.supervisor.alive else []
        self.supervisor.stop()
        for pid in family:
            if not gone(pid):
                kill(pid)


def launch(home: Path, port: int | None = None, /, **settings: str) -> Supervised:
    """Start it and return at once. `settings` are environment variables.

    Unless they say so verification does not stand back: beside other tests it would hardly go on at all.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    environment = {"TOOLMINT_HOME": str(home), "TOOLMINT_PORT": str(port), "TOOLMINT_TOOLS_DIR": str(home / "published")} | settings
    environment = {"TOOLMINT_SAMPLES": "0", "TOOLMINT_VERIFICATION_STANDS_BACK": "0"} | environment
    return Supervised(home, port, environment, start_module("app.cli", "up", output=home / "up.log", env=environment))


@contextmanager
def service(home: Path, /, **settings: str) -> Iterator[Supervised]:
    """A service that answers; stopped at the end of the block."""
    running = launch(home, None, **settings)
    try:
        until(lambda: running.get("/healthz", 2)[0] == 200 or not running.supervisor.alive, UP_S, "the service answers")
        assert running.supervisor.alive, running.log
        until(lambda: _worker_lives(running), UP_S, "the worker holds a lease")
        yield running
    finally:
        running.stop()


def _worker_lives(running: Supervised) -> bool:
    database = running.database()
    try:
        return owners.alive(database, "worker") > 0
    finally:
        database.close()


def gone(pid: int) -> bool:
    """Whether no such process runs any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def kill(pid: int) -> None:
    """SIGKILL to one process that the service under test started, unless it has just ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
