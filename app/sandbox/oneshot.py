"""One program in a fresh sandbox, to its end: how verification runs ruff, mypy, pytest and whatever parses a candidate's text.

It refuses to be: a shell. Arguments are a list, files are given by content, and nothing comes back but two capped streams and a status.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from app.core.errors import Invalid, Problem
from app.sandbox import cgroups
from app.sandbox.interpreter import Interpreter
from app.sandbox.launcher import PROGRAMS, Plan
from app.sandbox.limits import ProcessLimits
from app.sandbox.spawn import Process, in_memory, insist, spawn

Cut = Literal["time", "output", "memory"]
PATIENCE = 10
"""How many times its wall time a program may take on a machine that is too busy to let it run."""
_SHORTEST_WAIT_S = 0.05


@dataclass(frozen=True, slots=True)
class Completed:
    """`exit` is the program's status (128 + signal where one killed it); `cut` says which limit ended it, if one did.

    `cpu_ms` is that of all its processes; None where no control group can be made.
    """

    exit: int
    stdout: bytes
    stderr: bytes
    wall_ms: int
    cpu_ms: int | None
    cut: Cut | None = None


async def run(
    plan: Plan, interpreter: Interpreter, argv: Sequence[str], files: Mapping[str, str], limits: ProcessLimits, stdin: bytes = b""
) -> Completed:
    """Run `argv` in /work, which holds `files`. The words `python` and `ruff` in its first place name the programs in the sandbox.

    Raises Invalid `bad_file_name` for a path that leaves /work, Unavailable where the sandbox cannot be made.
    """
    contents = place(files)
    group = cgroups.create(limits, background=plan.background)
    started = time.monotonic()
    given = in_memory(stdin)
    out, err = _Drain(limits.output_bytes), _Drain(limits.output_bytes)
    try:
        process = await spawn(
            plan,
            resolve(argv, interpreter),
            files=contents,
            cgroups=group.folders,
            stdin=given,
            stdout=out.write_end,
            stderr=err.write_end,
        )
        out.begin(process)
        err.begin(process)
        timed_out = await _wait(process, limits.wall_s, group)
        ended = await process.ended
        await asyncio.gather(out.finish(), err.finish())
        cut: Cut | None = "time" if timed_out else "output" if out.over or err.over else "memory" if group.out_of_memory() else None
        wall_ms = round((time.monotonic() - started) * 1000)
        return Completed(ended, bytes(out.data), bytes(err.data), wall_ms, group.cpu_ms(), cut)
    finally:
        out.close()
        err.close()
        os.close(given)
        await group.remove()


def resolve(argv: Sequence[str], interpreter: Interpreter) -> list[str]:
    """The command as it is inside: `python` becomes the guest interpreter with its flags, `ruff` the mounted program."""
    programs = {"python": list(interpreter.command), "ruff": [f"{PROGRAMS}/ruff"]}
    return [*programs.get(argv[0], [argv[0]]), *argv[1:]]


def place(files: Mapping[str, str]) -> dict[str, bytes]:
    """Contents by path below the work folder. Raises Invalid `bad_file_name` for a path that leaves it."""
    return {_relative(name): text.encode() for name, text in files.items()}


def _relative(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
        raise Invalid("bad_file_name", f"{name!r} is no path below the work folder", problems=[Problem("$.files", repr(name))])
    return str(path)


async def _wait(process: Process, wall_s: float, group: cgroups.Group) -> bool:
    """Whether it had to be killed for time: its own, as long as it was kept from the processor for most of what went by."""
    began = time.monotonic()
    left = wall_s
    try:
        while not process.ended.done():
            await asyncio.wait([process.ended], timeout=max(left, _SHORTEST_WAIT_S))
            used = group.cpu_ms()
            left = wall_s - (wall_s if used is None else used / 1000)
            if left <= 0 or time.monotonic() - began >= PATIENCE * wall_s:
                break
        return not process.ended.done()
    finally:
        process.kill()
        if cancelled := await insist(process.ended):
            raise cancelled


class _Drain:
    """One output stream: kept up to a cap; over it the process is killed."""

    def __init__(self, cap: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._cap = cap
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._process: Process | None = None
        self.data = bytearray()
        self.over = False

    def begin(self, process: Process) -> None:
        self._process = process
        os.close(self.write_end)
        self.write_end = -1
        os.set_blocking(self._read_end, False)
        self._loop.add_reader(self._read_end, self._read)

    async def finish(self) -> None:
        await self._done

    def close(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)

    def _read(self) -> None:
        block = os.read(self._read_end, 1 << 16)
        room = self._cap - len(self.data)
        self.data += block[:room]
        if len(block) > room:
            self.over = True
            if self._process is not None:
                self._process.kill()
        if not block and not self._done.done():
            self._loop.remove_reader(self._read_end)
            self._done.set_result(None)
