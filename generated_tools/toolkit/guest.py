"""The sandbox side: a fork server, from it a template per tool that holds it compiled, and the runner of one run in one forked child.

A template runs no line of a tool: it parses it, imports what it names of the library and runs the host's own `contract.py`.

It refuses to be: a defence. Namespaces, the outer filter and the mounts stand before it starts; it applies the limits and the strict filter
that the host hands it before a child sees a byte of a tool, and the host checks all that a child says.

Control messages (JSON, one per SEQPACKET packet): the host sends `{"filter": hex, "rlimits": {NAME: n}}` first and gets `{"ready": pid}`;
then `{"template": id, "rlimits": {NAME: n}}` with two descriptors: a file of `{NAME: TEXT}` and a control socket, on which the template
says ready. A template takes `{"spawn": id, "rlimits": {NAME: n}}` with one, the child's channel. Both take `{"kill": id}` and say
`{"exit": id, "status", "rss_kb", "cpu_ms"}`.
"""

from __future__ import annotations

import array
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from .context import BEHIND, Cancelled, Context, ToolError
from .wire import Channel, FrameError, Message

_WARM = """
abc base64 bisect collections collections.abc contextlib copy csv dataclasses datetime decimal difflib email.utils enum fractions
functools hashlib heapq html io itertools json math numbers operator random re statistics string textwrap time types typing unicodedata
urllib.parse uuid zoneinfo
"""
WARM = frozenset(_WARM.split())
"""Modules that a template imports for a tool that names them, so that its children find them loaded."""

Loader = Callable[[], types.ModuleType]
_Limits = list[tuple[int, tuple[int, int]]]
_GUEST_FD = 3
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_call_prctl = ctypes.CDLL(None, use_errno=True).prctl
_call_prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)  # said here, so that no child works them out anew
_OF_CHILDREN = ("NPROC", "NOFILE")
"""Limits that the fork server could not work under itself; it takes on all others, and its children have them from it."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _prctl(option: int, value: int, further: int = 0) -> None:
    if _call_prctl(option, value, further, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


class _Filter:
    """A seccomp filter (an array of sock_filter), laid out before the fork so that a child has only one call to make."""

    def __init__(self, program: bytes) -> None:
        self._block = ctypes.create_string_buffer(program, len(program))
        self._program = _Program(len(program) // 8, ctypes.addressof(self._block))
        self._where = ctypes.addressof(self._program)

    def install(self) -> None:
        """Apply it to this process for good. Raises OSError."""
        _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, self._where)


def _limits(rlimits: dict[str, int]) -> _Limits:
    """What `_limit` takes, made before a fork so that no child has to."""
    return [(getattr(resource, f"RLIMIT_{name}"), (value, value)) for name, value in rlimits.items()]


def _limit(limits: _Limits) -> None:
    for which, values in limits:
        resource.setrlimit(which, values)


def _confine(fd: int, limits: _Limits, program: _Filter | None) -> Channel:
    """Leave this child nothing but its channel and the `/dev/null` that it was born with, then its limits, then the filter."""
    if fd != _GUEST_FD:
        os.dup2(fd, _GUEST_FD, inheritable=False)
    os.closerange(_GUEST_FD + 1, 1 << 16)
    _limit(limits)
    if program is not None:
        program.install()
    return Channel(_GUEST_FD)


def prepare(files: dict[str, str]) -> Loader:
    """What makes the module `tool` in a child, from its source; other files than `contract.py` and `tool.py` are not for the run.

    All that needs no line of the tool to run is done here. What is wrong with the source is raised by the loader, in the child.
    """
    try:
        if "contract.py" in files:
            _execute("contract", compile(files["contract.py"], "contract.py", "exec", dont_inherit=True))
        code = compile(files["tool.py"], "tool.py", "exec", dont_inherit=True)
        names = set(_names(code))
        for name in sorted(WARM.intersection(names).union(*(BEHIND[name] for name in names.intersection(BEHIND)))):
            importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001 - SyntaxError, MemoryError and whatever else a parser makes of hostile text
        return _raiser(error)
    return lambda: _execute("tool", code)


def _execute(name: str, code: types.CodeType) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__file__ = f"{name}.py"
    sys.modules[name] = module
    exec(code, module.__dict__)  # noqa: S102 - running a tool's source is the task
    return module


def _names(code: types.CodeType) -> Iterator[str]:
    """Every name in the code: of modules that it imports among them."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _raiser(error: BaseException) -> Loader:
    def load() -> types.ModuleType:
        raise error

    return load


def _crash(error: BaseException) -> Message:
    frames = ((frame.tb_lineno, frame.tb_frame.f_code) for frame in _traceback(error.__traceback__))
    lines = [{"line": line, "function": code.co_name} for line, code in frames if code.co_filename == "tool.py"]
    if isinstance(error, SyntaxError) and error.filename == "tool.py":
        lines.append({"line": error.lineno, "function": "<module>"})
    return {"t": "crash", "type": type(error).__name__, "message": str(error)[:500], "traceback": lines[-20:]}


def _traceback(frame: types.TracebackType | None) -> Iterator[types.TracebackType]:
    while frame is not None:
        yield frame
        frame = frame.tb_next


