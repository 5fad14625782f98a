"""`toolmint up`: the web process, the workers and the bundled Redis, kept alive and stopped together.

A child that dies is started again, and the leases that it held are voided at once, so that others go on with its work within
a second. SIGTERM stops everything within five seconds, whatever is still open.

It refuses to be: needed. Each part also runs by itself, under another supervisor.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from sqlalchemy.exc import SQLAlchemyError

from app.access.admin import ensure_admin
from app.cli import redis_server
from app.cli.children import Child, adopt_orphans, how_it_ended, reaped
from app.cli.migrating import bring_up
from app.cli.output import say
from app.cli.premises import LISTEN_FD, address_of_our_own, home_of_our_own
from app.connectors.smtp_server_url import parse_smtp_url
from app.core import owners
from app.core.db import Database
from app.core.settings import Settings
from app.runtime.flow.limits import Limits

logger = logging.getLogger(__name__)
STOP_S = 3.8
STOP_REDIS_S = 0.8
_PLAIN = frozenset({"PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH"})
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def up(settings: Settings) -> int:
    """Run until SIGTERM, SIGINT or SIGHUP; returns 0 after a clean stop. Raises Invalid `smtp_url_invalid` or
    `settings_invalid` before anything starts."""
    Limits.of(settings)
    if settings.smtp_url:
        parse_smtp_url(settings.smtp_url)
    with home_of_our_own(settings.home), address_of_our_own(settings) as listener:
        database = Database(settings.database)
        _prepare(settings, database)
        supervisor = Supervisor(settings, database, listener)
        with _signals() as (wakeup, stopping):
            supervisor.run(wakeup, stopping)
        database.close()
    return 0


def _prepare(settings: Settings, database: Database) -> None:
    done = bring_up(database, settings)
    if done.before != done.after:
        say(f"Database migrated to {done.after}" + (f"; the former one is kept as {done.backup}" if done.backup else ""))
    made = ensure_admin(database, settings)
    if made is not None:
        say(f"Admin key, shown this once: {made.read_text(encoding='ascii').strip()}")


@dataclass(eq=False)
class Supervisor:
    """The children and what is remembered of them in `home/children`, for a supervisor that comes after a SIGKILL."""

    settings: Settings
    database: Database
    listener: socket.socket
    children: list[Child] = field(default_factory=list)
    _stopping: bool = False

    def run(self, wakeup: socket.socket, stopping: list[int]) -> None:
        """Start everything and keep it so until a signal is in `stopping`; then stop everything."""
        adopt_orphans()
        self._clear_leftovers()
        self.children = _children(self.settings, self.listener)
        self._announce()
        try:
            while not stopping:
                self._start_due()
                _wait(wakeup, self._next_start())
                self._reap()
        finally:
            self._stop()

    def _start_due(self) -> None:
        for child in self.children:
            if child.pid is None and child.due <= time.monotonic():
                self._note(child.name).write_text(f"{child.start()}\n", encoding="ascii")
                if child.restarts:
                    say(f"{child.name} started again (pid {child.pid})")

    def _next_start(self) -> float:
        waits = [child.due - time.monotonic() for child in self.children if child.pid is None]
        return max(0.0, min(waits, default=3600.0))

    def _reap(self) -> list[str]:
        """Take note of the children that ended; returns their names."""
        ended = reaped()
        names = []
        for child in self.children:
            pid = child.pid
            if pid is not None and pid in ended:
                child.ended(ended[pid])
                self._void(pid)
                if not self._stopping:
                    say(f"{child.name} ended ({how_it_ended(ended[pid])})")
                names.append(child.name)
        return names

    def _void(self, pid: int) -> None:
        try:
            owners.void(self.database, pid=pid)
        except SQLAlchemyError as error:  # the lease of the dead process ends by itself a little later
            logger.warning("the owner with pid %s could not be voided: %s", pid, error.__class__.__name__)

    def _stop(self) -> None:
        say("Stopping")
        self._stopping = True
        self.listener.close()
        redis = [child for child in self.children if child.name == "redis"]
        self._stop_all([child for child in self.children if child.name != "redis"], STOP_S)
        self._stop_all(redis, STOP_REDIS_S)

    def _stop_all(self, children: list[Child], patience_s: float) -> None:
        for child in children:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        while any(child.pid for child in children) and time.monotonic() < deadline:
            self._reap_within(deadline - time.monotonic())
        for child in children:
            if child.pid is not None:
                say(f"{child.name} did not stop in time and is killed")
                child.send_group(signal.SIGKILL)
        deadline = time.monotonic() + 1
        while any(child.pid for child in children) and time.monotonic() < deadline:
            self._reap_within(deadline - time.monotonic())
        for child in children:
            self._note(child.name).unlink(missing_ok=True)

    def _reap_within(self, patience_s: float) -> None:
        if not self._reap():
            select.select([], [], [], min(0.02, max(0.0, patience_s)))

    def _note(self, name: str) -> Path:
        folder = self.settings.home / "children"
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder / name

    def _clear_leftovers(self) -> None:
        """We hold the home, so whoever is noted there is dead or dying with a killed supervisor: their leases end now."""
        for note in sorted(self._note("x").parent.iterdir()):
            with suppress(ValueError):
                self._void(int(note.read_text(encoding="ascii")))
            note.unlink()

    def _announce(self) -> None:
        key = self.settings.home.absolute() / "admin.key"
        say(f"Toolmint at {self.settings.base_url}")
        say(f"  sign in with   {'TOOLMINT_ADMIN_KEY' if self.settings.admin_key else f'the key in {key}'}")
        say(f"  agents connect {self.settings.base_url}/mcp")
        say(f"  e-mails        {'leave by SMTP' if self.settings.smtp_url else 'stay in the outbox, as TOOLMINT_SMTP_URL is not set'}")
        say("  stop           Ctrl-C")


def _children(settings: Settings, listener: socket.socket) -> list[Child]:
    environment = {**os.environ, "TOOLMINT_REDIS_URL": settings.redis}
    web = Child(
        "web",
        (sys.executable, "-m", "app.cli", "web"),
        {**environment, LISTEN_FD: str(listener.fileno())},
        (listener.fileno(),),
    )
    names = ["worker", *(f"worker-{number}" for number in range(2, settings.workers + 1))]
    workers = [Child(name, (sys.executable, "-m", "jobs.worker"), environment) for name in names]
    if settings.redis_url:
        return [web, *workers]
    plain = {name: value for name, value in os.environ.items() if name in _PLAIN}  # no key or password of ours is Redis's business
    return [Child("redis", redis_server.command(settings), plain), web, *workers]


@contextmanager
def _signals() -> Iterator[tuple[socket.socket, list[int]]]:
    """A socket that wakes for SIGCHLD and the stopping signals, and the list of the latter that came."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            came.append(number)

    before = {number: signal.signal(number, note) for number in (*_STOPPING, signal.SIGCHLD)}
    former = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield reader, came
    finally:
        signal.set_wakeup_fd(former)
        for number, handler in before.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()


def _wait(wakeup: socket.socket, patience_s: float) -> None:
    ready: Iterable[object] = select.select([wakeup], [], [], patience_s)[0]
    if ready:
        wakeup.recv(4096)
