"""Logs as JSON lines on standard error, each with the names of the work that it belongs to: run, version, actor, trace.

Keys, passwords in addresses, statement parameters and e-mail addresses are blanked before a line is written, wherever they
stand; a log holds no personal data and no secret.

It refuses to be: the audit trail. A log may be lost.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from app.core import clock
from app.observability.traces import current_trace

LOGGER = logging.getLogger("toolmint")
_names: ContextVar[Mapping[str, Any]] = ContextVar("log names", default={})  # noqa: B039  # never mutated, only replaced
_MOST_TEXT = 4000
_MOST_PARTS = 50
_HIDDEN_FIELDS = frozenset({"authorization", "password", "secret", "api_key", "cookie", "x-api-key"})
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\btm_[0-9a-z]{5,32}_[A-Za-z0-9_-]{16,64}"), "[key]"),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{8,200}"), "[key]"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,512}"), r"\1 [key]"),
    (re.compile(r"://[^/\s:@]{0,200}:[^/\s@]{1,200}@"), "://[hidden]@"),
    (re.compile(r"\[parameters: [^\n]*"), "[parameters: hidden]"),  # SQLAlchemy quotes the values of a failed statement
    (re.compile(r"[\w.+'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}"), "[address]"),
)
_SUSPECT = re.compile(r"@|tm_|sk-|\[param|[Bb][Ee][Aa][Rr][Ee][Rr]|[Bb][Aa][Ss][Ii][Cc]")
"""Something that each pattern needs; most lines have none of it, and six searches a text were a fifth of a call's cost."""
_ANYWHERE = ("@", "tm_", "sk-", "[param", "bearer", "basic", "\\u", *sorted(_HIDDEN_FIELDS))
"""The same for a whole line with its field names, in small letters; looked for one by one, which is a tenth of one search for all.
`\\u` stands for what is not ASCII: among it are letters whose small form is."""


def setup(level: str = "info", secrets: Sequence[str] = (), stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error) as JSON. `secrets` are blanked wherever they stand."""
    logging._srcfile = None  # the way that logging documents to leave out who called, which no line says
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(secrets))
    if level.upper() != "DEBUG":
        handler.addFilter(_is_no_trial)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "arq"):  # they bring handlers of their own
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.NOTSET)


def _is_no_trial(record: logging.LogRecord) -> bool:
    """Runs of a candidate under verification, most of them meant to fail, are told in its report; the log has them at level debug."""
    return record.msg not in ("tool.said", "run.finished") or "candidate_id" not in _names.get()


@contextmanager
def working(**names: Any) -> Iterator[None]:
    """Name the work until the end of the block: `run_id`, `version`, `actor`, `tool`, `candidate_id`, …"""
    token = _names.set({**_names.get(), **names})
    try:
        yield
    finally:
        _names.reset(token)


def say(event: str, level: int = logging.INFO, /, **fields: Any) -> None:
    """One line: `event` is `noun.verb`, `fields` are JSON values."""
    LOGGER.log(level, event, extra={"fields": fields})


def tool_line(run_id: str, version: int, actor: str, trace_id: str, event: str, fields: Mapping[str, Any]) -> None:
    """What a tool said with `ctx.log`, as `tool.said`."""
    names = {"run_id": run_id, "version": version, "actor": actor, "trace_id": trace_id}
    LOGGER.info("tool.said", extra={"fields": {**names, "said": event, "with": dict(fields)}})


def run_span(run_id: str, version: int, actor: str, trace_id: str, state: str, duration_ms: int, error_code: str | None = None) -> None:
    """The end of a run, as `run.finished`: its one span."""
    names = {"run_id": run_id, "version": version, "actor": actor, "trace_id": trace_id}
    LOGGER.info("run.finished", extra={"fields": {**names, "state": state, "duration_ms": duration_ms, "error_code": error_code}})


class JsonLines(logging.Formatter):
    """One JSON object a line, ASCII, nothing in it that must not be there."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(sorted((secret for secret in secrets if len(secret) >= 6), key=len, reverse=True))
        self._quoted = tuple(json.dumps(secret)[1:-1] for secret in self._secrets)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": clock.iso(round(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            "trace_id": current_trace(),
            **_names.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = "".join(traceback.format_exception(*record.exc_info))
        line = {key: value for key, value in line.items() if value is not None}
        return self._harmless(line) or json.dumps({key: self._clean(key, value, 0) for key, value in line.items()})

    def _harmless(self, line: Mapping[str, Any]) -> str | None:
        """The line's text if it is short and holds nothing that could be blanked; else None."""
        try:
            text = json.dumps(line)
        except (TypeError, ValueError, RecursionError):
            return None
        if len(text) > _MOST_TEXT or any(secret in text for secret in self._quoted):
            return None
        small = text.lower()
        return None if any(sign in small for sign in _ANYWHERE) else text

    def _clean(self, name: str, value: Any, depth: int) -> Any:
        if name.lower() in _HIDDEN_FIELDS:
            return "[hidden]"
        if type(value) is str:
            return self._redacted(value)
        if isinstance(value, bool | int | float) or value is None:
            return value
        if isinstance(value, Mapping) and depth < 5:
            parts = list(value.items())[:_MOST_PARTS]
            return {self._redacted(str(key)): self._clean(str(key), part, depth + 1) for key, part in parts}
        if isinstance(value, list | tuple) and depth < 5:
            return [self._clean("", part, depth + 1) for part in value[:_MOST_PARTS]]
        return self._redacted(str(value))

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        if len(text) > _MOST_TEXT:  # the end tells more of a traceback than its middle
            text = f"{text[: _MOST_TEXT // 2]} … {text[-_MOST_TEXT // 2 :]}"
        if _SUSPECT.search(text):
            for pattern, instead in _PATTERNS:
                text = pattern.sub(instead, text)
        return text
