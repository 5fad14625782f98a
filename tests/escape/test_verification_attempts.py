"""Attempts of a program in a verification sandbox, where processes may be made and a small folder written."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from app.sandbox import cgroups, installation, launcher, oneshot, slots
from app.sandbox.installation import Installation
from app.sandbox.interpreter import Mount
from app.sandbox.launcher import Plan
from app.sandbox.limits import ProcessLimits
from app.sandbox.oneshot import Completed
from app.sandbox.syscalls import numbers
from tests.escape.attempt import PROGRAM, source
from tests.support.guests import HOME

TIGHT = ProcessLimits(memory_mb=96, cpu_s=20, wall_s=10, processes=24, output_bytes=100_000, disk_mb=4)


@dataclass(frozen=True, slots=True)
class Attempt:
    """`loosen` gives the limits, `weaken` the plan, with exactly the defence in question off."""

    name: str
    body: str
    loosen: dict[str, Any] = field(default_factory=dict)
    weaken: Callable[[Plan], Plan] = lambda plan: plan
    needs_cgroup: bool = False
    tight: dict[str, Any] = field(default_factory=dict)


def _without(**changes: Any) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, **changes)


ATTEMPTS = (
    Attempt("fills the disk", "open('big', 'wb').write(b'x' * (6 << 20))", {"disk_mb": 64}),
    Attempt("fills the disk with many files", "for n in range(6): open(str(n), 'wb').write(b'x' * (1 << 20))", {"disk_mb": 64}),
    Attempt("writes beside its folder", "open('/mine', 'w')", weaken=_without(read_only_root=False)),
    Attempt("makes processes without end", "for _ in range(60): os.fork() or (time.sleep(1), os._exit(0))", {"processes": 500}),
    Attempt(
        "spreads its memory over processes",
        "for _ in range(4):\n    if os.fork() == 0:\n        held = b'x' * (50 << 20)\n        time.sleep(0.4)\n        os._exit(0)\n"
        "for _ in range(4):\n    os.wait()[1] == 0 or 1 / 0",
        {"memory_mb": 1000},
        needs_cgroup=True,
    ),
    Attempt(
        "fills the kernel with empty files",
        "for n in range(60_000): os.close(os.open(f'f{n}', os.O_CREAT | os.O_WRONLY))",
        {"memory_mb": 1000},
        needs_cgroup=True,
        tight={"memory_mb": 40, "cpu_s": 20},
    ),
    Attempt("takes one huge block", "bytearray(450 << 20)", {"memory_mb": 1000}),
    Attempt("spins", "spin(1.4)", {"cpu_s": 20}, tight={"cpu_s": 1}),
    Attempt("sleeps", f"time.sleep({0.1 * oneshot.PATIENCE + 0.6})", tight={"wall_s": 0.1}, loosen={"wall_s": 10}),
    Attempt("prints without end", "for _ in range(400): print('x' * 1000)", {"output_bytes": 1 << 20}),
    Attempt("complains without end", "for _ in range(400): print('x' * 1000, file=sys.stderr)", {"output_bytes": 1 << 20}),
    Attempt(
        "reads the host's accounts", "open('/etc/passwd').read(1)", weaken=lambda p: replace(p, mounts=(*p.mounts, Mount("/etc", "/etc")))
    ),
    Attempt(
        "lists the host's processes",
        "os.listdir('/proc/1')",
        weaken=lambda p: replace(p, mounts=(*p.mounts, Mount("/proc", "/proc"))),
    ),
    Attempt("opens an internet socket", "import socket; socket.socket()", weaken=_without(broad_filter=b"")),
    Attempt("makes a user namespace", "call('unshare', 0x10000000)", weaken=_without(broad_filter=b"", nested_namespaces=True)),
    Attempt("traces a process", "call('ptrace', 0, 0, 0, 0)", weaken=_without(broad_filter=b"")),
    Attempt("keeps memory in a memfd", "call('memfd_create', b'x', 0)", weaken=_without(broad_filter=b"")),
    Attempt("stores a key in the kernel", "call('add_key', b'user', b'x', b'x', 1, -2)", weaken=_without(broad_filter=b"")),
)


@pytest.fixture(scope="module")
def found() -> Installation:
    return installation.discover(HOME)


def _run(found: Installation, attempt: Attempt, limits: ProcessLimits, weaken: Callable[[Plan], Plan]) -> Completed:
    if attempt.needs_cgroup and not cgroups.parents():
        pytest.skip("no control group can be made here")
    host = {"numbers": numbers(), "python": found.interpreter.executable}
    with slots.claim() as slot:
        plan = weaken(launcher.verification_plan(found, slot.uid, limits))
        files = {"attempt.py": source(PROGRAM, attempt.body)}
        return asyncio.run(oneshot.run(plan, found.interpreter, ["python", "attempt.py"], files, limits, json.dumps(host).encode()))


def _escaped(done: Completed) -> bool:
    return done.cut is None and done.exit == 0 and done.stdout.endswith(b"escaped\n")


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_production_refuses(found: Installation, attempt: Attempt) -> None:
    done = _run(found, attempt, replace(TIGHT, **attempt.tight), lambda plan: plan)
    assert not _escaped(done), done


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_it_succeeds_without_its_defence(found: Installation, attempt: Attempt) -> None:
    done = _run(found, attempt, replace(TIGHT, **{**attempt.tight, **attempt.loosen}), attempt.weaken)
    assert _escaped(done), done


def test_no_control_group_is_left_behind(found: Installation) -> None:
    within = next(attempt for attempt in ATTEMPTS if attempt.needs_cgroup)
    _run(found, within, replace(TIGHT, **within.tight), lambda plan: plan)
    left = [path for parent in cgroups.parents().values() for path in parent.glob(f"toolmint-{os.getpid()}-*")]
    assert left == []
