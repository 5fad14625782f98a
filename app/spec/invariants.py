"""Invariants checked after a run: CEL in one warm child process, under limits and a kill timer.

Only the paths that an expression names travel to the child. One child serves the whole process, one check at a time (about
0.2 ms for simple arithmetic); it is restarted when it had to be killed.

It refuses to be: a judge of specs. An expression that cannot be evaluated is reported like a broken one.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.errors import Unavailable
from app.spec.confine import child_command, child_environment
from app.spec.model import ExecutionSpec, Invariant
from app.spec.paths import bind, names_in

COUNTS = ("done", "skipped", "retrying", "failed", "unknown", "distinct")
TIME_LIMIT_S = 2.0


@dataclass(frozen=True, slots=True)
class BrokenInvariant:
    """An invariant that does not hold, or could not be evaluated (`error` says why). `values` are the numbers it named."""

    id: str
    text: str
    expr: str
    values: dict[str, Any]
    error: str | None = None

    @property
    def message(self) -> str:
        reason = f"cannot be evaluated: {self.error}" if self.error else "does not hold"
        seen = ", ".join(f"{path} = {value}" for path, value in self.values.items())
        return f"{self.text}: `{self.expr}` {reason}" + (f" ({seen})" if seen else "")


def check_invariants(
    spec: ExecutionSpec,
    args: Mapping[str, Any],
    result: Mapping[str, Any],
    counts: Mapping[str, Mapping[str, int]],
    *,
    time_limit_s: float = TIME_LIMIT_S,
) -> list[BrokenInvariant]:
    """The invariants of `spec` that do not hold, in the spec's order; blocking, so call it in a thread.

    `counts` maps effect ids to the counts of distinct keys; what is absent counts 0.
    """
    return check_expressions(spec.invariants, roots_of(spec, args, result, counts), time_limit_s=time_limit_s)


def roots_of(
    spec: ExecutionSpec, args: Mapping[str, Any], result: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """The three names that invariants know."""
    effects = {effect.id: {count: counts.get(effect.id, {}).get(count, 0) for count in COUNTS} for effect in spec.effects}
    return {"args": args, "result": result, "effects": effects}


def check_expressions(
    invariants: Sequence[Invariant], roots: Mapping[str, Any], *, time_limit_s: float = TIME_LIMIT_S
) -> list[BrokenInvariant]:
    """The same over any roots."""
    if not invariants:
        return []
    checks = [{"expr": invariant.expr, "bind": bind(names_in(invariant.expr).paths, roots)} for invariant in invariants]
    answers = _CHILD.ask(checks, time_limit_s)
    broken = []
    for invariant, answer in zip(invariants, answers, strict=True):
        if answer is not True:
            error = None if answer is False else str(answer)
            broken.append(BrokenInvariant(invariant.id, invariant.text, invariant.expr, _numbers(invariant.expr, roots), error))
    return broken


def _numbers(expr: str, roots: Mapping[str, Any]) -> dict[str, Any]:
    # Numbers and truth values only: texts may be personal data, and a broken invariant is logged.
    seen = {}
    for path in names_in(expr).paths:
        value: Any = roots
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, int | float):
            seen[".".join(path)] = value
    return seen


class _WarmChild:
    """The child and the one conversation with it. Answers are True, False or a text that says what went wrong."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, checks: Sequence[Mapping[str, Any]], time_limit_s: float) -> list[bool | str]:
        line = json.dumps(checks, ensure_ascii=True).encode() + b"\n"
        with self._turn:
            for _ in range(2):
                answers, killed = self._converse(line, len(checks), time_limit_s)
                if len(answers) == len(checks):
                    return answers
                if killed:
                    return self._cut_short(answers, len(checks), f"took longer than {time_limit_s:g} s together with those before it")
                if answers:
                    break
            return self._cut_short(answers, len(checks), "needed more memory or CPU than a check may use")

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.communicate()

    def _converse(self, line: bytes, expected: int, time_limit_s: float) -> tuple[list[bool | str], bool]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise Unavailable("invariants_unavailable", "The child that checks invariants has no pipes.", fix="Call again.")
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(time_limit_s, expire)
        timer.daemon = True
        timer.start()
        answers: list[bool | str] = []
        try:
            process.stdin.write(line)
            process.stdin.flush()
            while len(answers) < expected and (answer := process.stdout.readline()):
                answers.append(json.loads(answer))
        except BrokenPipeError:
            answers.clear()  # the child is gone; the missing answers tell the caller
        finally:
            timer.cancel()
        if len(answers) < expected or expired.is_set():
            self.close()
        return answers, expired.is_set()

    def _running(self) -> subprocess.Popen[bytes]:
        alive = self._process is not None and self._owner == os.getpid() and self._process.poll() is None
        if self._process is None or not alive:
            self.close()
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                child_command("app.spec.invariant_child"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=child_environment(),
                cwd="/",
                start_new_session=True,
            )
            # The start is not the check's time: imports cost a quarter of a second on a busy machine.
            with contextlib.suppress(OSError):  # whether it lives is found out by asking it
                self._process.stdout.readline() if self._process.stdout else None
        return self._process

    @staticmethod
    def _cut_short(answers: list[bool | str], expected: int, why: str) -> list[bool | str]:
        missing = expected - len(answers)
        return answers + ([why] if missing else []) + ["was not reached"] * (missing - 1)


_CHILD = _WarmChild()
atexit.register(_CHILD.close)
