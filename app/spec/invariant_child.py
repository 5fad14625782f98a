"""The child process that evaluates CEL: one JSON line of checks in, one JSON line out for each check.

It refuses to be: imported by the service. It is started by `invariants` and ends when its input ends.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from typing import Any

from app.spec.cel_engine import BadExpression, Program, compile_expression
from app.spec.confine import confine

MEMORY_MB = 512


@lru_cache(maxsize=2048)
def _program(text: str) -> Program:
    return compile_expression(text)


def evaluate(text: str, bound: dict[str, Any]) -> bool | str:
    """True, False, or what went wrong in one line without any value in it."""
    try:
        answer = _program(text).execute(bound)
    except BadExpression as error:
        return f"it is no CEL expression ({error})"
    except KeyError as error:
        return f"nothing is named {error.args[0]!r}"
    except TypeError:
        return "it mixes types that CEL does not mix (write 1.0 for a number that is not whole, or convert with double())"
    except (ValueError, ArithmeticError, RuntimeError) as error:
        return f"{type(error).__name__} while it was evaluated"
    return answer if isinstance(answer, bool) else f"it is a {type(answer).__name__}, not true or false"


def main() -> None:
    # No limit on CPU: the child lives long, and the parent's timer bounds each conversation.
    confine(memory_mb=MEMORY_MB, cpu_s=None)
    print("ready", flush=True)  # noqa: T201  # the pipe is the interface
    for line in sys.stdin.buffer:
        for check in json.loads(line):
            print(json.dumps(evaluate(check["expr"], check["bind"])), flush=True)  # noqa: T201  the answer goes by standard output


if __name__ == "__main__":
    main()
