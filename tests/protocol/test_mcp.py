"""MCP by its own client, in both protocol eras, against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, RequestParamsMeta, TextContent

from tests.protocol.site import Site
from tests.support.published import counter_spec, proof_of, release
from tests.support.waiting import until_async
from tests.support.worlds import sender_spec

pytestmark = pytest.mark.anyio
CALL = ("tools:call",)
ERAS = pytest.mark.parametrize("era", ["auto", "legacy"])
SLOW = """
def run(args, ctx):
    counts = {"done": 0, "skipped": 0, "duplicate": 0, "retrying": 0, "failed": 0, "unknown": 0}
    for number, to in enumerate(args["to"], 1):
        for _ in range(60000):
            hash(to)
        counts[ctx.perform("send", {"to": to, "subject": "Hello", "text": "Hi"}).status] += 1
        ctx.progress(number, len(args["to"]))
    return counts
"""


@asynccontextmanager
async def connected(site: Site, era: str, *permissions: str, **options: Any) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {site.key(*(permissions or ('*',)))}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{site.url}/mcp", http_client=http), mode=era, **options) as client,
    ):
        yield client


def keyed(key: str) -> RequestParamsMeta:
    return cast("RequestParamsMeta", {"toolmint/idempotencyKey": key})


def text_of(answer: CallToolResult) -> str:
    part = answer.content[0]
    assert isinstance(part, TextContent)
    return part.text


async def names(client: Client) -> list[str]:
    found, cursor = [], None
    while True:
        page = await client.list_tools(cursor=cursor)
        found += [tool.name for tool in page.tools]
        cursor = page.next_cursor
        if cursor is None:
            return found


@ERAS
async def test_each_actor_is_listed_what_it_may_call_in_a_fixed_order(site: Site, era: str) -> None:
    async with connected(site, era, *CALL) as client:
        mine = await names(client)
        assert mine == sorted(mine) and {"count_notes", "send_notes", "toolmint_call", "toolmint_run_status"} <= set(mine)
        assert not {"toolmint_save_spec", "toolmint_publish", "toolmint_guide"} & set(mine)
        assert mine == await names(client)
    async with connected(site, era, "specs:write") as client:
        assert await names(client) == ["toolmint_guide", "toolmint_save_spec"]
    async with connected(site, era) as client:
        assert {"toolmint_save_spec", "toolmint_publish", "toolmint_rollback", "toolmint_import_records"} <= set(await names(client))


@ERAS
async def test_a_listed_tool_has_its_schemas_verbatim_and_derived_annotations(site: Site, era: str) -> None:
    async with connected(site, era, *CALL) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    spec = sender_spec()
    assert tools["send_notes"].input_schema == spec.inputs and tools["send_notes"].output_schema == spec.outputs
    hints = tools["send_notes"].annotations
    assert hints is not None and (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint) == (False, True, True)
    assert tools["count_notes"].annotations is not None and tools["count_notes"].annotations.read_only_hint is True


async def test_the_evidence_for_the_hints_is_in_meta_of_the_tool_and_of_its_results(site: Site) -> None:
    release(site.catalog, counter_spec("count_proved"), proof=proof_of(openWorldHint=True))
    shown = {"from": "runs", "runs": 7, "reads": {}, "effects": {}, "repeats": 2, "added": 0, "undone": []}
    async with connected(site, "auto", *CALL) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        answer = await client.call_tool("count_proved", {"group": "g", "to": ["a"]})
        plain = await client.call_tool("count_notes", {"group": "g", "to": ["a"]})
    listed, hints = dict(tools["count_proved"].meta or {}), tools["count_proved"].annotations
    assert hints is not None and (hints.read_only_hint, hints.idempotent_hint, hints.open_world_hint) == (True, True, True)
    version = site.get("/tools/count_proved/versions/1").json()
    assert listed == {
        "toolmint/version": 1,
        "toolmint/evidenceDigest": version["evidence_digest"],
        "toolmint/annotationsEvidence": shown,
    }
    assert {name: (answer.meta or {})[name] for name in listed} == listed
    assert (plain.meta or {})["toolmint/annotationsEvidence"] == {"from": "spec"}
    assert version["annotations"]["openWorldHint"] is True and version["annotations_evidence"] == shown
    assert site.get("/tools/count_proved").json()["annotations_evidence"] == shown


@ERAS
async def test_a_result_is_structured_exactly_as_its_outputs_with_the_run_in_meta(site: Site, era: str) -> None:
    args = {"group": f"mcp-{era}", "to": ["a@example.com", "b@example.com"]}
    async with connected(site, era, *CALL) as client:
        answer = await client.call_tool("send_notes", args)
        assert not answer.is_error
        assert answer.structured_content == {"done": 2, "skipped": 0, "duplicate": 0, "retrying": 0, "failed": 0, "unknown": 0}
        assert json.loads(text_of(answer)) == answer.structured_content  # it is text
        meta = dict(answer.meta or {})
        assert meta["toolmint/version"] == 1 and meta["toolmint/replayed"] is False and len(meta["toolmint/evidenceDigest"]) == 64
        assert meta["toolmint/ledgerCounts"]["send"]["done"] == 2
        run = site.get(f"/runs/{meta['toolmint/runId']}").json()
        assert run["state"] == "completed" and run["source"] == "mcp" and run["trace_id"] == meta["toolmint/traceId"]


@ERAS
async def test_the_same_key_in_meta_gets_the_first_answer_again(site: Site, era: str) -> None:
    key = keyed(f"key-{era}")
    async with connected(site, era, *CALL) as client:
        first = await client.call_tool("count_notes", {"group": "g", "to": ["a"]}, meta=key)
        again = await client.call_tool("count_notes", {"to": ["a"], "group": "g"}, meta=key)
        assert again.structured_content == first.structured_content
        assert (again.meta or {})["toolmint/replayed"] is True
        assert (again.meta or {})["toolmint/runId"] == (first.meta or {})["toolmint/runId"]
        other = await client.call_tool("count_notes", {"group": "h", "to": ["a"]}, meta=key)
        assert other.is_error and (other.meta or {})["toolmint/code"] == "idempotency_conflict"


@ERAS
async def test_wrong_arguments_are_an_error_that_names_the_place(site: Site, era: str) -> None:
    async with connected(site, era, *CALL) as client:
        answer = await client.call_tool("count_notes", {"group": "g", "to": [1]})
        assert answer.is_error and (answer.meta or {})["toolmint/code"] == "args_invalid"
        assert "$.to[0] must be string" in text_of(answer)  # it is text
        managed = await client.call_tool("toolmint_run_status", {"run": "x"})
        assert managed.is_error and (managed.meta or {})["toolmint/code"] == "args_invalid"


@ERAS
async def test_a_management_tool_refuses_text_that_cannot_be_stored(site: Site, era: str) -> None:
    async with connected(site, era) as client:
        for name, args in (("toolmint_run_status", {"id": "a\0"}), ("toolmint_search_tools", {"query": "\0"})):
            answer = await client.call_tool(name, args)
            assert answer.is_error and "holds a NUL character" in text_of(answer), answer
        keyed_so = await client.call_tool("count_notes", {"group": "g", "to": []}, meta=keyed("a\0b"))
        assert keyed_so.is_error and (keyed_so.meta or {})["toolmint/code"] == "idempotency_key_invalid"


@ERAS
async def test_unknown_and_forbidden_tools_look_the_same(site: Site, era: str) -> None:
    release(site.catalog, counter_spec(f"secret_{era}", _permissions=["notes:secret"]))
    async with connected(site, era, *CALL) as client:
        said = []
        for name in (f"secret_{era}", "no_such_tool", "toolmint_save_spec"):
            with pytest.raises(MCPError) as caught:
                await client.call_tool(name, {"group": "g", "to": []})
            said.append((caught.value.code, caught.value.message.replace(name, "NAME"), caught.value.data))
        assert len({json.dumps(one) for one in said}) == 1 and said[0][0] == -32602


@ERAS
async def test_a_business_failure_is_an_error_with_its_code(site: Site, era: str) -> None:
    source = 'from toolkit import ToolError\n\ndef run(args, ctx):\n    raise ToolError("group_not_found", "There is no such group.")\n'
    release(site.catalog, counter_spec(f"fails_{era}"), source)
    async with connected(site, era, *CALL) as client:
        answer = await call_once_listed(client, f"fails_{era}", {"group": "g", "to": []})
        assert answer.is_error and text_of(answer) == "group_not_found: There is no such group."
        assert (answer.meta or {})["toolmint/code"] == "group_not_found" and (answer.meta or {})["toolmint/runId"]


async def call_once_listed(client: Client, name: str, args: dict[str, Any]) -> Any:
    async def listed() -> bool:
        return name in await names(client)

    await until_async(listed, what=f"{name} is listed")
    return await client.call_tool(name, args)


@ERAS
async def test_progress_reaches_the_caller_and_a_dropped_call_cancels_the_run(own_site: Site, era: str) -> None:
    release(own_site.catalog, sender_spec(), SLOW)
    told: list[tuple[float, float | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total))

    async with connected(own_site, era, *CALL) as client:
        await until_async(lambda: names_of(client, "send_notes"))
        many = [f"u{number}@example.com" for number in range(3000)]
        call = asyncio.create_task(client.call_tool("send_notes", {"group": "g", "to": many}, progress_callback=tell))
        await until_async(lambda: told, what="progress")
        run = own_site.get("/runs", state="executing").json()["items"][0]
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await until_async(lambda: own_site.get(f"/runs/{run['id']}").json()["state"] == "cancelled", what="the run is cancelled")
        assert told[-1][1] == 3000 and 0 < len(own_site.parts.connectors.performed) < 3000


async def names_of(client: Client, name: str) -> bool:
    return name in await names(client)


@ERAS
async def test_a_run_that_goes_on_is_told_as_one_and_can_be_followed(site: Site, era: str) -> None:
    async with connected(site, era, *CALL) as client:
        args = {"group": f"later-{era}", "to": ["a@example.com"]}
        begun = await client.call_tool("toolmint_call", {"tool": "send_notes", "args": args, "key": f"later-{era}", "wait_s": 0})
        body = begun.structured_content
        assert not begun.is_error and body["state"] == "available" and body["result"] is None
        status = await client.call_tool("toolmint_run_status", {"id": body["id"]})
        assert status.structured_content["state"] == "available"
        again = await client.call_tool("toolmint_call", {"tool": "send_notes", "args": args, "key": f"later-{era}", "wait_s": 0.1})
        assert again.structured_content["id"] == body["id"]
        cancelled = await client.call_tool("toolmint_cancel_run", {"id": body["id"]})
        assert cancelled.structured_content["state"] == "cancelled"
        dry = await client.call_tool("toolmint_call", {"tool": "send_notes", "args": args, "dry_run": True})
        assert [step["would"] for step in dry.structured_content["plan"]] == ["perform"]
        replay = await client.call_tool("toolmint_replay_run", {"id": dry.structured_content["id"], "wait_s": 0})
        assert (replay.structured_content["run_id"], replay.structured_content["state"]) == (dry.structured_content["id"], "waiting")


async def test_listeners_of_both_eras_hear_of_a_published_tool(own_site: Site) -> None:
    heard: list[str] = []

    async def message(item: Any) -> None:
        heard.append(type(item).__name__)

    async with connected(own_site, "legacy", message_handler=message) as legacy, connected(own_site, "auto") as modern:
        assert "toolmint_call" in await names(legacy)
        async with modern.listen(tools_list_changed=True) as changes:
            release(own_site.catalog)
            await asyncio.wait_for(anext(aiter(changes)), 10)
            await until_async(lambda: "ToolListChangedNotification" in heard, what="the legacy client hears")
        assert "count_notes" in await names(legacy) and "count_notes" in await names(modern)


async def test_long_lists_come_in_pages_of_fifty(own_site: Site) -> None:
    for number in range(60):
        release(own_site.catalog, counter_spec(f"tool_{number:02}"))
    async with connected(own_site, "auto", *CALL) as client:
        await until_async(lambda: names_of(client, "tool_59"))
        first = await client.list_tools()
        assert len(first.tools) == 50 and first.next_cursor
        assert len(await names(client)) == len(set(await names(client))) > 60


@ERAS
async def test_an_agent_can_author_a_tool_over_mcp_alone(own_site: Site, era: str) -> None:
    async with connected(own_site, era, "specs:write", "candidates:submit", "records:write") as client:
        guide = await client.call_tool("toolmint_guide", {})
        assert "perform_each" in text_of(guide) and "repair_customer_records" in text_of(guide)
        spec = counter_spec().body() | {"examples": [{"name": "one", "args": {"group": "g", "to": ["a"]}, "result": {"done": 1}}]}
        refused = await client.call_tool("toolmint_save_spec", {**spec, "effects": [{"id": "x"}]})
        assert refused.is_error and (refused.meta or {})["toolmint/code"] == "spec_invalid" and (refused.meta or {})["toolmint/errors"]
        saved = await client.call_tool("toolmint_save_spec", spec)
        assert saved.structured_content["revision"] == 1, saved.content
        files = [{"path": "tool.py", "content": "x = 1\n"}, {"path": "test_tool.py", "content": "y = 1\n"}]
        key = keyed("once")
        sent = await client.call_tool("toolmint_submit_candidate", {"name": "count_notes", "files": files}, meta=key)
        again = await client.call_tool("toolmint_submit_candidate", {"name": "count_notes", "files": files}, meta=key)
        assert sent.structured_content["id"] == again.structured_content["id"] and sent.structured_content["state"] == "queued"
        full = await client.call_tool("toolmint_candidate_report", {"id": sent.structured_content["id"], "full": True})
        assert "left_out" not in full.structured_content
        report = await client.call_tool("toolmint_candidate_report", {"id": sent.structured_content["id"]})
        assert "full: true" in report.structured_content["left_out"]
        assert report.structured_content["publishable"] is False and report.structured_content["candidate"]["state"] == "queued"
        records = [{"key": "a", "body": {"email": "a@example.com"}}, {"key": "", "body": {}}]
        loaded = await client.call_tool("toolmint_import_records", {"collection": "customers", "records": records})
        assert (loaded.structured_content["imported"], loaded.structured_content["failed"]) == (1, 1)
        with pytest.raises(MCPError):
            await client.call_tool("toolmint_publish", {"name": "count_notes", "candidate_id": sent.structured_content["id"]})


async def test_without_a_valid_key_nothing_is_answered(site: Site) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic abc"}):
        answer = site.client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
    with_slash = site.client.post("/mcp/", json={}, headers={})
    assert with_slash.status_code == 401
    foreign = site.client.post("/mcp", json={}, headers={"Host": "evil.example"})
    assert foreign.status_code == 421


async def test_one_actors_session_is_of_no_use_to_another(site: Site) -> None:
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    accept = {"Accept": "application/json, text/event-stream"}
    first = site.client.post("/mcp", json=body, headers={**accept, "Authorization": f"Bearer {site.key(*CALL)}"})
    session = {"Mcp-Session-Id": first.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
    stolen = {**accept, **session, "Authorization": f"Bearer {site.key('specs:write')}"}
    answer = site.client.post("/mcp", json={"jsonrpc": "2.0", "id": 2, "method": "tools/list"}, headers=stolen)
    assert answer.status_code == 404
