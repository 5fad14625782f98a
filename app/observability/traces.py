"""The trace id of the present work: from a W3C `traceparent` header or new; carried through run, step, log and audit.

It refuses to be: an exporter. Spans are log lines and metrics.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_trace: ContextVar[str | None] = ContextVar("trace", default=None)
_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$")


def new_trace() -> str:
    """32 hex digits."""
    return os.urandom(16).hex()


def current_trace() -> str | None:
    """The trace id of this task, if it has one."""
    return _trace.get()


def trace_from(traceparent: str | None) -> str:
    """The trace id that a `traceparent` header names; a new one if there is none or it is malformed."""
    match = _TRACEPARENT.match(traceparent or "")
    return match.group(1) if match and set(match.group(1)) != {"0"} else new_trace()


@contextmanager
def tracing(trace: str | None = None) -> Iterator[str]:
    """Work under `trace` (or a new id) until the end of the block."""
    token = _trace.set(trace or new_trace())
    try:
        yield _trace.get() or ""
    finally:
        _trace.reset(token)
