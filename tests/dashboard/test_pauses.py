"""Pausing from the dashboard: the button, the banner on every page, the end of a pause; and what a page says of connectors."""

from __future__ import annotations

import pytest

from app.access.keys import create_key
from app.core.actor import SYSTEM
from app.runtime.models import OpenCircuit
from tests.dashboard.client import Client
from tests.dashboard.conftest import Visit
from tests.dashboard.ids import TOOL
from tests.dashboard.site import Site


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_tool_is_paused_with_a_reason_and_every_page_says_so_until_it_is_resumed(own_site: Site, visit: Visit, script: bool) -> None:
    at = visit(own_site, f"/tools/{TOOL}", script=script)
    assert at.page.locator(".paused").count() == 0
    at.page.click("summary:has-text('Pause')")
    at.page.fill("#pause input[name=reason]", "the list is wrong")
    at.page.click("#pause button[type=submit]")
    at.page.wait_for_selector(".paused")
    for path in (f"/tools/{TOOL}", "/runs", "/audit"):
        at.page.goto(own_site.url + path)
        assert f"{TOOL} is paused: the list is wrong" in at.text(".paused")
    if script:
        assert at.axe() == []
    at.page.goto(f"{own_site.url}/tools/{TOOL}")
    at.page.click("button:has-text('Resume')")
    at.page.wait_for_selector("#notice:has-text('Resumed')")
    assert at.page.locator(".paused").count() == 0


def test_everything_and_connectors_are_paused_from_one_page(own_site: Site, visit: Visit) -> None:
    at = visit(own_site, "/pauses")
    assert "Nothing is paused" in at.text("#main") and at.axe() == []
    for what in ("connector:email.send", "everything"):
        at.page.select_option("select[name=what]", what)
        at.page.fill("#pause input[name=reason]", "maintenance until noon")
        at.page.click("#pause button[type=submit]")
        at.page.wait_for_selector(f"tbody input[value='{what}']", state="attached")
    assert "Everything is paused: maintenance until noon" in at.text(".paused") and at.axe() == []
    at.page.click("tr:has(input[value='everything']) button")
    at.page.wait_for_selector("tbody input[value='everything']", state="detached")
    assert "email.send is paused" in at.text(".paused")


def test_a_pause_without_a_reason_is_refused_with_what_to_do(own_site: Site) -> None:
    client = Client(own_site)
    answer = client.post("/pauses", {"what": "everything", "reason": " "})
    assert answer.status_code == 422 and "reason" in answer.text and 'class="paused' not in answer.text
    assert client.post("/pauses", {"what": "connector:no.such", "reason": "because"}).status_code == 404
    assert client.post("/pauses/ends", {"what": "everything"}).status_code == 404
    assert client.post("/pauses", {"what": "everything", "reason": "because"}, token="wrong").status_code == 403
    client.close()


def test_who_may_not_pause_sees_no_button_and_is_refused(own_site: Site) -> None:
    key = create_key(SYSTEM, own_site.database, "watcher", ("tools:call", "audit:read"))["key"]
    client = Client(own_site, key)
    assert "runs:pause" in client.get("/pauses").text and "Pause …" not in client.get(f"/tools/{TOOL}").text
    assert client.post("/pauses", {"what": "everything", "reason": "because"}).status_code == 403
    client.close()


def test_a_page_says_what_is_not_tried_and_when_it_will_be(own_site: Site) -> None:
    at = own_site.database.clock.now()
    with own_site.database.writing() as session:
        session.add(
            OpenCircuit(
                tenant="default",
                connector="email.send",
                tool=TOOL,
                error="smtp_unreachable",
                rest_ms=60_000,
                opened_at=at,
                trial_at=at + 60_000,
            )
        )
    client = Client(own_site)
    text = client.get("/pauses").text
    assert "smtp_unreachable" in text and TOOL in text and "open" in text
    client.close()
