"""Whether isolation holds on this machine, shown by running the very production commands and looking from inside.

It refuses to be: a reading of kernel settings. Those only help to say *why* where the doing failed.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.errors import ToolmintError
from app.sandbox import cgroups, launcher, oneshot, slots
from app.sandbox.diagnosis import advice
from app.sandbox.forkserver import ForkServer
from app.sandbox.installation import Installation
from app.sandbox.limits import GuestLimits, ProcessLimits
from app.sandbox.session import GuestSession

_PROBE = Path(__file__).with_name("probe.py")
_WRITES = ["/", "/dev", "/usr/lib", launcher.TOOLKIT]
_VARIABLES = {*launcher.ENVIRONMENT, "PWD", "LD_LIBRARY_PATH", "HOME", "TMPDIR"}
_ROOT = {"dev", "guest", "lib", "lib64", "python", "usr", "work"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `fix` says what to do where it is not ok."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """All checks. Generated code runs only where every one is ok."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return bool(self.checks) and all(check.ok for check in self.checks)

    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.ok)


def failed(error: ToolmintError) -> Proof:
    """The proof of what could not even be started."""
    return Proof((Check("start", False, error.detail, error.fix or advice(error.detail)),))


async def prove(installation: Installation) -> Proof:
    """Run a probe as a tool in a child of a fork server, and as a program in a verification sandbox. It does not raise for what fails."""
    checks = [Check("parts", True, f"{installation.bwrap_origin} bubblewrap, {installation.interpreter.origin} Python")]
    try:
        with _Canary(Path(installation.root)) as canary:
            checks += [*_judge("run", await _look_as_tool(installation, canary.arguments))]
            checks += [*_judge("verification", await _look_as_program(installation, canary.arguments))]
    except ToolmintError as error:
        checks += failed(error).checks
    checks.append(Check("aggregate memory", True, _aggregate()))
    return Proof(tuple(checks))


class _Canary:
    """A file and an abstract socket of the host that no sandbox may reach."""

    def __init__(self, root: Path) -> None:
        name = f"toolmint-canary-{secrets.token_hex(8)}"
        descriptor, self._path = tempfile.mkstemp(prefix="canary-", dir=root)
        os.fchmod(descriptor, 0o644)
        os.close(descriptor)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind("\0" + name)
        self._listener.listen(1)
        self.arguments = {"canary": self._path, "socket": name, "writes": _WRITES}

    def __enter__(self) -> _Canary:
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()
        Path(self._path).unlink()


async def _look_as_tool(installation: Installation, args: dict[str, Any]) -> dict[str, Any]:
    with slots.claim() as slot:
        plan = launcher.runtime_plan(installation, slot.uid)
        server = await ForkServer.start(plan, installation.interpreter.executable, slot)
        try:
            host_uid = server.host_uid()
            limits = GuestLimits(wall_s=20)
            session = await GuestSession.open(await server.template({"tool.py": _PROBE.read_text()}, limits.of_template()), limits)
            await session.start(args, now=0, seed="00")
            message = await session.receive()
            await session.close()
        finally:
            await server.stop()
    if message["t"] != "result":
        return {"trouble": json.dumps(message)[:500]}
    expected = {"descriptors": [0, 1, 2, 3], "fork": "EPERM", "unix": False}
    return {**message["value"], "expected": expected, "host_uid": host_uid}


async def _look_as_program(installation: Installation, args: dict[str, Any]) -> dict[str, Any]:
    limits = ProcessLimits(wall_s=20)
    with slots.claim() as slot:
        plan = launcher.verification_plan(installation, slot.uid, limits)
        files = {"probe.py": _PROBE.read_text()}
        done = await oneshot.run(plan, installation.interpreter, ["python", "probe.py"], files, limits, json.dumps(args).encode())
    if done.exit != 0 or done.cut:
        return {"trouble": done.stderr.decode(errors="replace")[-500:] or f"exit status {done.exit}"}
    expected = {"descriptors": [0, 1, 2], "fork": "ok", "unix": True}
    return {**json.loads(done.stdout), "expected": expected}


