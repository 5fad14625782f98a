"""One attempt to break out, as a value: what it does inside, and which defences stand in its way.

It refuses to be: a fixture. The tables list attempts; `arena` runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.core.errors import ToolmintError

PREAMBLE = """
import ctypes, json, os, struct, sys, time
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
NUMBERS = {}

def call(name, *values):
    words = [ctypes.c_long(value) if isinstance(value, int) else value for value in values]
    found = _libc.syscall(ctypes.c_long(NUMBERS[name]), *words)
    if found < 0:
        raise OSError(ctypes.get_errno(), name)
    return found

def frame(text):
    return struct.pack(">I", len(text)) + text

def raw(data):
    os.write(3, data)

def say(**message):
    raw(frame(json.dumps(message).encode()))

def ok(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True

def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def attempt(host, ctx):
    BODY
    return "escaped"
"""
TOOL = PREAMBLE + "\ndef run(args, ctx):\n    NUMBERS.update(args['numbers'])\n    return attempt(args, ctx)\n"
PROGRAM = PREAMBLE + "\nhost = json.load(sys.stdin)\nNUMBERS.update(host['numbers'])\nprint(attempt(host, None))\n"


def source(template: str, body: str) -> str:
    """The attempt as a tool's or a program's source."""
    return template.replace("BODY", body.strip().replace("\n", "\n    "))


@dataclass(slots=True)
class Story:
    """What the host saw of one attempt in a child: the messages handed on, and how the session failed if it did."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    failure: ToolmintError | None = None

    @property
    def escaped(self) -> bool:
        """The attempt reached its end and could say so."""
        return self.failure is None and self.messages[-1] == {"t": "result", "value": "escaped"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """`layers` are the defences that refuse it, each by itself; with all of them removed it must succeed."""

    name: str
    body: str
    layers: tuple[str, ...]
    succeeded: Callable[[Story], bool] = lambda story: story.escaped
    limits: dict[str, Any] = field(default_factory=dict)
    """Limits of the session that differ from the defaults, so that a test is quick."""
