"""Starting the process of a sandbox and knowing when it ended.

Every sandbox is started from one thread that lives as long as this process does: bubblewrap dies with the *thread* that started it, so a
short-lived thread would take its sandboxes along, and no thread at all would leave them running.

It refuses to be: a way to run anything else.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.sandbox.launcher import Plan

_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-starter")


@dataclass(slots=True)
class Process:
    """A started sandbox. `ended` resolves to its exit status once it has been reaped; negative for a signal."""

    popen: subprocess.Popen[bytes]
    ended: asyncio.Future[int]

    def kill(self) -> None:
        """SIGKILL to bubblewrap and to the first process of its pid namespace, with which all others go.

        A first process that is still starting does not end with bubblewrap: it waits for ever for its uids to be mapped. Stopped,
        bubblewrap maps none and makes no other; the one that it is just making is still in its process group.
        """
        if self.popen.returncode is not None:
            return
        os.kill(self.popen.pid, signal.SIGSTOP)
        for child in _children(self.popen.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        os.killpg(self.popen.pid, signal.SIGKILL)


async def spawn(
    plan: Plan,
    command: Sequence[str],
    *,
    files: Mapping[str, bytes] | None = None,
    cgroups: Sequence[str] = (),
    inherit: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
) -> Process:
    """Start `command` in the sandbox of `plan`, with an empty environment and no descriptor but those given."""
    loop = asyncio.get_running_loop()
    memory: list[int] = []
    try:
        seccomp_fd = _keep(memory, plan.broad_filter) if plan.broad_filter else None
        descriptors = {name: _keep(memory, content) for name, content in (files or {}).items()}
        argv = plan.argv(command, seccomp_fd=seccomp_fd, files=descriptors, cgroups=cgroups)
        starting = loop.run_in_executor(
            _starter,
            # a session of its own, so that Ctrl-C reaches the service alone, which then stops its sandboxes in order
            lambda: subprocess.Popen(
                argv,
                env={},
                cwd="/",
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(*memory, *inherit),
                start_new_session=True,
            ),
        )
        return await _started(starting)
    finally:
        for descriptor in memory:
            os.close(descriptor)


async def _started(starting: asyncio.Future[subprocess.Popen[bytes]]) -> Process:
    """The process, watched. Cancelled, it is awaited all the same, and ended: a thread does not stop, and it uses others' descriptors."""
    cancelled = await insist(starting)
    popen = starting.result()
    process = Process(popen, _watch(asyncio.get_running_loop(), popen))
    if cancelled is not None:
        process.kill()
        await insist(process.ended)
        raise cancelled
    return process


async def insist(future: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait for what takes a moment, whoever asks to stop meanwhile; that request, for later."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


def _children(pid: int) -> list[int]:
    """None where the kernel lists none (it was built without /proc/*/children)."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _keep(held: list[int], content: bytes) -> int:
    held.append(in_memory(content))
    return held[-1]


def in_memory(content: bytes) -> int:
    """A descriptor at the start of `content`, for the caller to close."""
    descriptor = os.memfd_create("sandbox", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _watch(loop: asyncio.AbstractEventLoop, popen: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    ended: asyncio.Future[int] = loop.create_future()
    pidfd = os.pidfd_open(popen.pid)

    def reap() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        status = popen.wait()
        if not ended.done():
            ended.set_result(status)

    loop.add_reader(pidfd, reap)
    return ended
