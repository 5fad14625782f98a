"""Where attempts are run: production's own plans, limits and sessions, and variants of them with named defences removed.

It refuses to be: part of the service, which has no switch to weaken anything. A variant is made here, of values.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import platform
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from app.core.errors import ToolmintError
from app.sandbox import installation, launcher, messages, session, slots
from app.sandbox.forkserver import ForkServer
from app.sandbox.installation import Installation
from app.sandbox.interpreter import Mount
from app.sandbox.launcher import Plan
from app.sandbox.limits import GuestLimits
from app.sandbox.session import GuestSession
from app.sandbox.syscalls import numbers
from tests.escape.attempt import TOOL, Attempt, Story, source
from tests.support.guests import HOME

T = TypeVar("T")
PROJECT = Path(__file__).resolve().parents[2]
_IPC_CREAT, _IPC_RMID = 0o1000, 0
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Arena:
    """A loop in a thread of its own that outlives all sandboxes, the host's bait, and a fork server per set of removed defences."""

    installation: Installation
    bait: dict[str, Any]
    folder: Path
    loop: asyncio.AbstractEventLoop
    slot: slots.Slot
    servers: dict[frozenset[str], ForkServer] = field(default_factory=dict)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def run(self, attempt: Attempt, removed: frozenset[str], monkeypatch: pytest.MonkeyPatch) -> Story:
        """Run one attempt in a child with these defences removed."""
        for defence in removed & HOST_PATCHES.keys():
            HOST_PATCHES[defence](monkeypatch)
        return self.wait(self._run(attempt, removed))

    async def _run(self, attempt: Attempt, removed: frozenset[str]) -> Story:
        limits = replace(GuestLimits(memory_mb=128, wall_s=10), **attempt.limits)
        for defence in removed & LIMITS.keys():
            limits = replace(limits, **LIMITS[defence])
        server = await self._server(removed & (PLANS.keys() | {"view", "environment", "closes", "undumpable"}))
        template = await server.template({"tool.py": source(TOOL, attempt.body)}, limits.of_template())
        guest = await GuestSession.open(template, limits)
        story = Story()
        try:
            await guest.start(self.bait, now=0, seed="00")
            while not story.messages or story.messages[-1]["t"] not in ("result", "tool_error", "cancelled", "crash"):
                story.messages.append(await guest.receive())
        except ToolmintError as error:
            story.failure = error
        await guest.close()
        await template.stop()
        return story

    async def _server(self, removed: frozenset[str]) -> ForkServer:
        if removed not in self.servers or not self.servers[removed].alive:
            plan = self.variant(launcher.runtime_plan(self.installation, self.slot.uid), removed)
            held = slots.Slot(self.slot.uid)
            self.servers[removed] = await ForkServer.start(plan, self.installation.interpreter.executable, held)
        return self.servers[removed]

    def variant(self, plan: Plan, removed: frozenset[str]) -> Plan:
        """The plan without the named defences."""
        for defence in removed:
            if defence in PLANS:
                plan = PLANS[defence](plan)
        if "view" in removed:
            shown = ["/etc", "/proc", "/sys", str(PROJECT), str(self.folder)]
            plan = replace(plan, mounts=(*plan.mounts, *(Mount(path, path) for path in shown)))
        if "environment" in removed:
            plan = replace(plan, environment={**plan.environment, "TOOLMINT_CANARY": "secret"})
        for defence in removed & TOOLKIT_LINES.keys():
            plan = replace(plan, mounts=tuple(self._weakened(mount, defence) for mount in plan.mounts))
        return plan

    def _weakened(self, mount: Mount, defence: str) -> Mount:
        """The toolkit without the line that is the defence."""
        if mount.target != launcher.TOOLKIT:
            return mount
        copy = self.folder / f"toolkit-{defence}"
        if not copy.exists():
            shutil.copytree(mount.source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            guest = copy / "guest.py"
            text = guest.read_text()
            for line in TOOLKIT_LINES[defence]:
                assert line in text, f"guest.py has no line {line!r} any more"
                text = text.replace(line, "pass")
            guest.write_text(text)
        return Mount(str(copy), mount.target)

    async def stop(self) -> None:
        for server in self.servers.values():
            await server.stop()


def _without_namespace(name: str) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, namespaces=tuple(each for each in plan.namespaces if each != name))


