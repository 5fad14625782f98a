"""Runs as tasks of MCP: the extension `io.modelcontextprotocol/tasks` (SEP-2663), for clients that declare it with a request.

A call that outlives its budget answers such a client with a task, whose id is that of the run; `tasks/get` tells how it stands and, once it
is over, has the result that the call would have had. Other clients are told `run_in_progress`.

It refuses to be: a store of tasks. The run is the task; it lasts as long as its answer is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import CLIENT_CAPABILITIES_META_KEY, INVALID_PARAMS, MISSING_REQUIRED_CLIENT_CAPABILITY, RequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from app.core.errors import Conflict, Forbidden, NotFound
from app.core.texts import text_problems
from app.invocation.answers import RunAnswer
from app.invocation.calling import read_answer
from app.invocation.parts import Services
from app.mcp_server.answers import run_meta, run_result
from app.mcp_server.door import caller_of
from app.runtime.decisions import cancel_run
from app.runtime.retention import Keep

EXTENSION = "io.modelcontextprotocol/tasks"
POLL_MS = 1000
Context = ServerRequestContext[Any, Any]


class TaskParams(RequestParams):
    """What every method of the extension is asked with."""

    task_id: str


def declared(ctx: Context) -> bool:
    """Whether this very request says that its sender knows tasks."""
    meta = (ctx.params or {}).get("_meta")
    known = meta.get(CLIENT_CAPABILITIES_META_KEY) if isinstance(meta, Mapping) else None
    named = known.get("extensions") if isinstance(known, Mapping) else None
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and isinstance(named, Mapping) and EXTENSION in named


class Tasks:
    """The methods of the extension, over these services."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept_ms = Keep.of(services.settings).answers_ms

    def install(self, server: Server[Any]) -> None:
        """Serve and announce them."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self.get)
        server.add_request_handler("tasks/update", TaskParams, self.update)
        server.add_request_handler("tasks/cancel", TaskParams, self.cancel)

    async def begun(self, ctx: Context, run_id: str) -> dict[str, Any]:
        """What a call answers whose run goes on."""
        row, answer = await self._read(ctx, run_id)
        return {**self._task(row, answer), "resultType": "task", "_meta": run_meta(answer)}

    async def get(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        """How the run stands; once it has ended otherwise than by being cancelled, with the result of the call."""
        require(ctx)
        row, answer = await self._read(ctx, params.task_id)
        task = {**self._task(row, answer), "_meta": run_meta(answer)}
        return {**task, "result": run_result(answer)} if task["status"] == "completed" else task

    async def update(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        """Acknowledged and nothing more: no run asks its caller for anything, and an answer to no question is to be ignored."""
        require(ctx)
        await self._read(ctx, params.task_id)
        return {}

    async def cancel(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        """The run stops at its next effect boundary; one that is over stays as it is."""
        require(ctx)
        await self._read(ctx, params.task_id)
        try:
            await asyncio.to_thread(cancel_run, caller_of(ctx.request).actor, self._services.database, params.task_id)
        except Conflict:  # it is over, perhaps just now
            return {}
        except Forbidden as error:
            raise MCPError(INVALID_PARAMS, error.detail, {"code": error.code}) from None
        self._services.feed.nudge()
        return {}

    async def _read(self, ctx: Context, run_id: str) -> tuple[dict[str, Any], RunAnswer]:
        if text_problems([("taskId", run_id)]):
            raise _unknown()
        try:
            row, answer = await read_answer(caller_of(ctx.request).actor, self._services.calls, run_id)
        except NotFound as error:
            raise _unknown() from error
        if row["kept"] == "nothing":
            raise MCPError(INVALID_PARAMS, "Task has expired: its result is kept no longer", {"code": "task_expired"})
        return row, answer

    def _task(self, row: Mapping[str, Any], answer: RunAnswer) -> dict[str, Any]:
        lasts = None
        if self._kept_ms is not None and row["finished_at"] is not None:
            took = datetime.fromisoformat(row["finished_at"]) - datetime.fromisoformat(row["created_at"])
            lasts = round(took.total_seconds() * 1000) + self._kept_ms
        return {
            "taskId": row["id"],
            "status": "working" if not answer.over else "cancelled" if row["state"] == "cancelled" else "completed",
            "statusMessage": _said(row),
            "createdAt": row["created_at"],
            "lastUpdatedAt": row["finished_at"] or row["started_at"] or row["created_at"],
            "ttlMs": lasts,
            "pollIntervalMs": POLL_MS,
        }


def refuse_to_listen(ctx: Context) -> None:
    """Raise for a listener that asks for news of tasks and does not declare them. One that does is acknowledged without: it polls."""
    notifications = (ctx.params or {}).get("notifications")
    if isinstance(notifications, Mapping) and notifications.get("taskIds"):
        require(ctx)


def require(ctx: Context) -> None:
    """Raise MCPError -32021 for a request that does not declare the extension."""
    if not declared(ctx):
        needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "Missing required client capability", needed)


def _unknown() -> MCPError:
    return MCPError(INVALID_PARAMS, "Task not found", {"code": "run_not_found"})


def _said(row: Mapping[str, Any]) -> str:
    if row["finished_at"] is not None:
        return f"The run is {row['state']}."
    if row["cancel_requested"]:
        return "The run is being cancelled."
    if row["waits_for"]:
        return f"The run waits for {row['waits_for']}, which is paused."
    done, total = row["progress"]["done"], row["progress"]["total"]
    return "The run goes on." if done is None else f"{done} of {total if total is not None else 'an unknown number'} so far."