def converse(channel: Channel, load: Loader) -> Message:
    """Load the tool, serve one run over the channel up to its closing message, which is returned unsent.

    Raises EOFError where the host has gone.
    """
    failure: BaseException | None = None
    try:
        module = load()
    except BaseException as error:  # noqa: BLE001 - whatever a tool's top level raises is told once the run starts
        failure = error
    opening = channel.receive()
    if opening["t"] == "cancel":
        return {"t": "cancelled"}
    try:
        if failure is not None:
            raise failure
        context = Context(channel, now=opening["now"], seed=opening["seed"])
        return {"t": "result", "value": module.run(opening["args"], context)}
    except ToolError as error:
        return {"t": "tool_error", "code": str(error.code), "message": str(error.message)}
    except Cancelled:
        return {"t": "cancelled"}
    except EOFError:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit and all else that a tool raises must reach the host as a crash
        return _crash(error)


def _run(channel: Channel, load: Loader) -> NoReturn:
    """Converse, say the closing word, and leave without running anything of the tool's again."""
    status = 0
    try:
        closing = converse(channel, load)
        try:
            channel.send(closing)
        except (TypeError, ValueError, RecursionError, FrameError) as error:
            channel.send({"t": "crash", "type": type(error).__name__, "message": f"the result is no JSON: {error}"[:500], "traceback": []})
    except BaseException:  # noqa: BLE001 - the host has gone or memory has: the exit status is all that is left to say
        status = 70
    os._exit(status)


class _Server:
    """The loop of the fork server and of each template: fork, kill, reap, report. `load` is a template's tool."""

    def __init__(self, control: socket.socket, program: _Filter | None, limits: _Limits, load: Loader) -> None:
        self.control = control
        self.program = program
        self.limits = limits
        self.load = load
        self.children: dict[int, tuple[int, int]] = {}
        self.poll = select.poll()
        self.poll.register(control.fileno(), select.POLLIN)

    def serve(self) -> None:
        """Until the host closes its end; children die with this process's pid namespace."""
        while True:
            for fd, _ in self.poll.poll():
                if fd != self.control.fileno():
                    self.reap(fd)
                elif not self.obey():
                    return

    def obey(self) -> bool:
        packet, ancillary, _, _ = self.control.recvmsg(1 << 16, socket.CMSG_SPACE(8))
        if not packet:
            return False
        order: dict[str, Any] = json.loads(packet)
        if "kill" in order:
            for pidfd, (_, ident) in self.children.items():
                if ident == order["kill"]:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            return True
        descriptors = array.array("i", ancillary[0][2])
        limits = _limits(order["rlimits"])
        pid = os.fork()
        if pid == 0:
            if "template" in order:
                self.become_template(descriptors[0], descriptors[1], limits)
            self.become_child(descriptors[0], self.limits + limits)
        for fd in descriptors:
            os.close(fd)
        pidfd = os.pidfd_open(pid)
        self.children[pidfd] = (pid, order["template"] if "template" in order else order["spawn"])
        self.poll.register(pidfd, select.POLLIN)
        return True

    def become_child(self, fd: int, limits: _Limits) -> NoReturn:
        try:
            gc.enable()
            _die_with_parent()
            channel = _confine(fd, limits, self.program)
        except BaseException:  # noqa: BLE001 - a child that cannot be confined must not live
            os._exit(71)
        _run(channel, self.load)

    def become_template(self, files_fd: int, control_fd: int, limits: _Limits) -> NoReturn:
        try:
            _die_with_parent()
            for fd in (self.control.detach(), *self.children):
                os.close(fd)
            _limit(limits)
            with open(files_fd, encoding="utf-8") as file:
                load = prepare(json.load(file))
            serve(_Server(socket.socket(fileno=control_fd), self.program, self.limits, load))
        except BaseException:  # noqa: BLE001 - what no child can be forked from must not live
            os._exit(71)
        os._exit(0)

    def reap(self, pidfd: int) -> None:
        pid, ident = self.children.pop(pidfd)
        self.poll.unregister(pidfd)
        os.close(pidfd)
        _, status, usage = os.wait4(pid, 0)
        report = {
            "exit": ident,
            "status": os.waitstatus_to_exitcode(status),
            "rss_kb": usage.ru_maxrss,
            "cpu_ms": round((usage.ru_utime + usage.ru_stime) * 1000),
        }
        self.control.send(json.dumps(report).encode())


def _die_with_parent() -> None:
    """Have the kernel end this process with its server, whose host could not hear of it any more."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def serve(server: _Server) -> None:
    """Say ready and serve. What is in memory by now stays shared with every child: no collection looks at it again."""
    gc.collect()
    gc.freeze()
    gc.disable()
    server.control.send(json.dumps({"ready": os.getpid()}).encode())
    server.serve()


def main(control_fd: int) -> None:
    """Become the fork server on an inherited SEQPACKET socket."""
    control = socket.socket(fileno=control_fd)
    os.closerange(3, control_fd)
    os.closerange(control_fd + 1, 1 << 16)
    sys.argv[:], sys.orig_argv[:] = ["tool.py"], []  # a descriptor's number would tell one sandbox from another
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    settings = json.loads(control.recv(1 << 16))
    rlimits: dict[str, int] = settings["rlimits"]
    _limit(_limits({name: value for name, value in rlimits.items() if name not in _OF_CHILDREN}))
    program = _Filter(bytes.fromhex(settings["filter"])) if settings["filter"] else None
    server = _Server(control, program, _limits({name: rlimits[name] for name in _OF_CHILDREN if name in rlimits}), prepare({}))
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):  # what a child has besides its channel; complaints are heard up to here
        os.dup2(null, standard)
    os.close(null)
    serve(server)


if __name__ == "__main__":
    main(int(sys.argv[1]))
