"""A client's side of MCP's tasks, over the official client, which has none of its own: `TaskClient` polls what a call answers with.

It refuses to be: a part of the product. The shapes are those of the extension's specification (SEP-2663), written down once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp_types import CallToolResult, Request, RequestParams, RequestParamsMeta, Result

from app.mcp_server.tasks import EXTENSION
from tests.support.waiting import until_async

AT_ONCE = cast("RequestParamsMeta", {"toolmint/waitS": 0})


class Task(Result):
    """A task as `tools/call` answers it; `TaskState` is the same from `tasks/get`, where the result may be inlined."""

    result_type: Literal["task"]
    task_id: str
    status: str
    status_message: str
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int


class TaskState(Task):
    """What `tasks/get` answers."""

    result_type: Literal["complete"]  # type: ignore[assignment]  # the discriminator is what differs
    result: CallToolResult | None = None


class TaskParams(RequestParams):
    task_id: str


class _TaskRequest(Request[TaskParams, Any]):
    name_param: ClassVar[str | None] = "taskId"
    method: Any
    params: TaskParams


async def ask(session: Any, verb: str, task_id: str) -> Any:
    """`tasks/get`, `tasks/update` or `tasks/cancel`; the first answers a TaskState."""
    shape = TaskState if verb == "get" else Result
    return await session.send_request(_TaskRequest(method=f"tasks/{verb}", params=TaskParams(task_id=task_id)), shape)


class TaskClient(ClientExtension):
    """Declares tasks and waits for each to end; those that were met are in `met`."""

    identifier = EXTENSION

    def __init__(self) -> None:
        self.met: list[Task] = []

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=Task, resolve=self._ended),)

    async def _ended(self, task: Task, ctx: ClaimContext) -> CallToolResult:
        async def over() -> Any:
            state = await ask(ctx.session, "get", task.task_id)
            return None if state.status == "working" else state

        self.met.append(task)
        state = await until_async(over, 60, f"the task {task.task_id} is over")
        return state.result or CallToolResult(content=[], is_error=True)


async def begin(client: Client, tool: str, args: dict[str, Any]) -> Any:
    """Call without waiting: what the call answers, be it a result or a task."""
    return await client.session.call_tool(tool, args, meta=AT_ONCE, allow_claimed=True)
