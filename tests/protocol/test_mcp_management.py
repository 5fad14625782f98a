"""Each management tool does what its REST twin does: publishing, rolling back, searching, deciding, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.candidates.verifying import claim_candidate, finish_candidate
from app.core import owners
from app.mcp_server.management import MANAGEMENT
from tests.architecture.sources import ROOT
from tests.protocol.site import Site
from tests.protocol.test_mcp import connected
from tests.support.published import counter_spec, pass_candidate, passing, release_sender
from tests.support.worlds import sender_spec

pytestmark = pytest.mark.anyio
FILES = [{"path": "tool.py", "content": "x = 1\n"}, {"path": "test_tool.py", "content": "y = 1\n"}]
READ = {"decision": "approve", "reason": "read it"}
Ask = Callable[..., Awaitable[dict[str, Any]]]


@asynccontextmanager
async def asking(site: Site, *permissions: str) -> AsyncIterator[Ask]:
    """Asks a tool: its structured answer, or `{"refused": code}`."""
    async with connected(site, "auto", *permissions) as client:

        async def ask(tool: str, /, **args: Any) -> dict[str, Any]:
            answer = await client.call_tool(tool, args)
            if answer.is_error:
                return {"refused": (answer.meta or {})["toolmint/code"]}
            return dict(answer.structured_content or {})

        yield ask


def verified(site: Site, candidate: dict[str, Any]) -> None:
    """What a worker does, with everything found in order."""
    owner = owners.register(site.database, "worker", 15_000)
    assert claim_candidate(site.database, candidate["id"], owner)
    finish_candidate(site.database, candidate["id"], owner, passing(candidate["id"], candidate["digest"]))


async def test_a_candidate_is_published_and_rolled_back_over_mcp_as_over_rest(own_site: Site) -> None:
    await asyncio.to_thread(release_sender, own_site.catalog)
    spec = sender_spec(_title="Send notes, again")
    await asyncio.to_thread(pass_candidate, own_site.database, spec, approve=False)
    async with asking(own_site) as ask:
        sent = await ask("toolmint_submit_candidate", name="send_notes", files=FILES)
        publish = {"name": "send_notes", "candidate_id": sent["id"]}
        assert await ask("toolmint_publish", **publish) == {"refused": "candidate_not_passed"}
        verified(own_site, sent)
        report = await ask("toolmint_candidate_report", id=sent["id"], wait_s=10)
        assert report["publishable"] is True and report["candidate"]["state"] == "passed"
        assert await ask("toolmint_publish", **publish) == {"refused": "approval_required"}
        assert own_site.post(f"/candidates/{sent['id']}/approvals", READ, "candidates:approve").status_code == 201
        done = await ask("toolmint_publish", **publish)
        assert (done["tool"], done["version"], done["channel"]) == ("send_notes", 2, "stable")
        assert own_site.get("/tools/send_notes").json()["channels"]["stable"]["version"] == 2
        found = await ask("toolmint_search_tools", query="notes each", limit=500)
        assert found == own_site.get("/tools", query="notes each").json() and found["items"][0]["name"] == "send_notes"
        assert (await ask("toolmint_search_tools", query="no such words"))["items"] == []
        back = await ask("toolmint_rollback", name="send_notes", reason="it was better before")
        assert (back["version"], back["before"]) == (1, 2)
        assert own_site.get("/tools/send_notes").json()["channels"]["stable"]["version"] == 1
        assert (await ask("toolmint_rollback", name="send_notes", reason="after all", version=2))["version"] == 2


async def test_a_verification_is_cancelled_over_mcp_and_a_model_is_asked_for_where_there_is_one(own_site: Site) -> None:
    await asyncio.to_thread(pass_candidate, own_site.database, counter_spec())
    async with asking(own_site, "candidates:submit") as ask:
        sent = await ask("toolmint_submit_candidate", name="count_notes", files=FILES)
        assert (await ask("toolmint_cancel_candidate", id=sent["id"]))["state"] == "cancelled"
        assert await ask("toolmint_cancel_candidate", id=sent["id"]) == {"refused": "verification_over"}
        assert await ask("toolmint_generate", name="count_notes", brief="be quick") == {"refused": "model_not_configured"}


async def test_an_agent_decides_on_the_call_of_another_over_mcp(own_site: Site) -> None:
    await asyncio.to_thread(release_sender, own_site.catalog)
    args = {"group": "decided", "to": ["a@example.com"]}
    call = {"tool": "send_notes", "args": args}
    async with asking(own_site, "approval:tools:call") as agent, asking(own_site, "calls:approve") as boss:
        dry = await agent("toolmint_call", **call, dry_run=True)
        asked = await agent("toolmint_request_approval", run_id=dry["id"])
        assert [row["id"] for row in (await boss("toolmint_approvals", state="waiting", tool="send_notes"))["items"]] == [asked["id"]]
        decision = {"id": asked["id"], "decision": "reject", "reason": "not this week"}
        assert (await boss("toolmint_decide_approval", **decision))["state"] == "rejected"
        assert await agent("toolmint_call", **call, approval=asked["id"]) == {"refused": "approval_rejected"}
        assert await boss("toolmint_decide_approval", **decision) == {"refused": "approval_settled"}


def test_every_management_tool_is_called_by_some_test() -> None:
    texts = [path.read_text() for path in (ROOT / "tests" / "protocol").glob("test_*.py")]
    assert [name for name in MANAGEMENT if not any(f'("{name}"' in text for text in texts)] == []
