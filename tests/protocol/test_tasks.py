"""Runs as MCP tasks, by the official client with the extension declared, and without."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolResult,
    SubscriptionFilter,
    SubscriptionsListenRequest,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from app.mcp_server.tasks import EXTENSION
from tests.protocol.site import Site
from tests.protocol.test_mcp import CALL, connected, keyed, text_of
from tests.support.mcp_tasks import Task, TaskClient, ask, begin
from tests.support.published import counter_spec, release
from tests.support.waiting import until_async

pytestmark = pytest.mark.anyio
ONE = {"group": "tasks", "to": ["a@example.com"]}


def with_tasks(site: Site, *permissions: str) -> Any:
    return connected(site, "auto", *(permissions or CALL), extensions=[TaskClient()])


async def refused(session: Any, verb: str, task_id: str) -> tuple[int, Any]:
    with pytest.raises(MCPError) as caught:
        await ask(session, verb, task_id)
    return caught.value.code, caught.value.data


async def test_a_call_that_outlives_its_budget_answers_who_knows_tasks_with_one_and_others_with_an_error(site: Site) -> None:
    async with with_tasks(site) as client:
        task = await begin(client, "send_notes", ONE)
        assert EXTENSION in (client.server_capabilities.extensions or {})
    assert isinstance(task, Task) and (task.status, task.ttl_ms) == ("working", None)
    run = site.get(f"/runs/{task.task_id}").json()
    assert (run["state"], run["source"], run["created_at"]) == ("available", "mcp", task.created_at)
    for era in ("auto", "legacy"):
        async with connected(site, era, *CALL) as client:
            answer = await begin(client, "send_notes", ONE)
            assert isinstance(answer, CallToolResult) and answer.is_error and (answer.meta or {})["toolmint/code"] == "run_in_progress"
            assert (answer.meta or {})["toolmint/runId"] != task.task_id


async def test_a_task_is_cancelled_once_and_stays_so(site: Site) -> None:
    async with with_tasks(site) as client:
        task = await begin(client, "send_notes", ONE)
        assert (await ask(client.session, "get", task.task_id)).status == "working"
        await ask(client.session, "cancel", task.task_id)
        state = await ask(client.session, "get", task.task_id)
        assert (state.status, state.status_message, state.result) == ("cancelled", "The run is cancelled.", None)
        assert state.ttl_ms >= 90 * 24 * 3600 * 1000 and state.last_updated_at > state.created_at
        await ask(client.session, "cancel", task.task_id)
        await ask(client.session, "update", task.task_id)
    assert site.get(f"/runs/{task.task_id}").json()["state"] == "cancelled"


async def test_a_task_of_another_is_read_and_not_cancelled(site: Site) -> None:
    async with with_tasks(site) as client:
        task = await begin(client, "send_notes", {**ONE, "group": "theirs"})
    async with with_tasks(site, "tools:call", "specs:write") as other:
        assert (await ask(other.session, "get", task.task_id)).status == "working"
        assert await refused(other.session, "cancel", task.task_id) == (-32602, {"code": "run_of_another"})
    assert site.get(f"/runs/{task.task_id}").json()["cancel_requested"] is False


async def test_a_task_that_is_over_has_the_result_that_the_call_had(site: Site) -> None:
    async with with_tasks(site) as client:
        answer = await client.call_tool("send_notes", {"group": "whole", "to": ["a@example.com"]})
        state = await ask(client.session, "get", (answer.meta or {})["toolmint/runId"])
    assert state.status == "completed" and state.result is not None
    assert (state.result.structured_content, state.result.content) == (answer.structured_content, answer.content)
    assert {**(state.result.meta or {})} == {name: value for name, value in (answer.meta or {}).items() if name.startswith("toolmint/")}


async def test_a_run_that_failed_is_a_task_that_completed_with_an_error(site: Site) -> None:
    source = 'from toolkit import ToolError\n\ndef run(args, ctx):\n    raise ToolError("group_not_found", "There is no such group.")\n'
    release(site.catalog, counter_spec("fails_as_task"), source)
    async with with_tasks(site) as client:

        async def listed() -> bool:
            return "fails_as_task" in [tool.name for tool in (await client.list_tools()).tools]

        await until_async(listed, what="it is listed")
        answer = await client.call_tool("fails_as_task", {"group": "g", "to": []})
        state = await ask(client.session, "get", (answer.meta or {})["toolmint/runId"])
    assert state.status == "completed" and state.result is not None and state.result.is_error
    assert text_of(state.result) == "group_not_found: There is no such group."


async def test_who_may_not_see_a_run_is_told_what_one_is_told_who_made_it_up(site: Site) -> None:
    async with with_tasks(site) as client:
        task = await begin(client, "send_notes", {**ONE, "group": "mine"})
    async with with_tasks(site, "specs:write") as stranger:
        for verb in ("get", "update", "cancel"):
            said = [await refused(stranger.session, verb, name) for name in (task.task_id, "run_nothing", "a\0b", "")]
            assert said == [(-32602, {"code": "run_not_found"})] * 4
    assert site.get(f"/runs/{task.task_id}").json()["state"] == "available"


async def test_a_request_that_does_not_declare_tasks_is_told_that_it_must(site: Site) -> None:
    needed: tuple[int, Any] = (-32021, {"requiredCapabilities": {"extensions": {EXTENSION: {}}}})
    async with with_tasks(site) as client:
        task = await begin(client, "send_notes", {**ONE, "group": "declared"})
    for era in ("auto", "legacy"):
        async with connected(site, era, *CALL) as client:
            assert [await refused(client.session, verb, task.task_id) for verb in ("get", "update", "cancel")] == [needed] * 3
    wanted = SubscriptionFilter.model_validate({"taskIds": [task.task_id]})
    request = SubscriptionsListenRequest(params=SubscriptionsListenRequestParams(notifications=wanted))
    async with connected(site, "auto", *CALL) as client:
        with pytest.raises(MCPError) as caught:
            await client.session.send_request(request, SubscriptionsListenResult)
    assert (caught.value.code, caught.value.data) == needed


@pytest.mark.parametrize("wait", [-1, 301, "5", True, None, [1]])
async def test_how_long_a_call_waits_is_a_number_of_seconds(site: Site, wait: Any) -> None:
    meta: Any = {"toolmint/waitS": wait, **keyed(f"waits {wait}")}
    async with connected(site, "auto", *CALL) as client:
        answer = await client.call_tool("count_notes", {"group": "waits", "to": []}, meta=meta)
        assert answer.is_error is (wait is not None)
        assert wait is None or (answer.meta or {})["toolmint/code"] == "wait_invalid"
