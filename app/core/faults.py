"""Named fault points: places where the durability tests make a process die, stop or fail. Inert unless armed.

`TOOLMINT_FAULTS="effect.performing.after=kill:3"` kills this process the third time that it passes that point.
Actions: `kill` (SIGKILL), `stop` (SIGSTOP), `raise` (FaultInjected).

Beside the places in `POINTS`, every transition of a state machine has two: `effect.planned-claimed.before` is passed inside the
transaction that makes it, `….after` once that is committed.

It refuses to be: a switch for features. An armed point never changes a result, it only ends or stalls a process.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

POINTS = frozenset(
    {
        "run.begun",
        "run.claimed",
        "run.result.before",
        "run.result.after",
        "journal.step.before",
        "journal.step.after",
        "effect.planned",
        "effect.claimed",
        "effect.performing",
        "effect.performed",
        "effect.recorded",
        "effect.retry.claimed",
        "lookup.answered",
        "outbox.relayed",
        "decision.part.before",
        "decision.part.after",
        "candidate.gate.after",
        "publish.files.after",
    }
)


_CROSSING = re.compile(r"[a-z]+\.[a-z_]+-[a-z_]+\.(before|after)")
_CROSSED = "crossed"


class FaultInjected(Exception):
    """Raised at a point that is armed with `raise`."""


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise() -> None:
    raise FaultInjected


_ACTIONS: dict[str, Callable[[], None]] = {"kill": _kill, "stop": _stop, "raise": _raise}
_armed: dict[str, tuple[Callable[[], None], int]] = {}
_passed: Counter[str] = Counter()


def arm(text: str) -> None:
    """Arm points from `point=action[:nth][,…]`; an empty text disarms all. Raises ValueError for an unknown name."""
    armed: dict[str, tuple[Callable[[], None], int]] = {}
    for part in filter(None, text.split(",")):
        point, _, rest = part.partition("=")
        action, _, nth = rest.partition(":")
        if not (point in POINTS or _CROSSING.fullmatch(point)) or action not in _ACTIONS:
            raise ValueError(f"no such fault: {part!r}")
        armed[point] = (_ACTIONS[action], int(nth or 1))
    _armed.clear()
    _armed.update(armed)
    _passed.clear()


def fault(point: str) -> None:
    """Pass a fault point. Costs one dictionary look-up while nothing is armed."""
    if point not in _armed:
        return
    _passed[point] += 1
    action, nth = _armed[point]
    if _passed[point] == nth:
        action()


def crossing(info: dict[Any, Any], machine: str, moves: Iterable[tuple[str, str]]) -> None:
    """Pass the point before each of these transitions; that after it is passed when the transaction of `info` is committed."""
    if not _armed:
        return
    for before, after in moves:
        point = f"{machine}.{before}-{after}"
        fault(f"{point}.before")
        info.setdefault(_CROSSED, []).append(f"{point}.after")


def committed(info: dict[Any, Any]) -> None:
    """Pass the points after the transitions of a transaction that is committed."""
    for point in info.pop(_CROSSED, ()):
        fault(point)


arm(os.environ.get("TOOLMINT_FAULTS", ""))
