"""Processes for `test_fault_points`: each tells one chapter on a database of its own until a fault point ends it.

`python -m tests.durability.doomed FOLDER CHAPTER` has two processes for each point: one that is killed there, then one that takes over.
What happened outside is in FOLDER/…/diary, which outlives both. Prints `POINT STATUS` of each first process.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from app.connectors.scripted import ScriptedEmail, scripted
from app.core import faults, owners
from app.core.db import Database
from app.runtime import lookups
from app.runtime.recovery import sweep
from app.sandbox.sandbox import Sandbox
from app.tables import metadata
from tests.durability.chapters import CHAPTERS, PROGRAMS, Stage, points_of
from tests.durability.recital import CuedEmail, Memory, Recital
from tests.support.worlds import World

CLEAN = "clean"
AT_ONCE = 4


async def tell(folder: Path, chapter: str, point: str, dead: int | None) -> None:
    """Tell a chapter in this process; `dead`: the process before, whose supervisor has reaped it."""
    database = Database(f"sqlite:///{folder}/toolmint.db", durable=False)
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
    database.close()


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


def die_and_take_over(own: Path, chapter: str, point: str) -> None:
    """One process that is killed at a point, then one that tells the chapter to its end."""
    first = fork(lambda: asyncio.run(tell(own, chapter, point, None)))
    os.write(1, f"{point} {ended(first)}\n".encode())
    asyncio.run(tell(own, chapter, point, first))


def main(folder: Path, chapter: str) -> None:
    """Each point of the chapter, a few at a time, after a clean run of it in this process, which warms what all of them share."""
    template = folder / f"{chapter}.db"
    database = Database(f"sqlite:///{template}", durable=False)
    metadata.create_all(database.engine)
    database.close()
    points = [CLEAN, *points_of(chapter)]
    for point in points:
        (folder / point).mkdir()
        shutil.copyfile(template, folder / point / "toolmint.db")
    asyncio.run(tell(folder / CLEAN, chapter, CLEAN, None))
    for start in range(1, len(points), AT_ONCE):
        part = points[start : start + AT_ONCE]
        told = [fork(partial(die_and_take_over, folder / point, chapter, point)) for point in part]
        for point, pid in zip(part, told, strict=True):
            assert ended(pid) == 0, f"{point}: the process that took over failed"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
