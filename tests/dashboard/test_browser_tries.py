"""Trying a tool by hand, on the real runtime and sandbox: first the plan, then the run, and never a run without its plan."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from sqlmodel import select

from app.access.keys import create_key
from app.connectors.models import OutboxEmail
from app.core.actor import SYSTEM
from app.records.writing import put_record
from app.spec.model import ExecutionSpec
from tests.dashboard.client import Client
from tests.dashboard.conftest import Visit
from tests.dashboard.ids import TOOL
from tests.dashboard.seed import VIEWER_KEY
from tests.dashboard.site import Site, serving
from tests.support.published import release

BUNDLED = Path(__file__).parents[2] / "generated_tools" / "messaging" / TOOL
TEMPLATE = {"subject": "Spring at {{shop}}", "text": "Visit {{shop}}."}
ARGS = {
    "campaign_id": "by-hand",
    "template_id": "spring",
    "recipients": ["ann@example.com", "bob@example.com"],
    "variables": {"shop": "Lamps"},
}


@pytest.fixture(scope="module")
def live_site(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A dashboard whose campaign tool is the bundled one, with the runtime behind it."""
    with serving(tmp_path_factory.mktemp("tries"), template, live=True) as site:
        spec = ExecutionSpec.parse((BUNDLED / "spec.json").read_bytes())
        release(site.parts.catalog, spec, (BUNDLED / "tool.py").read_text(encoding="utf-8"))
        put_record(SYSTEM, site.database, "email_templates", "spring", TEMPLATE)
        site.parts.catalog.forget("default")
        yield site


def _fill(page: Page, args: dict[str, Any]) -> None:
    for name, value in args.items():
        page.fill(f"[name='arg.{name}']", value if isinstance(value, str) else json.dumps(value))


def _mails(site: Site, subject: str) -> int:
    with site.database.reading() as session:
        return len(session.exec(select(OutboxEmail).where(OutboxEmail.subject == subject)).all())


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_tool_shows_its_plan_then_runs_and_a_second_plan_says_skip(live_site: Site, visit: Visit, script: bool) -> None:
    shop = f"Shop {script}"
    args = {**ARGS, "campaign_id": f"by-hand-{script}", "variables": {"shop": shop}}
    at = visit(live_site, f"/tools/{TOOL}/try", script=script)
    _fill(at.page, args)
    at.page.click("text=Dry run")
    at.page.wait_for_selector("text=2 would be performed")
    assert _mails(live_site, f"Spring at {shop}") == 0
    assert at.page.input_value("[name='arg.campaign_id']") == args["campaign_id"]
    at.page.click("text=Run it now")
    at.page.wait_for_url("**/runs/run_*")
    at.page.wait_for_selector("#facts >> text=completed")
    assert _mails(live_site, f"Spring at {shop}") == 2
    at.page.click("text=Open the ledger")
    assert at.page.locator("tbody tr").count() == 2
    at.open(f"/tools/{TOOL}/try")
    _fill(at.page, args)
    at.page.click("text=Dry run")
    at.page.wait_for_selector("text=0 would be performed")
    assert set(at.page.locator("#plan tbody .state").all_inner_texts()) == {"skip"}


def test_arguments_may_be_given_as_json_and_an_example_fills_the_form(live_site: Site, visit: Visit) -> None:
    at = visit(live_site, f"/tools/{TOOL}/try?as=json")
    at.page.fill("textarea[name=json]", json.dumps({**ARGS, "campaign_id": "as-json"}))
    at.page.click("text=Dry run")
    at.page.wait_for_selector("text=2 would be performed")
    assert at.axe() == []
    at.open(f"/tools/{TOOL}/try?example=0")
    assert "spring" in at.page.input_value("[name='arg.template_id']")


def test_what_does_not_fit_stands_at_its_field_and_nothing_typed_is_lost(live_site: Site, visit: Visit) -> None:
    at = visit(live_site, f"/tools/{TOOL}/try")
    at.expected = {422}
    _fill(at.page, {**ARGS, "recipients": "ann@example.com"})
    at.page.click("text=Dry run")
    at.page.wait_for_selector(".field[data-wrong]:has-text('recipients') >> text=is not JSON")
    assert at.page.input_value("[name='arg.recipients']") == "ann@example.com"
    assert at.page.locator(":text('is not JSON')").count() == 1, "it is said once, at its field"
    assert at.axe() == []
    at.page.fill("[name='arg.recipients']", "[1]")
    at.page.click("text=Dry run")
    at.page.wait_for_selector(".field[data-wrong]:has-text('recipients') >> text=$.recipients")


