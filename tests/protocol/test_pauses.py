"""Pauses over REST and MCP: the same shapes, refusals that a client can act on, and how connectors are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.protocol.site import Site
from tests.protocol.test_mcp import connected, text_of
from tests.protocol.test_rest import problem_of
from tests.support.published import COUNTER_ARGS
from tests.support.waiting import until

CALL = ("tools:call",)
REASON = {"reason": "the list is wrong"}
BRIEFLY = {"args": COUNTER_ARGS, "wait_s": 0.1}  # a run that is begun just before a pause waits for its end
PLACES = ["/tools/count_notes/pause", "/connectors/email.send/pause", "/pause"]


@pytest.fixture(autouse=True)
def _resumed(site: Site) -> Iterator[None]:
    """The site is shared with other tests: nothing stays paused."""
    yield
    for path in PLACES:
        site.ask("DELETE", path)
    until(lambda: site.post("/tools/count_notes/runs", BRIEFLY, *CALL).status_code != 503)


@pytest.mark.parametrize(
    ("path", "scope", "name"), list(zip(PLACES, ["tool", "connector", "everything"], ["count_notes", "email.send", None], strict=True))
)
def test_a_pause_is_set_listed_and_ended(site: Site, path: str, scope: str, name: str | None) -> None:
    made = site.post(path, REASON)
    assert made.status_code == 201 and set(made.json()) == {"scope", "name", "reason", "actor", "since"}
    assert (made.json()["scope"], made.json()["name"], made.json()["reason"]) == (scope, name, REASON["reason"])
    assert made.json() in site.get("/pauses", *CALL).json()["items"]
    ended = site.ask("DELETE", path)
    assert ended.status_code == 200 and ended.json() == made.json()
    problem_of(site.ask("DELETE", path), 404, "not_paused")
    assert site.get("/pauses").json() == {"items": [], "next_cursor": None}


def test_a_paused_call_answers_503_with_when_to_come_again(site: Site) -> None:
    key = {"Idempotency-Key": "before-the-pause"}
    first = site.post("/tools/count_notes/runs", {"args": COUNTER_ARGS}, *CALL, headers=key).json()
    site.post(PLACES[0], REASON)
    until(lambda: site.post("/tools/count_notes/runs", BRIEFLY, *CALL).status_code == 503)
    refused = site.post("/tools/count_notes/runs", {"args": COUNTER_ARGS}, *CALL)
    body = problem_of(refused, 503, "paused")
    assert body["retryable"] and REASON["reason"] in body["detail"] and body["fix"] and int(refused.headers["retry-after"]) >= 1
    again = site.post("/tools/count_notes/runs", {"args": COUNTER_ARGS}, *CALL, headers=key).json()
    assert again["replayed"] and again["id"] == first["id"]


def test_what_cannot_be_paused_is_refused_with_what_to_do(site: Site) -> None:
    problem_of(site.post("/tools/no_such/pause", REASON), 404, "tool_not_found")
    problem_of(site.post("/connectors/no.such/pause", REASON), 404, "connector_not_found")
    problem_of(site.post("/pause", {"reason": "x"}), 422, "reason_invalid")
    problem_of(site.post("/pause", {}), 422, "body_invalid")
    for method, path in (("POST", "/pause"), ("DELETE", "/pause"), ("POST", PLACES[1])):
        problem_of(site.ask(method, path, *CALL, json=REASON if method == "POST" else None), 403, "permission_denied")


def test_connectors_are_listed_with_their_pauses_and_circuits(site: Site) -> None:
    site.post(PLACES[1], REASON)
    rows = {row["name"]: row for row in site.get("/connectors", *CALL).json()["items"]}
    assert rows["email.send"]["paused"]["reason"] == REASON["reason"] and rows["records.get"]["paused"] is None
    assert {"name", "role", "local", "paused", "circuit", "circuits"} == set(rows["email.send"])
    assert (rows["email.send"]["role"], rows["records.get"]["role"], rows["email.send"]["circuit"]) == ("effect", "read", "closed")
    first = site.get("/connectors", limit=1).json()
    second = site.get("/connectors", limit=1, cursor=first["next_cursor"]).json()
    assert [row["name"] for row in (*first["items"], *second["items"])] == sorted(rows)[:2]


@pytest.mark.anyio
@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_an_agent_that_may_pauses_resumes_and_is_told_of_a_pause(site: Site, era: str) -> None:
    async with connected(site, era) as client:
        made = await client.call_tool("toolmint_pause", {"scope": "tool", "name": "count_notes", **REASON})
        assert made.structured_content is not None and made.structured_content["reason"] == REASON["reason"]
        until(lambda: site.post("/tools/count_notes/runs", BRIEFLY, *CALL).status_code == 503)
        refused = await client.call_tool("count_notes", COUNTER_ARGS)
        assert refused.is_error and text_of(refused).startswith("paused: ") and REASON["reason"] in text_of(refused)
        assert refused.meta is not None and refused.meta["toolmint/code"] == "paused" and refused.meta["toolmint/retryable"] is True
        seen = await client.call_tool("toolmint_pauses", {})
        assert seen.structured_content is not None and seen.structured_content["pauses"] == [made.structured_content]
        ended = await client.call_tool("toolmint_resume", {"scope": "tool", "name": "count_notes"})
        assert ended.structured_content == made.structured_content
        nothing = await client.call_tool("toolmint_resume", {"scope": "everything"})
        assert nothing.is_error and text_of(nothing).startswith("not_paused: ")
