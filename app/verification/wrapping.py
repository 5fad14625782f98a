"""A tool's `run` made into another by one of our programs, for runs that are only looked at.

It refuses to be: to be noticed. The tool's own names mean what they meant, there is no further one, and what it is given and called is
what it is given and called in production.
"""

from __future__ import annotations

from itertools import count
from textwrap import indent

from app.verification.boxes import inside_files


def wrapped(tool: str, program: str, run: str) -> str:
    """The text of `tool.py` with its `run` replaced by the expression `run`, in which the program of `inside/` means its own names."""
    name = next(name for name in map("_run_{}".format, count()) if name not in tool)
    body = indent(inside_files()[f"inside/{program}.py"], "    ")
    named = f"    other = {run}\n    other.__name__ = other.__qualname__ = 'run'\n    return other\n"
    return f"{tool}\n\ndef {name}(run):\n{body}\n{named}\n\nrun = {name}(run)\ndel {name}\n"
