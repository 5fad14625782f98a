"""A ledger group is read whatever it is called, over every door."""

from __future__ import annotations

import csv
import io
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.protocol.site import Site
from tests.protocol.test_mcp import connected

pytestmark = pytest.mark.anyio


def groups_of(answer: httpx2.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("text/csv"):
        return {row["group"] for row in csv.DictReader(io.StringIO(answer.text))}
    return {row["group"] for row in answer.json()["items"]}


@pytest.mark.parametrize("group", ["week", "week.csv", "week.csv.csv", "a/b.csv", "50% off.csv", ".csv"])
def test_a_group_is_read_as_json_and_as_csv_whatever_its_name_ends_in(site: Site, group: str) -> None:
    assert site.post("/tools/send_notes/runs", {"args": {"group": group, "to": ["a@example.com"]}}).json()["result"]["done"] == 1
    path = f"/ledgers/notes/{quote(group, safe='')}"
    as_json, as_csv, after = site.get(path, format="json"), site.get(path, format="csv"), site.get(f"{path}.csv")
    assert [answer.headers["content-type"].split(";")[0] for answer in (as_json, as_csv, after)] == [
        "application/json",
        "text/csv",
        "text/csv",
    ]
    assert groups_of(as_json) == groups_of(as_csv) == groups_of(after) == {group}


def test_an_unknown_format_is_refused(site: Site) -> None:
    for path in ("/ledgers/notes/week", "/ledgers/notes/week.csv"):
        answer = site.get(path, format="xml")
        assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


async def test_an_agent_finds_a_ledger_reads_it_in_pages_and_looks_at_one_effect_as_rest_does(site: Site) -> None:
    group, to = "by an agent", ["a@example.com", "b@example.com"]
    assert site.post("/tools/send_notes/runs", {"args": {"group": group, "to": to}}).json()["result"]["done"] == 2
    over_rest = site.get(f"/ledgers/notes/{quote(group)}").json()["items"]
    async with connected(site, "auto", "tools:call") as client:

        async def ask(tool: str, **args: Any) -> dict[str, Any]:
            answer = await client.call_tool(tool, args)
            assert not answer.is_error and answer.structured_content is not None, answer
            return dict(answer.structured_content)

        async def code(tool: str, **args: Any) -> str:
            answer = await client.call_tool(tool, args)
            assert answer.is_error
            return str((answer.meta or {})["toolmint/code"])

        assert ("notes", group) in [(row["ledger"], row["group"]) for row in (await ask("toolmint_ledger", limit=500))["items"]]
        first = await ask("toolmint_ledger", name="notes", group=group, limit=1)
        rest = await ask("toolmint_ledger", name="notes", group=group, limit=1, cursor=first["next_cursor"])
        assert [*first["items"], *rest["items"]] == over_rest and rest["next_cursor"] is None
        assert (await ask("toolmint_ledger", name="notes", group=group, subject=to[1]))["items"] == over_rest[1:]
        assert (await ask("toolmint_ledger", name="notes", group=group, state="dead"))["items"] == []
        one = over_rest[0]["effect_id"]
        assert await ask("toolmint_queues", id=one) == site.get(f"/effects/{one}").json()
        assert await code("toolmint_queues", id="none") == "effect_not_found"
        assert await code("toolmint_ledger", name="notes", group="none") == "ledger_not_found"
        wrong = [("toolmint_ledger", {"name": "notes"}), ("toolmint_ledger", {"state": "done"}), ("toolmint_queues", {})]
        wrong += [("toolmint_queues", {"id": one, "state": "dead"}), ("toolmint_queues", {"id": one, "effect": "keep"})]
        assert {await code(name, **args) for name, args in wrong} == {"args_invalid"}
