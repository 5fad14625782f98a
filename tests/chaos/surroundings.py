"""What surrounds the service and is disturbed as well: Redis, and the database, locked by a process that is none of ours.

It refuses to be: the service. Its own processes are struck by `blows`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from redis import Redis

from app.core.db import Database
from app.core.settings import Settings
from tests.chaos.site import Site, now_ms
from tests.support.processes import start
from tests.support.waiting import until

REDIS = ("redis killed", "redis flushed", "redis restarted")
_SQLITE = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30)
connection.execute("BEGIN IMMEDIATE")
"""
_POSTGRESQL = """
import psycopg, sys, time
connection = psycopg.connect(sys.argv[1])
while True:
    try:
        connection.execute("LOCK TABLE run, effect, effect_event, owner IN EXCLUSIVE MODE")
        break
    except psycopg.errors.DeadlockDetected:  # a sweep locks effects before runs, and this time it was let through
        connection.rollback()
"""
_HOLD = """
print("held", time.time_ns() // 1_000_000, flush=True)
time.sleep(float(sys.argv[2]))
connection.rollback()
print("free", time.time_ns() // 1_000_000, flush=True)
"""


def disturb_redis(site: Site, kind: str) -> None:
    """Kill it, have it stop in order (the supervisor starts it again), or make it forget everything."""
    if kind == "redis flushed":
        with Redis.from_url(Settings(home=site.home).redis) as client:
            client.flushall()
        return
    os.kill(site.service.process.pid("redis"), signal.SIGKILL if kind == "redis killed" else signal.SIGTERM)


def lock_database(folder: Path, url: str, seconds: float) -> tuple[int, int]:
    """Have another process hold the lock of all writers for so long; returns from when to when, in ms UTC, as that process says."""
    sqlite = url.startswith("sqlite:///")
    program = (_SQLITE if sqlite else _POSTGRESQL) + _HOLD
    where = url.removeprefix("sqlite:///") if sqlite else url.replace("+psycopg", "")
    holder = start([sys.executable, "-c", program, where, str(seconds)], folder / f"lock-{now_ms()}.out")
    until(lambda: not holder.alive, seconds + 90, "another process holds the database's lock and lets it go")
    assert holder.process.returncode == 0, holder.text()
    told = dict(line.split() for line in holder.text().splitlines())
    return int(told["held"]), int(told["free"])


def lock_comes_free(database: Database) -> bool:
    """Whether the writers of SQLite take turns: not where one that is stopped has the lock. PostgreSQL has no such lock."""
    if database.path is None:
        return True
    with Path(f"{database.path}.write-lock").open("rb+") as file, suppress(AssertionError):  # raised where it does not come free in time
        until(lambda: _takes(file.fileno()), 1.0, "the writers' lock comes free", every_s=0.002)
        return True
    return False


def _takes(descriptor: int) -> bool:
    """Takes it until it is closed."""
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
