"""Dead letters and unknowns over REST and MCP: causes, redrives, verdicts, and what a caller sees afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.connectors.scripted import scripted
from app.core.feed import Feed
from app.runtime.models import BulkDecision
from app.runtime.process import Runtime
from app.runtime.queue import work_queue
from app.sandbox.sandbox import Sandbox
from tests.protocol.site import Site, serving
from tests.protocol.test_mcp import connected, names
from tests.support.published import release_sender
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
CALL, RESOLVE = ("tools:call",), ("effects:resolve",)
AT_ONCE = {"max_attempts": 1, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1}
SCRIPT = [
    {"effect": "send", "answer": "refuse_now", "when": {"subject": "dies"}},
    {"effect": "send", "answer": "lose_reply", "when": {"subject": "lost"}},
]
WHY = "the provider is back"
VERSION_2 = "Sends a note to each address, patiently."


@pytest.fixture(scope="module")
def world(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`send_notes` in two versions; what has the subject `dies` ends dead, what has `lost` unknown. Each test has a tool of its own."""
    with serving(tmp_path_factory.mktemp("site"), sqlite_template, SCRIPT) as site:
        yield site


def planted(world: Site, name: str, subject: str, *to: str) -> list[str]:
    """A published tool of this name with as many effects as `to`, dead or unknown; their ids."""
    release_sender(world.catalog, _name=name, retry=AT_ONCE)
    until(lambda: world.get(f"/tools/{name}").status_code == 200, what=f"{name} is known")
    ran = called(world, name, subject, *to)
    assert ran["state"] == "completed"
    state = "dead" if subject == "dies" else "unknown"
    return [row["effect_id"] for row in world.get("/effects", *CALL, state=state, tool=name).json()["items"]]


