"""The only way in for a spec that is not published: it is parsed, linted and compiled in a child process under limits.

The service process looks at size and nesting, and at what the child found to be right; regular expressions, schemas and CEL
texts of strangers are compiled in the child, which may hang or run out of memory without harm.

It refuses to be: a cache, or a fast path around the child.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from app.core.errors import Failed, Invalid, Limited, Problem, TooLarge
from app.spec.catalog import ConnectorCatalog
from app.spec.confine import child_command, child_environment, confine
from app.spec.lint import lint
from app.spec.model import ExecutionSpec
from app.spec.written import deeper_than

MAX_BYTES = 512 * 1024
MAX_NESTING = 40
WALL_LIMIT_S = 10.0
CPU_LIMIT_S = 8
MEMORY_MB = 768
MOST_AT_ONCE = 4
_NICE = 5  # published tools answer from the same machine meanwhile
WAIT_S = 20.0
_GAVE_UP = 3
_OVER_LIMITS = (_GAVE_UP, -signal.SIGKILL, -signal.SIGXCPU, -signal.SIGSEGV, -signal.SIGABRT)  # Rust aborts when memory ends
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()  # a semaphore is bound to one loop
_SIMPLER = "Simplify patterns, schemas and invariants; shorten examples."


def _behind(pid: int) -> None:
    os.setpriority(os.PRIO_PROCESS, pid, _NICE)


async def check(
    body: Any,
    catalog: ConnectorCatalog,
    *,
    wall_limit_s: float = WALL_LIMIT_S,
    wait_s: float = WAIT_S,
    place: Callable[[int], None] = _behind,
) -> ExecutionSpec:
    """The spec that `body` (parsed JSON) is. Raises Invalid `spec_invalid` with problems, TooLarge `spec_too_large`.

    At most four children at once in this process; the next waits up to `wait_s` for its turn. Raises Limited `too_many_checks`.
    `place` is told the child's pid, to have it stand back for what is more urgent.
    """
    text = _guarded(body)  # what needs no child waits for none
    request = json.dumps(catalog.as_json()).encode() + b"\n" + text
    async with _turn(wait_s):
        answer = await _ask_child(request, wall_limit_s, place)
    problems = [Problem(**problem) for problem in answer["problems"]]
    if problems:
        raise _invalid(problems)
    return ExecutionSpec.parse(text)


@asynccontextmanager
async def _turn(wait_s: float) -> AsyncIterator[None]:
    turns = _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(MOST_AT_ONCE))
    try:
        async with asyncio.timeout(wait_s):
            await turns.acquire()
    except TimeoutError:
        raise Limited("too_many_checks", "Too many specs are being checked at once.", fix="Try again in a few seconds.") from None
    try:
        yield
    finally:
        turns.release()


def _guarded(body: Any) -> bytes:
    if not isinstance(body, dict):
        raise _invalid([Problem("$", "a spec is a JSON object", "Send one object with spec_version, name, inputs, outputs and the rest.")])
    if deeper_than(body, MAX_NESTING):
        raise _invalid([Problem("$", f"is nested over {MAX_NESTING} levels deep", "Flatten it.")])
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise _invalid([Problem("$", "holds what JSON cannot say", "Use finite numbers and valid Unicode.")]) from error
    if len(text) > MAX_BYTES:
        raise TooLarge(
            "spec_too_large",
            f"The spec has {len(text)} bytes; {MAX_BYTES} are allowed.",
            fix="Shorten examples; data belongs in collections.",
        )
    return text


def _invalid(problems: list[Problem]) -> Invalid:
    first = problems[0]
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return Invalid(
        "spec_invalid",
        f"The spec is not right: {first.path} {first.message}{more}.",
        fix="Mend each place that is named, then save it again.",
        problems=problems,
    )


async def _ask_child(request: bytes, wall_limit_s: float, place: Callable[[int], None]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *child_command("app.spec.checking"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=child_environment(),
        cwd="/",
    )
    try:
        with suppress(ProcessLookupError):  # it is over already
            place(process.pid)  # with the session of this process: in one of its own, nice would mean nothing to the others
        output, _ = await asyncio.wait_for(process.communicate(request), wall_limit_s)
    except TimeoutError:
        raise _invalid([Problem("$", f"took longer than {wall_limit_s:g} s to check", _SIMPLER)]) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode in _OVER_LIMITS:
        raise _invalid([Problem("$", "needed more memory or CPU than a check may use", _SIMPLER)])
    if process.returncode != 0:
        raise Failed("spec_check_failed", "The check of the spec ended without an answer.", fix="Try again; report it if it stays.")
    answer: dict[str, Any] = json.loads(output)
    return answer


def main() -> None:
    """The child: one catalog and one spec on standard input, `{"problems": [...]}` on standard output."""
    confine(memory_mb=MEMORY_MB, cpu_s=CPU_LIMIT_S)
    catalog_line, text = sys.stdin.buffer.read().split(b"\n", 1)
    try:
        _spec, problems = lint(json.loads(text), ConnectorCatalog.from_json(json.loads(catalog_line)))
    except (MemoryError, RecursionError):
        sys.exit(_GAVE_UP)
    print(json.dumps({"problems": [problem.as_dict() for problem in problems]}))  # noqa: T201  # the pipe is the interface


if __name__ == "__main__":
    main()
