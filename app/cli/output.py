"""How commands speak: lines for people on standard output, errors as one line and its fix on standard error.

It refuses to be: a logger.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from app.core.errors import ToolmintError

DONE, REFUSED, UNUSABLE, WAITING = 0, 1, 2, 3
EXIT_CODES = """exit status:
  0  done
  1  examined and refused, or something is wrong
  2  cannot be done as asked: usage, settings, no connection, no permission
  3  not finished: a run goes on, or a candidate waits for an approval"""


def say(line: str = "") -> None:
    """One line for people, at once."""
    print(line, flush=True)  # noqa: T201  this is the command line's voice


def show(value: Any) -> None:
    """JSON for programs."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def remark(line: str) -> None:
    """One line beside an answer, on standard error, so that programs read the answer alone."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201  this is the command line's voice


def complain(error: ToolmintError) -> None:
    """`error: what happened (code)`, then each place that is wrong, then what to do."""
    lines = [f"error: {error.detail} ({error.code})"]
    for problem in error.problems:
        lines.append(f"  {problem.path}: {problem.told()}")
    if error.fix:
        lines.append(f"fix: {error.fix}")
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201  this is the command line's voice
