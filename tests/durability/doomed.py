"""Processes for `test_fault_points`: each plays one run and its retries on a database of its own until a fault point ends it.

`python -m tests.durability.doomed FOLDER POINT…` forks twice for each point: one process that is killed there, then one that takes over.
What the scripted world saw is in FOLDER/POINT.log, which outlives both. Prints `POINT STATUS` of each first process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.connectors.scripted import Performed, ScriptedConnectors, ScriptedEmail, scripted
from app.core import faults, owners
from app.core.db import Database
from app.runtime import queue
from app.runtime.process import Call
from app.runtime.recovery import due_runs, sweep
from app.sandbox.sandbox import Sandbox
from app.tables import metadata
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, World, program_of, sender_spec

TO = ["ada@example.org", "bob@example.org", "cat@example.org"]
TOOL = """
def run(args, ctx):
    for to in args["to"]:
        ctx.perform("send", {"to": to, "subject": "Hello", "text": "Hi"})
    return {"done": 0}
"""
NTH = {"effect.claimed": 2, "effect.performing": 2, "effect.performed": 3, "effect.recorded": 3, "journal.step.before": 2}
REFUSED_ONCE = [{"effect": "send", "when": {"to": TO[1]}, "answer": "refuse_now", "times": 1}]


class Diary(list[Performed]):
    """What was sent, on disk before anybody is told."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def append(self, performed: Performed) -> None:
        with self.path.open("a") as file:
            file.write(performed.item["to"] + "\n")


def connectors(path: Path) -> ScriptedConnectors:
    """The twins, with a diary instead of a list in memory; the second process is refused nothing."""
    made = scripted(REFUSED_ONCE if not path.exists() else [])
    email = made.effects["email.send"]
    assert isinstance(email, ScriptedEmail)
    diary = Diary(path)
    return replace(made, effects={**made.effects, "email.send": replace(email, performed=diary)}, performed=diary)


@contextlib.asynccontextmanager
async def process(folder: Path, point: str) -> AsyncIterator[World]:
    """A process of the service: database, sandbox, runtime."""
    database = Database(f"sqlite:///{folder}/{point}.db", durable=False)
    sandbox = Sandbox(folder / "home")
    await sandbox.start()
    world = World(database, sandbox, connectors(folder / f"{point}.log"), {1: program_of(sender_spec(), TOOL)})
    await world.start()
    yield world
    await world.stop()
    await sandbox.stop()
    database.close()


async def first(folder: Path, point: str) -> None:
    """Begin a run, execute it, work its retries; dies on the way where `point` is armed."""
    async with process(folder, point) as world:
        if point != "none":
            faults.arm(f"{point}=kill:{NTH.get(point, 1)}")
        begun, _ = await world.runtime.begin(CALLER, world.programs[1], Call({"group": "g", "to": TO}, here=False))
        await world.runtime.execute(begun.run_id)
        await settle(world)


async def second(folder: Path, point: str, dead: int) -> None:
    """Take over what the first held, as after its supervisor has reaped it."""
    async with process(folder, point) as world:
        owners.void(world.database, pid=dead)
        sweep(world.database)
        for run_id in due_runs(world.database):
            await world.runtime.execute(run_id)
        await settle(world)


async def settle(world: World) -> None:
    """Work the queue until nothing waits."""

    async def worked() -> bool:
        await queue.work_queue(world.runtime)
        return queue.next_due(world.database) is None

    await until(worked, what="no retry waits")


def fork(play: Coroutine[Any, Any, None]) -> tuple[int, int]:
    """Run a coroutine in a process of its own; returns its id and how it ended (negative: the signal)."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            asyncio.run(play)
            os._exit(0)
        os._exit(1)
    play.close()
    return pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(folder: Path, points: list[str]) -> None:
    """Each point in turn; `none` is armed with nothing and is the clean run."""
    for point in points:
        database = Database(f"sqlite:///{folder}/{point}.db", durable=False)
        metadata.create_all(database.engine)
        database.close()
        pid, status = fork(first(folder, point))
        print(point, status, flush=True)
        if status == 0 and point == "none":
            continue
        _, status = fork(second(folder, point, pid))
        assert status == 0, f"{point}: the second process ended with {status}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