def called(world: Site, name: str, subject: str, *to: str) -> dict[str, Any]:
    answer = world.post(
        f"/tools/{name}/runs", {"args": {"group": name, "subject": subject, "to": list(to)}}, headers={"Idempotency-Key": name}
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def work(world: Site) -> None:
    """What a worker does with what is due; its world refuses nothing."""
    feed = Feed(world.database)
    runtime = Runtime(world.database, Sandbox(world.catalog.tools_dir), scripted(), world.catalog.load, feed, role="worker")
    await runtime.start()
    await work_queue(runtime)
    await runtime.stop()


def refused(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.json()["fix"], "it says what to do"
    return answer.status_code, answer.json()["code"]


def test_dead_letters_are_grouped_by_cause_and_a_group_is_redriven(world: Site) -> None:
    mine = planted(world, "by_cause", "dies", "a@example.com", "b@example.com")
    found = world.get("/effects/causes", *CALL, state="dead", tool="by_cause").json()
    (cause,) = found["items"]
    assert {key: cause[key] for key in ("tool", "effect", "error_code", "count")} == {
        "tool": "by_cause",
        "effect": "send",
        "error_code": "smtp_450",
        "count": 2,
    }
    assert cause["example"]["effect_id"] in mine and cause["oldest"] <= cause["newest"]
    wanted = {key: cause[key] for key in ("tool", "effect", "error_code")}
    made = world.post("/effects/redrives", {"filter": wanted, "mark": found["mark"], "reason": WHY}, *RESOLVE)
    assert made.status_code == 201
    body = made.json()
    assert (body["count"], body["moved"], body["state"], body["filter"]) == (2, 2, "completed", wanted)
    asyncio.run(work(world))
    read = world.get(f"/effects/redrives/{body['id']}", *RESOLVE).json()
    assert read["effects"] == {"done": 2} and read["reason"] == WHY
    assert body["id"] in [row["id"] for row in world.get("/effects/redrives", *RESOLVE).json()["items"]]
    assert world.get("/effects/causes", *CALL, state="dead", tool="by_cause").json()["items"] == []
    events = world.get("/audit", target=body["id"]).json()["items"]
    assert {event["action"] for event in events} == {"effects.redriven", "redrive.completed"}


def test_after_a_redrive_a_caller_gets_the_first_answer_with_the_present_counts(world: Site) -> None:
    first_ids = planted(world, "replayed", "dies", "a@example.com")
    first = called(world, "replayed", "dies", "a@example.com")
    assert (first["replayed"], first["result"]["failed"], first["effects"]["send"]["failed"]) == (True, 1, 1)
    assert world.post("/effects/redrives", {"ids": first_ids, "reason": WHY}, *RESOLVE).json()["ids"] == 1
    waiting = called(world, "replayed", "dies", "a@example.com")
    assert waiting["effects"]["send"] == {"done": 0, "skipped": 0, "retrying": 1, "failed": 0, "unknown": 0, "distinct": 1}
    asyncio.run(work(world))
    after = called(world, "replayed", "dies", "a@example.com")
    assert after["result"] == first["result"], "byte for byte what was answered first"
    assert (after["replayed"], after["effects"]["send"]["done"], after["effects"]["send"]["failed"]) == (True, 1, 0)

    async def over_mcp() -> dict[str, Any]:
        args = {"tool": "replayed", "args": {"group": "replayed", "subject": "dies", "to": ["a@example.com"]}, "key": "replayed"}
        async with connected(world, "auto") as client:
            return dict((await client.call_tool("toolmint_call", args)).meta or {})

    meta = asyncio.run(over_mcp())
    assert meta["toolmint/replayed"] is True and meta["toolmint/ledgerCounts"]["send"]["done"] == 1


def test_a_redrive_goes_on_with_a_fixed_version(world: Site) -> None:
    (one,) = planted(world, "fixed", "dies", "a@example.com")
    release_sender(world.catalog, _name="fixed", _description=VERSION_2)
    assert refused(world.post("/effects/redrives", {"ids": [one], "version": 9, "reason": WHY})) == (404, "version_not_found")
    body = {"filter": {"tool": "fixed"}, "version": 2, "reason": WHY}
    made = world.post("/effects/redrives", body, *RESOLVE).json()
    assert (made["version"], made["moved"]) == (2, 1)
    assert world.get(f"/effects/{one}").json()["version"] == 2
    asyncio.run(work(world))
    assert world.get(f"/effects/{one}").json()["state"] == "done"


def test_many_unknowns_take_one_verdict(world: Site) -> None:
    mine = planted(world, "doubtful", "lost", "a@example.com", "b@example.com", "c@example.com")
    one = world.post("/effects/resolutions", {"ids": mine[:1], "verdict": "abandon", "reason": "not worth it"}, *RESOLVE)
    assert (one.status_code, one.json()["moved"]) == (201, 1)
    body = {"filter": {"tool": "doubtful"}, "verdict": "confirm_done", "reason": "all in the provider's log"}
    rest = world.post("/effects/resolutions", body, *RESOLVE).json()
    assert (rest["count"], rest["moved"], rest["verdict"]) == (2, 2, "confirm_done")
    assert world.get(f"/effects/resolutions/{rest['id']}", *RESOLVE).json()["effects"] == {"done": 2}
    assert rest["id"] in [row["id"] for row in world.get("/effects/resolutions", *RESOLVE).json()["items"]]
    rows = world.get("/ledgers/notes/doubtful", *CALL).json()["items"]
    assert sorted(row["state"] for row in rows) == ["abandoned", "done", "done"]


def under_way(world: Site, kind: str, decision_id: str) -> str:
    """A decision as it stands between two of its parts."""
    with world.database.writing() as session:
        about: dict[str, Any] = {"tenant": "default", "kind": kind, "verdict": None if kind == "redrive" else "abandon"}
        about |= {"actor": "key_other", "actor_name": "other"}
        about |= {"reason": WHY, "tool": "no_such_tool", "mark": 0, "state": "running", "count": 1200, "moved": 500}
        session.add(BulkDecision(id=decision_id, created_at=1, updated_at=1, **about))
    return decision_id


@pytest.mark.parametrize("kind", ["redrive", "resolution"])
def test_a_decision_under_way_is_cancelled_and_says_how_far_it_came(world: Site, kind: str) -> None:
    path = f"/effects/{kind}s/{under_way(world, kind, f'{kind}_over_rest')}"
    assert world.get(path, *RESOLVE).json()["moved"] == 500
    assert refused(world.post(f"{path}/cancellations", None, *CALL)) == (403, "permission_denied")
    answer = world.post(f"{path}/cancellations", None, *RESOLVE)
    assert answer.status_code == 202
    assert {name: answer.json()[name] for name in ("state", "moved", "count")} == {"state": "cancelled", "moved": 500, "count": 1200}
    assert refused(world.post(f"{path}/cancellations", None, *RESOLVE)) == (409, "decision_over")
    assert world.get(path, *RESOLVE).json()["id"] in [
        row["id"] for row in world.get(f"/effects/{kind}s", *RESOLVE, state="cancelled").json()["items"]
    ]
    (event,) = world.get("/audit", target=answer.json()["id"]).json()["items"]
    assert event["action"] == f"{kind}.cancelled"
    other = {"redrive": "resolution", "resolution": "redrive"}[kind]
    assert refused(world.post(f"/effects/{other}s/{answer.json()['id']}/cancellations", None, *RESOLVE)) == (404, f"{other}_not_found")


def test_a_doubled_redrive_with_a_key_is_made_once(world: Site) -> None:
    mine = planted(world, "doubled", "dies", "a@example.com")
    body = {"ids": mine, "reason": WHY}
    first, second = (world.post("/effects/redrives", body, headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert first.json() == second.json() and second.headers["idempotency-replayed"] == "true"
    assert refused(world.post("/effects/redrives", body)) == (409, "effect_not_dead")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"reason": WHY}, "selection_invalid"),
        ({"ids": ["a"], "filter": {}, "reason": WHY}, "selection_invalid"),
        ({"ids": [], "reason": WHY}, "selection_invalid"),
        ({"filter": {}, "reason": ""}, "reason_invalid"),
        ({"filter": {"state": "dead"}, "reason": WHY}, "body_invalid"),
        ({"filter": {}, "version": 0, "reason": WHY}, "body_invalid"),
        ({"filter": {}, "mark": -1, "reason": WHY}, "body_invalid"),
        ({"filter": {"tool": "no_such_tool"}, "version": 1, "reason": WHY}, "version_not_found"),
        ({"ids": ["eff_none"], "reason": WHY}, "effect_not_found"),
    ],
)
def test_a_redrive_that_is_not_clear_is_refused_and_says_what_to_mend(world: Site, body: dict[str, Any], code: str) -> None:
    status, found = refused(world.post("/effects/redrives", body, *RESOLVE))
    assert found == code and status in (404, 422)


