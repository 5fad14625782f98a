"""Two protocols and two web processes at once: one answer, each effect once; and approvals and long runs over both doors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import RequestParamsMeta
from sqlmodel import col, select

from app.registry.reading import list_tools
from app.runtime.models import Effect, EffectEvent
from tests.protocol.site import Site, serving
from tests.support.published import OPERATOR, release
from tests.support.waiting import until, until_async
from tests.support.worlds import SENDER, sender_spec

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[2]
CALL, ASK, APPROVE = ("tools:call",), ("approval:tools:call",), ("calls:approve",)
SLOW = SENDER.replace(
    "        counts[",
    """        for _ in range(60000):
            hash("x")
        ctx.progress(sum(counts.values()) + 1, len(args["to"]))
        counts[""",
)


@pytest.fixture(scope="module")
def pair(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str]]:
    """A site with a slow tool, and the address of another web process of it."""
    home = tmp_path_factory.mktemp("pair")
    command = [sys.executable, "-m", "tests.protocol.second", str(home)]
    with serving(home, sqlite_template) as site:
        published(site, SLOW)
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdin is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            until(lambda: _answers(url), 30, "the second process answers")
            yield site, url
            process.stdin.close()
            process.wait(15)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/api/v1/runs", timeout=5).status_code == 401
    except httpx2.HTTPError:
        return False


def published(site: Site, source: str) -> None:
    release(site.catalog, sender_spec(), source)
    until(lambda: list_tools(OPERATOR, site.parts.catalog)["items"])


@asynccontextmanager
async def mcp(site: Site, url: str, *permissions: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {site.key(*permissions)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        yield client


async def over_rest(site: Site, url: str, args: dict[str, Any], key: str | None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {site.key(*CALL)}"} | ({"Idempotency-Key": key} if key else {})
    async with httpx2.AsyncClient(timeout=60) as http:
        answer = await http.post(f"{url}/api/v1/tools/send_notes/runs", json={"args": args, "wait_s": 40}, headers=headers)
    body: dict[str, Any] = answer.json()
    assert answer.status_code == 200, body
    return {"id": body["id"], "replayed": body["replayed"], "result": json.dumps(body["result"])}


async def over_mcp(site: Site, url: str, args: dict[str, Any], key: str | None) -> dict[str, Any]:
    async with mcp(site, url, *CALL) as client:
        meta = cast("RequestParamsMeta", {"toolmint/idempotencyKey": key} if key else {})
        answer = await client.call_tool("send_notes", args, meta=meta)
    assert not answer.is_error, answer
    found = answer.meta or {}
    return {"id": found["toolmint/runId"], "replayed": found["toolmint/replayed"], "result": json.dumps(answer.structured_content)}


def begun(site: Site, group: str) -> Counter[str]:
    """How often each effect of a group was begun, by the chained events of the ledger."""
    query = select(EffectEvent.effect_id).join(Effect, col(Effect.id) == col(EffectEvent.effect_id))
    with site.database.reading() as session:
        return Counter(session.exec(query.where(EffectEvent.after == "performing", Effect.ledger_group == group)))


async def test_identical_calls_over_two_protocols_to_two_processes_are_one_run_with_one_answer(pair: tuple[Site, str]) -> None:
    site, second = pair
    args = {"group": "keyed", "to": [f"u{number}@example.com" for number in range(60)]}
    asked = [door(site, url, args, "k") for url in (site.url, second) for door in (over_rest, over_mcp)]
    answers = await asyncio.gather(*asked)
    assert len({answer["id"] for answer in answers}) == len({answer["result"] for answer in answers}) == 1
    assert sorted(answer["replayed"] for answer in answers) == [False, True, True, True]
    assert json.loads(answers[0]["result"])["done"] == 60
    assert len(begun(site, "keyed")) == 60 and set(begun(site, "keyed").values()) == {1}


async def test_the_same_calls_without_a_key_are_runs_of_their_own_that_repeat_no_effect(pair: tuple[Site, str]) -> None:
    site, second = pair
    args = {"group": "keyless", "to": [f"u{number}@example.com" for number in range(60)]}
    answers = await asyncio.gather(over_rest(site, site.url, args, None), over_mcp(site, second, args, None))
    assert len({answer["id"] for answer in answers}) == 2
    results = [json.loads(answer["result"]) for answer in answers]
    assert sum(result["done"] for result in results) == 60
    assert all(sum(result.values()) == 60 and not result["failed"] for result in results)
    assert len(begun(site, "keyless")) == 60 and set(begun(site, "keyless").values()) == {1}


async def test_an_approval_asked_over_mcp_and_given_over_rest_lets_one_call_happen(site: Site) -> None:
    args = {"group": "approved", "to": ["a@example.com", "b@example.com"]}
    async with mcp(site, site.url, *ASK) as agent:
        refused = await agent.call_tool("send_notes", args)
        assert refused.is_error and (refused.meta or {})["toolmint/code"] == "approval_required"
        dry = (await agent.call_tool("toolmint_call", {"tool": "send_notes", "args": args, "dry_run": True})).structured_content
        assert dry["needs_approval"] is True and dry["plan_summary"]["total"] == 2
        asked = (await agent.call_tool("toolmint_request_approval", {"run_id": dry["id"], "note": "for spring"})).structured_content
        assert asked["state"] == "waiting" and asked["plan_digest"] == dry["plan_summary"]["digest"]
        waiting = asyncio.create_task(agent.call_tool("toolmint_approvals", {"id": asked["id"], "wait_s": 30}))
        seen = site.get("/approvals", *APPROVE, state="waiting").json()["items"]
        assert [one["id"] for one in seen] == [asked["id"]]
        shown = site.get(f"/approvals/{asked['id']}", *APPROVE).json()
        assert shown["args"] == args and len(shown["plan"]) == 2
        early = site.post(f"/approvals/{asked['id']}/decisions", {"decision": "approve", "reason": "mine"}, *ASK)
        assert (early.status_code, early.json()["code"]) == (403, "permission_denied")
        yes = site.post(f"/approvals/{asked['id']}/decisions", {"decision": "approve", "reason": "the list is right"}, *APPROVE)
        assert yes.status_code == 201 and yes.json()["state"] == "approved"
        assert (await waiting).structured_content["state"] == "approved"
        approved = cast("RequestParamsMeta", {"toolmint/approval": asked["id"]})
        done = await agent.call_tool("send_notes", args, meta=approved)
        assert not done.is_error and done.structured_content["done"] == 2
        assert (done.meta or {})["toolmint/approval"] == asked["id"]
        again = await agent.call_tool("toolmint_call", {"tool": "send_notes", "args": args, "approval": asked["id"]})
        assert again.is_error and (again.meta or {})["toolmint/code"] == "approval_used"
        assert (again.meta or {})["toolmint/runId"] == (done.meta or {})["toolmint/runId"]


async def test_a_long_plan_is_short_over_mcp_and_longer_over_rest(site: Site) -> None:
    args = {"group": "long", "to": [f"u{number}@example.com" for number in range(60)]}
    async with mcp(site, site.url, *CALL) as client:
        dry = (await client.call_tool("toolmint_call", {"tool": "send_notes", "args": args, "dry_run": True})).structured_content
        assert (len(dry["plan"]), dry["plan_summary"]["total"]) == (20, 60) and dry["left_out"].startswith("40 more effects")
        assert "needs_approval" in dry and dry["needs_approval"] is False
        status = (await client.call_tool("toolmint_run_status", {"id": dry["id"]})).structured_content
        assert len(status["plan"]) == 20
    assert len(site.get(f"/runs/{dry['id']}").json()["plan"]) == 60


def test_an_approval_goes_over_rest_alone_with_a_stable_code_for_each_refusal(site: Site) -> None:
    run = "/tools/send_notes/runs"
    args = {"group": "by-rest", "to": ["a@example.com"]}
    assert site.post(run, {"args": args}, *ASK).json()["code"] == "approval_required"
    dry = site.post(run, {"args": args, "dry_run": True}, *ASK).json()
    asked = site.post("/approvals", {"run_id": dry["id"]}, *ASK)
    approval = asked.json()["id"]
    assert asked.status_code == 201
    own = site.post(f"/approvals/{approval}/decisions", {"decision": "approve", "reason": "mine"}, *ASK, *APPROVE)
    assert own.status_code == 201, "another key, though it could have asked itself"
    other = site.post(run, {"args": {**args, "group": "else"}, "approval": approval}, *ASK).json()
    assert other["code"] == "approval_mismatch" and [error["path"] for error in other["errors"]] == ["$.args"]
    site.post(run, {"args": args}, *CALL)
    stale = site.post(run, {"args": args, "approval": approval}, *ASK)
    assert (stale.status_code, stale.json()["code"]) == (409, "approval_stale")
    assert site.post("/approvals", {"run_id": "run_none"}, *ASK).status_code == 404
    assert (
        site.post(f"/approvals/{approval}/decisions", {"decision": "maybe", "reason": "x"}, *APPROVE).json()["code"] == "approval_invalid"
    )


async def test_a_run_is_followed_as_events_with_its_progress_until_it_is_cancelled(own_site: Site) -> None:
    published(own_site, SLOW)
    args = {"group": "g", "to": [f"u{number}@example.com" for number in range(3000)]}
    headers = {"Authorization": f"Bearer {own_site.key(*CALL)}"}
    async with httpx2.AsyncClient(base_url=f"{own_site.url}/api/v1", headers=headers, timeout=60) as http:
        call = asyncio.create_task(http.post("/tools/send_notes/runs", json={"args": args, "wait_s": 60}))
        run = (await until_async(lambda: own_site.get("/runs", state="executing").json()["items"]))[0]
        seen: list[dict[str, Any]] = []
        async with http.stream("GET", f"/runs/{run['id']}/events") as events:
            async for line in events.aiter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line.removeprefix("data: ")))
                    if len([one for one in seen if one["progress"]["done"]]) == 2 and not seen[-1]["cancel_requested"]:
                        await http.post(f"/runs/{run['id']}/cancellations")
        told = [one["progress"]["done"] for one in seen if one["progress"]["done"]]
        assert told == sorted(told) and len(set(told)) >= 2 and seen[-1]["progress"]["total"] == 3000
        body = (await call).json()
    assert (body["state"], seen[-1]["state"]) == ("cancelled", "cancelled")
    assert 0 < body["effects"]["send"]["done"] == len(own_site.parts.connectors.performed) < 3000