def _field(text: str, name: str) -> str:
    return str(re.findall(rf'name="{name}" value="([^"]*)"', text)[0])


def test_a_run_is_not_had_without_the_plan_of_these_very_arguments(live_site: Site) -> None:
    client = Client(live_site)
    form = {f"arg.{name}": value if isinstance(value, str) else json.dumps(value) for name, value in ARGS.items()}
    planned = client.post(f"/tools/{TOOL}/tries", {**form, "mode": "plan"})
    mark = _field(planned.text, "planned")
    other = {**form, "arg.campaign_id": "another"}
    for fields in ({**form, "mode": "run"}, {**other, "mode": "run", "planned": mark}):
        answer = client.post(f"/tools/{TOOL}/tries", fields)
        assert answer.status_code == 200
        assert "would be performed" in answer.text, "it got a plan instead"
    stranger = Client(live_site)
    assert stranger.post(f"/tools/{TOOL}/tries", {**form, "mode": "run", "planned": mark}).status_code == 200
    sent = {**form, "mode": "run", "planned": mark, "once": _field(planned.text, "once")}
    first, again = client.post(f"/tools/{TOOL}/tries", sent), client.post(f"/tools/{TOOL}/tries", sent)
    assert first.status_code == 303
    assert first.headers["location"] == again.headers["location"], "the same form sent twice is one run"
    client.close()
    stranger.close()


def test_a_key_that_may_not_call_is_told_what_an_unknown_tool_is_told(live_site: Site) -> None:
    viewer = Client(live_site, VIEWER_KEY)
    known, unknown = viewer.get(f"/tools/{TOOL}/try"), viewer.get("/tools/no_such_tool_here/try")
    assert known.status_code == unknown.status_code == 404
    assert re.sub(r"\W(campaign_send_bulk|no_such_tool_here)\W", "", known.text) == re.sub(
        r"\W(campaign_send_bulk|no_such_tool_here)\W", "", unknown.text
    )
    viewer.close()


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_call_that_needs_an_approval_is_asked_for_decided_by_another_and_run(live_site: Site, visit: Visit, script: bool) -> None:
    permissions = ["approval:tools:call", "campaigns:send"]
    asker = create_key(SYSTEM, live_site.database, f"asker {script}", permissions)["key"]
    boss = create_key(SYSTEM, live_site.database, f"boss {script}", ["calls:approve"])["key"]
    shop = f"Asked {script}"
    mine = visit(live_site, f"/tools/{TOOL}/try", key=asker, script=script)
    _fill(mine.page, {**ARGS, "campaign_id": f"asked-{script}", "variables": {"shop": shop}})
    mine.page.click("text=Dry run")
    mine.page.click("text=Ask for approval")
    mine.page.wait_for_url("**/runs/run_*")
    mine.page.fill("[name=note]", "the spring list")
    mine.page.click("button:has-text('Ask for approval')")
    mine.page.wait_for_url("**/approvals/leave_*")
    assert "Another actor must decide" in mine.page.inner_text("#decision")
    path = mine.page.url.removeprefix(live_site.url)
    theirs = visit(live_site, "/", key=boss, script=script)
    theirs.page.wait_for_selector("text=Call waits for a decision")
    theirs.open(path)
    assert "the spring list" in theirs.page.inner_text("#facts") and "asked-" in theirs.page.inner_text("#args")
    assert theirs.axe() == [] if script else True
    theirs.page.check("input[value=approve]")
    theirs.page.fill("[name=reason]", "the list is right")
    theirs.page.click("text=Record decision")
    theirs.page.wait_for_selector("#facts >> text=approved")
    assert _mails(live_site, f"Spring at {shop}") == 0
    mine.open(path)
    mine.page.click("text=Run it now")
    mine.page.wait_for_url("**/runs/run_*")
    mine.page.wait_for_selector("#facts >> text=completed")
    assert _mails(live_site, f"Spring at {shop}") == 2
    mine.open(path)
    assert mine.page.locator("#facts .state").first.inner_text() == "used"