def _without_rlimit(name: str) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, child_rlimits={key: value for key, value in plan.child_rlimits.items() if key != name})


PLANS: dict[str, Callable[[Plan], Plan]] = {
    "strict": lambda plan: replace(plan, strict_filter=b""),
    "broad": lambda plan: replace(plan, broad_filter=b""),
    "nested": lambda plan: replace(plan, nested_namespaces=True),
    "capabilities": lambda plan: replace(plan, drop_capabilities=False),
    "read-only": lambda plan: replace(plan, read_only_root=False),
    **{name: _without_namespace(name) for name in ("net", "pid", "ipc", "uts")},
    **{name.lower(): _without_rlimit(name) for name in ("NPROC", "NOFILE", "FSIZE", "MEMLOCK")},
}

TOOLKIT_LINES = {
    "closes": ("os.closerange(_GUEST_FD + 1, 1 << 16)",),
    "undumpable": ("_prctl(_PR_SET_DUMPABLE, 0)",),
}

LIMITS: dict[str, dict[str, Any]] = {
    "memory": {"memory_mb": 4096},
    "cpu": {"cpu_s": 60},
    "wall": {"wall_s": 20.0},
    "frame-size": {"frame_bytes": 1 << 40},
    "total-size": {"total_bytes": 1 << 40},
    "noise": {"noise_bytes": 1 << 40},
    "log-count": {"logs": 1 << 40},
    "log-size": {"log_bytes": 1 << 40},
    "progress-rate": {"progress_interval_s": 0.0},
}
assert {name for changes in LIMITS.values() for name in changes} <= {each.name for each in fields(GuestLimits)}

HOST_PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "shapes": lambda patch: patch.setattr(messages, "fault", lambda message: None),
    "strict-json": lambda patch: patch.setattr(session, "decode", json.loads),
}


@contextlib.contextmanager
def arena(folder: Path) -> Iterator[Arena]:
    """An arena with its bait: a listening port, an abstract socket, a process, a shared segment, a file."""
    folder.chmod(0o755)
    (folder / "canary").write_text("secret")
    slot = slots.claim()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    name = f"toolmint-bait-{os.getpid()}"
    key = 0x70000000 | os.getpid()
    as_slot = {} if slot.uid is None else {"user": slot.uid, "group": slot.uid, "extra_groups": []}
    with (
        socket.create_server(("127.0.0.1", 0)) as port,
        socket.socket(socket.AF_UNIX) as abstract,
        subprocess.Popen(["/bin/sleep", "600"], **as_slot) as victim,  # type: ignore[call-overload]  # as built above
    ):
        abstract.bind("\0" + name)
        abstract.listen()
        segment = _libc.shmget(key, 4096, _IPC_CREAT | 0o666)
        bait = {
            "numbers": numbers()
            | {
                "timerfd_create": {"x86_64": 283, "aarch64": 85}[platform.machine()],
                "mlock": 149 if platform.machine() == "x86_64" else 228,
            },
            "port": port.getsockname()[1],
            "socket": name,
            "victim": victim.pid,
            "shm_key": key,
            "canary": str(folder / "canary"),
            "project": str(PROJECT),
            "hostname": os.uname().nodename,
        }
        try:
            found = installation.discover(HOME)
            held = Arena(found, bait | {"python": found.interpreter.executable}, folder, loop, slot)
            yield held
            held.wait(held.stop())
        finally:
            victim.kill()
            _libc.shmctl(segment, _IPC_RMID, None)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            slot.release()
