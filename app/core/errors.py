"""The one tree of errors. REST, MCP, dashboard and worker all render the same object.

It refuses to be: a place for transport details. A front door decides how an error looks, never what it is.

An error has a stable `code` (snake_case, part of the interface), an HTTP `status` from its class, a `detail` for people
that says what happened, a `fix` that says what to do, and `problems`, one per place that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `path` is a JSON path (`$.inputs.properties.to`), `fix` says how to mend it."""

    path: str
    message: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def told(self) -> str:
        """What is wrong and how to mend it, as sentences."""
        return f"{self.message.rstrip('.')}. {self.fix}".rstrip()


class ToolmintError(Exception):
    """Root of the tree. `retryable` says whether the same request may succeed later without a change."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    default_retryable: ClassVar[bool] = False
    default_fix: ClassVar[str] = ""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        fix: str = "",
        problems: Sequence[Problem] = (),
        retryable: bool | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.fix = fix or self.default_fix
        self.problems = tuple(problems)
        self.retryable = self.default_retryable if retryable is None else retryable
        self.data = data or {}

    def as_dict(self) -> dict[str, Any]:
        """The transport-free rendering: code, title, detail, retryable, fix, errors."""
        return {
            "code": self.code,
            "title": self.title,
            "detail": self.detail,
            "retryable": self.retryable,
            "fix": self.fix,
            "errors": [problem.as_dict() for problem in self.problems],
        }


class Unauthenticated(ToolmintError):
    """No valid key."""

    status, title = 401, "Not authenticated"


class Forbidden(ToolmintError):
    """A known actor that may not do this."""

    status, title = 403, "Not allowed"


class NotFound(ToolmintError):
    """The thing does not exist, or the actor may not know that it does."""

    status, title = 404, "Not found"


class MethodNotAllowed(ToolmintError):
    """The resource is there and takes other methods."""

    status, title = 405, "Method not allowed"


class Conflict(ToolmintError):
    """The state of things does not admit this request."""

    status, title = 409, "Conflict"


class TooLarge(ToolmintError):
    """A declared limit on size or count is exceeded."""

    status, title = 413, "Too large"


class Invalid(ToolmintError):
    """The request is well formed but wrong; `problems` say where."""

    status, title = 422, "Invalid request"
    default_fix = "Mend what is named here, then send it again."


class Limited(ToolmintError):
    """Too many requests at once."""

    status, title, default_retryable = 429, "Too many requests", True


class Failed(ToolmintError):
    """Something inside failed; the detail is safe to show."""

    status, title = 500, "Internal error"


class Unavailable(ToolmintError):
    """Something that we need is not there for now."""

    status, title, default_retryable = 503, "Unavailable", True