def _judge(where: str, seen: dict[str, Any]) -> Iterator[Check]:
    if "trouble" in seen:
        yield Check(f"{where}: starts", False, seen["trouble"], advice(seen["trouble"]))
        return
    for name, holds, fix in _RULES:
        fact = holds(seen)
        yield Check(f"{where}: {name}", fact[0], fact[1], "" if fact[0] else fix)


Rule = Callable[[dict[str, Any]], tuple[bool, str]]


def _environment(seen: dict[str, Any]) -> tuple[bool, str]:
    surplus = sorted(seen["environment"].keys() - _VARIABLES)
    return not surplus, f"unexpected: {', '.join(surplus)}" if surplus else "only the fixed variables"


def _uid(seen: dict[str, Any]) -> tuple[bool, str]:
    """Inside always the same; on the host never root where the service is root."""
    host = seen.get("host_uid")
    return seen["uid"] == launcher.INSIDE_UID and host != 0, f"uid {seen['uid']}" + ("" if host is None else f", on the host {host}")


def _root(seen: dict[str, Any]) -> tuple[bool, str]:
    surplus = sorted(set(seen["root"]) - _ROOT)
    return not surplus, f"unexpected: {', '.join(surplus)}" if surplus else ", ".join(seen["root"])


def _writes(seen: dict[str, Any]) -> tuple[bool, str]:
    open_folders = [folder for folder, met in seen["writes"].items() if met == "ok"]
    return not open_folders, f"writable: {', '.join(open_folders)}" if open_folders else "nothing of the view can be written"


def _network(seen: dict[str, Any]) -> tuple[bool, str]:
    wanted = "ECONNREFUSED" if seen["expected"]["unix"] else "EPERM"
    met = seen["host_socket"], seen["inet_socket"]
    return met == (wanted, "EPERM"), f"a socket of the host: {met[0]}; an internet socket: {met[1]}"


_STRICTER = "use a kernel and container profile that let bubblewrap isolate fully; `toolmint doctor` shows every check"
_RULES: tuple[tuple[str, Rule, str], ...] = (
    ("own uid", _uid, _STRICTER),
    ("no capabilities", lambda seen: (not any(seen["capabilities"]), f"{seen['capabilities']}"), _STRICTER),
    ("system call filter", lambda seen: (seen["seccomp"] == 2, f"mode {seen['seccomp']}"), "use a kernel with CONFIG_SECCOMP_FILTER"),
    ("no new privileges", lambda seen: (seen["no_new_privileges"] == 1, f"{seen['no_new_privileges']}"), _STRICTER),
    ("network", _network, _STRICTER),
    ("host files", lambda seen: (seen["canary"] == "ENOENT", f"a file of the host: {seen['canary']}"), _STRICTER),
    ("view", _root, _STRICTER),
    ("read-only", _writes, _STRICTER),
    ("environment", _environment, "start the service from a clean environment"),
    ("host environment", lambda seen: (seen["init_environment"] == "ENOENT", f"/proc/1/environ: {seen['init_environment']}"), _STRICTER),
    (
        "descriptors",
        lambda seen: (seen["descriptors"] == seen["expected"]["descriptors"], f"open: {seen['descriptors']}"),
        "this is a defect of Toolmint: report it",
    ),
    ("namespaces", lambda seen: (seen["user_namespace"] == "EPERM", f"a new user namespace: {seen['user_namespace']}"), _STRICTER),
    ("processes", lambda seen: (seen["fork"] == seen["expected"]["fork"], f"fork: {seen['fork']}"), _STRICTER),
)


def _aggregate() -> str:
    held = cgroups.parents()
    if "unified" in held:
        return "by control group (v2)"
    return "by control group (v1)" if held else "no control group can be made here: verification is limited per process and per uid"
