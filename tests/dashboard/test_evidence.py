"""Scores can be followed to what was measured; what changed against the version before stands side by side; hints say why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from app.web.measured import columns, form_of, hint_rows
from tests.dashboard.client import Client
from tests.dashboard.conftest import Visit
from tests.dashboard.ids import TOOL, candidate
from tests.dashboard.seed import AGENT_KEY
from tests.dashboard.site import Site

HINTS = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True, "openWorldHint": True}
SHOWN: dict[str, Any] = {"runs": 18, "effects": {"send": 14}, "repeats": 5, "added": 0, "undone": []}


@pytest.fixture(scope="module")
def admin(site: Site) -> Iterator[Client]:
    client = Client(site)
    yield client
    client.close()


def test_every_link_of_the_rubric_leads_to_its_fact_on_the_page(site: Site, admin: Client) -> None:
    for path in (f"/candidates/{candidate(site, 'passed')}", f"/tools/{TOOL}/versions/2"):
        text = admin.get(path).text
        links = re.findall(r'href="#((?:fact|gate)-[^"]+)"', text)
        assert {"fact-examples-cases", "fact-policy-refused", "gate-imports", "fact-rollback-undo", "fact-annotations-proved"} <= set(links)
        assert [link for link in links if f'id="{link}"' not in text] == []


def test_a_followed_link_opens_what_the_gate_measured(site: Site, visit: Visit) -> None:
    at = visit(site, f"/candidates/{candidate(site, 'passed')}")
    assert not at.page.is_visible("#fact-policy-refused")
    at.page.click("#rubric a[href='#fact-policy-refused']")
    at.page.wait_for_selector("#fact-policy-refused", state="visible")
    assert "hostile customers.name" in at.text("#fact-policy-refused")
    assert at.axe() == []


def test_a_candidate_stands_beside_the_version_that_it_would_replace(site: Site, admin: Client) -> None:
    text = admin.get(f"/candidates/{candidate(site, 'passed')}").text
    part = text[text.index('id="difference"') : text.index('id="gates"')]
    assert "Against version 2" in part and f'href="/tools/{TOOL}/versions/2"' in part
    assert "+0.040" in part and "-0.026" in part and "not there → passed" in part
    assert part.index("Use of assert.") < part.index("It was loose.")
    assert 'id="difference"' not in admin.get(f"/tools/{TOOL}/versions/2").text


def test_hints_are_shown_with_the_runs_that_prove_them(site: Site, admin: Client) -> None:
    for path in (f"/candidates/{candidate(site, 'passed')}", f"/tools/{TOOL}/versions/2"):
        text = admin.get(path).text
        part = text[text.index('id="hints"') :]
        assert "18 runs did send 14 times" in part and "not undone: send" in part and "5 calls made again added nothing" in part
    assert "proved by 18 runs" in admin.get(f"/tools/{TOOL}").text


def test_a_caller_who_may_not_read_reports_still_sees_why(site: Site) -> None:
    client = Client(site, AGENT_KEY)
    assert "18 runs did send 14 times" in client.get(f"/tools/{TOOL}/versions/2").text
    client.close()


def test_a_fact_is_shown_in_the_form_that_suits_it() -> None:
    assert form_of({"a": True, "b": False}) == "truths" and form_of({"a": 1}) == "json"
    assert form_of([{"name": "x", "passed": True}]) == "rows" and form_of([1, 2]) == "json"
    assert form_of(0.5) == form_of("x") == form_of({}) == form_of([]) == form_of(None) == "value"
    assert form_of([{f"c{number}": 1 for number in range(20)}]) == "json"
    assert columns([{"asked": 1, "name": 2}, {"ended": 3, "case": 4}]) == ["name", "case", "asked", "ended"]


def test_each_hint_says_what_it_rests_on() -> None:
    told = {row["hint"]: row["because"] for row in hint_rows(HINTS, SHOWN)}
    assert told["openWorldHint"] == "18 runs used connectors outside this installation"
    undone = hint_rows({**HINTS, "destructiveHint": False}, {**SHOWN, "undone": ["send"], "added": 1})
    assert [row["because"] for row in undone[1:3]] == ["done and undone on a stage: send", "5 calls made again added 1 effect"]
    reads = hint_rows({**HINTS, "readOnlyHint": True}, {**SHOWN, "effects": {}})
    assert [row["because"] for row in reads[:2]] == ["18 runs did no effect", "nothing was done that could be undone"]
    assert all("as its spec declares" in row["because"] for row in hint_rows(HINTS, {"from": "spec"}))