def test_who_may_not_resolve_effects_may_not_redrive_and_sees_no_redrives(world: Site) -> None:
    for path, more in (("redrives", {}), ("resolutions", {"verdict": "abandon"})):
        answer = world.post(f"/effects/{path}", {"filter": {}, "reason": WHY, **more}, *CALL)
        assert refused(answer) == (403, "permission_denied")
        assert world.get(f"/effects/{path}", *CALL).json()["items"] == []
        assert refused(world.get(f"/effects/{path}/none", *RESOLVE))[0] == 404
    assert refused(world.get("/effects/causes", state="done"))[1] == "state_unknown"


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_an_agent_looks_at_causes_redrives_and_follows_it_over_mcp(world: Site, era: str) -> None:
    tool = f"agent_{era}"
    mine = await asyncio.to_thread(planted, world, tool, "dies", "a@example.com", "b@example.com")
    async with connected(world, era, *RESOLVE) as client:
        assert {"toolmint_queues", "toolmint_redrive", "toolmint_resolve", "toolmint_redrives"} <= set(await names(client))

        async def ask(name: str, **args: Any) -> dict[str, Any]:
            answer = await client.call_tool(name, args)
            assert not answer.is_error, answer
            assert answer.structured_content is not None
            content: dict[str, Any] = answer.structured_content
            return content

        causes = await ask("toolmint_queues", state="dead", by_cause=True, tool=tool)
        assert causes["items"][0]["count"] == 2 and isinstance(causes["mark"], int)
        one = await ask("toolmint_redrive", ids=mine[:1], reason=WHY)
        rest = await ask("toolmint_redrive", filter={"tool": tool}, mark=causes["mark"], reason=WHY)
        assert (one["moved"], rest["moved"]) == (1, 1)
        await work(world)
        assert (await ask("toolmint_redrives", id=rest["id"]))["effects"] == {"done": 1}
        assert {row["id"] for row in (await ask("toolmint_redrives", kind="redrive"))["items"]} >= {one["id"], rest["id"]}
        assert (await ask("toolmint_queues", state="dead", tool=tool, effect="send"))["items"] == []
        wrong = await client.call_tool("toolmint_redrive", {"reason": WHY})
        assert wrong.is_error and dict(wrong.meta or {})["toolmint/code"] == "selection_invalid"


async def test_an_agent_cancels_a_redrive_over_mcp(world: Site) -> None:
    mine = under_way(world, "redrive", "redrive_over_mcp")
    async with connected(world, "auto", *RESOLVE) as client:
        answer = await client.call_tool("toolmint_cancel_redrive", {"id": mine})
        assert answer.structured_content is not None
        assert (answer.structured_content["state"], answer.structured_content["moved"]) == ("cancelled", 500)
        found = await client.call_tool("toolmint_redrives", {"state": "cancelled"})
        assert found.structured_content is not None and mine in [row["id"] for row in found.structured_content["items"]]
        again = await client.call_tool("toolmint_cancel_redrive", {"id": mine})
        assert again.is_error and dict(again.meta or {})["toolmint/code"] == "decision_over"
    async with connected(world, "auto", *CALL) as client:
        assert "toolmint_cancel_redrive" not in await names(client)


async def test_an_agent_settles_unknowns_over_mcp(world: Site) -> None:
    mine = await asyncio.to_thread(planted, world, "agent_doubt", "lost", "a@example.com", "b@example.com")
    async with connected(world, "auto", *RESOLVE) as client:
        one = await client.call_tool("toolmint_resolve", {"id": mine[0], "verdict": "abandon", "reason": "given up"})
        assert one.structured_content is not None and one.structured_content["state"] == "abandoned"
        more = {"filter": {"tool": "agent_doubt"}, "verdict": "confirm_done", "reason": "found in the log"}
        rest = await client.call_tool("toolmint_resolve", more)
        assert rest.structured_content is not None and rest.structured_content["moved"] == 1
        both = await client.call_tool("toolmint_resolve", {"id": mine[0], **more})
        assert both.is_error
    async with connected(world, "auto", *CALL) as client:
        assert not {"toolmint_redrive", "toolmint_resolve"} & set(await names(client))
