"""Processes for `test_fault_points`: each tells one chapter on a database of its own until a fault point ends it.

`python -m tests.durability.doomed FOLDER CHAPTER [URL …]` has two processes for each point: one that is killed there, then one that takes
over. They share a SQLite file, or one of the PostgreSQL databases at these URLs, which are emptied before. What happened
outside is in FOLDER/…/diary, which outlives both; what the ledger came to is in FOLDER/…/ledger. Prints `POINT STATUS` of each first
process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import psycopg

from app.connectors.scripted import ScriptedEmail, scripted
from app.core import faults, owners
from app.core.db import Database
from app.runtime import lookups
from app.runtime.recovery import sweep
from app.sandbox.sandbox import Sandbox
from app.tables import metadata
from tests.durability.chapters import CHAPTERS, PROGRAMS, Stage, points_of
from tests.durability.recital import CuedEmail, Memory, Recital
from tests.support.postgres import empty
from tests.support.waiting import until
from tests.support.worlds import World

CLEAN, LEDGER = "clean", "ledger"
AT_ONCE = 4


async def tell(folder: Path, url: str, chapter: str, point: str, dead: int | None) -> None:
    """Tell a chapter in this process; `dead`: the process before, whose supervisor has reaped it."""
    database = Database(url, durable=False)
    stage = Stage(World(database, cast("Sandbox", Recital()), scripted(), dict(PROGRAMS)), Memory(folder), chapter)
    made, email = stage.world.connectors, stage.world.connectors.effects["email.send"]
    assert isinstance(email, ScriptedEmail)
    cued = CuedEmail(email.script, email.performed, concurrency=1, memory=stage.memory, asides=stage.asides)
    stage.world.connectors = replace(made, effects={**made.effects, "email.send": cued})
    lookups.FIRST_MS, lookups.SURE_MS, lookups.ANSWER_S = 0, 0, 0.2  # the same waits, only shorter
    await stage.world.start()
    if dead is None and point != CLEAN:
        faults.arm(f"{point}=kill")
    if dead is not None:
        owners.void(database, pid=dead)
        sweep(database)
    await CHAPTERS[chapter](stage)
    await stage.resolve_doubts()
    await stage.world.stop()
    (folder / LEDGER).write_text(json.dumps({"states": {to: row["state"] for to, row in stage.rows().items()}, "doubts": doubts(database)}))
    database.close()


def doubts(database: Database) -> Counter[str]:
    """How often each effect was unknown, by its subject."""
    query = "SELECT effect.subject FROM effect JOIN effect_event AS e ON e.effect_id = effect.id WHERE e.after = 'unknown'"
    with database.reading() as session:
        return Counter(row[0] for row in session.connection().exec_driver_sql(query))


def without_rows(folder: Path, url: str | None, template: Path) -> str:
    """The URL of an empty database for one point: a file, a copy of the template, or the given one, emptied."""
    if url is None:
        shutil.copyfile(template, folder / "toolmint.db")
        return f"sqlite:///{folder}/toolmint.db"
    with psycopg.connect(url, autocommit=True) as connection:
        empty(connection)
    return url


def left_alone(url: str) -> None:
    """Wait until PostgreSQL has noticed that a process died: until then it holds that one's locks."""
    if url.startswith("sqlite:"):
        return
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        until(lambda: connection.execute(others).fetchone() == (0,), what="the dead process's connections are closed")


def fork(play: Callable[[], None]) -> int:
    """Run something in a process of its own; returns its id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            play()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)  # without the cleaning up that belongs to the parent
    return pid


def ended(pid: int) -> int:
    """How a process ended (negative: the signal)."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_and_take_over(own: Path, url: str, chapter: str, point: str) -> None:
    """One process that is killed at a point, then one that tells the chapter to its end."""
    first = fork(lambda: asyncio.run(tell(own, url, chapter, point, None)))
    os.write(1, f"{point} {ended(first)}\n".encode())
    left_alone(url)
    asyncio.run(tell(own, url, chapter, point, first))


def main(folder: Path, chapter: str, urls: Sequence[str]) -> None:
    """Each point of the chapter, a few at a time, after a clean run of it in this process, which warms what all of them share."""
    template = folder / f"{chapter}.db"
    database = Database(f"sqlite:///{template}", durable=False)
    metadata.create_all(database.engine)
    database.close()
    points = [CLEAN, *points_of(chapter)]
    for point in points:
        (folder / point).mkdir()
    places: Sequence[str | None] = urls or [None] * AT_ONCE
    asyncio.run(tell(folder / CLEAN, without_rows(folder / CLEAN, places[0], template), chapter, CLEAN, None))
    gc.collect()
    gc.freeze()  # what is here is shared by all that follow, and looked at by none of their collectors
    for start in range(1, len(points), len(places)):
        part = points[start : start + len(places)]
        where = [without_rows(folder / point, url, template) for point, url in zip(part, places, strict=False)]
        told = [fork(partial(die_and_take_over, folder / point, url, chapter, point)) for point, url in zip(part, where, strict=True)]
        for point, pid in zip(part, told, strict=True):
            assert ended(pid) == 0, f"{point}: the process that took over failed"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
