"""The CEL library behind one door. Whatever compiles a CEL text does it here.

It refuses to be: safe for text from outside in the service process; `checking` and `invariants` call it in children.
"""

from __future__ import annotations

import sys
import types

# The package imports its own command line (typer, prompt_toolkit) when it is imported: 150 ms and 200 modules that
# nothing here uses. A placeholder keeps them out.
sys.modules.setdefault("cel.cli", types.ModuleType("cel.cli"))

import cel  # noqa: E402  # must follow the placeholder

Program = cel.Program


class BadExpression(ValueError):
    """The text is no CEL expression; the message is one line."""


def compile_expression(text: str) -> Program:
    """A compiled program. Raises BadExpression."""
    try:
        return cel.compile(text)
    except ValueError as error:
        raise BadExpression(_first_line(str(error))) from error


def variables(text: str) -> frozenset[str]:
    """The identifiers that an expression refers to, comprehension variables included. Raises BadExpression."""
    return frozenset(compile_expression(text).variables())


def _first_line(message: str) -> str:
    line = message.split("\n", 1)[0]
    return line.split("ERROR: <input>:", 1)[-1].strip()[:300]
