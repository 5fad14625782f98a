"""Dead letters and unknowns at the dashboard: by cause, by hand, all that match; with a reason, with and without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sqlmodel import select

from app.core import feed
from app.core.db import now
from app.runtime.models import BulkDecision, Effect
from tests.dashboard.client import Client
from tests.dashboard.conftest import Visit
from tests.dashboard.ids import DEAD, REDRIVE, UNKNOWN
from tests.dashboard.seed import AGENT_KEY, OPERATOR_KEY, VIEWER_KEY
from tests.dashboard.site import Site

SCRIPT = pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
CAUSE = {"tool": "campaign_send_bulk", "effect": "send", "error_code": "greylisted"}


@pytest.fixture
def operator(own_site: Site) -> Iterator[Client]:
    client = Client(own_site, OPERATOR_KEY)
    yield client
    client.close()


def effects(site: Site, state: str) -> list[Effect]:
    with site.database.reading() as session:
        return list(session.exec(select(Effect).where(Effect.state == state)))


@SCRIPT
def test_a_group_of_dead_letters_is_redriven_on_a_fixed_version_with_a_reason(own_site: Site, visit: Visit, script: bool) -> None:
    at = visit(own_site, "/queues/dead", key=OPERATOR_KEY, script=script)
    at.expected = {422}
    at.page.click("section:has(#h-causes) tr:has-text('greylisted') a.button")
    assert at.page.inner_text("h1") == "Redrive 10 dead letters"
    assert "error_code=greylisted" in at.page.url, "what is meant is in the address"
    at.page.select_option("select[name=version]", "3")
    at.page.fill("#decide input[name=reason]", "x")
    at.page.click("#decide button")
    at.page.wait_for_selector("#decide .problem")
    assert at.page.input_value("select[name=version]") == "3"
    at.page.fill("#decide input[name=reason]", "The server takes mail again.")
    at.page.click("#decide button")
    at.page.wait_for_url("**/redrives/redrive_*")
    at.page.wait_for_selector("text=10 of 10")
    assert "The server takes mail again." in at.text()
    assert at.axe() == [] if script else True
    assert effects(own_site, "dead") == []
    assert {(row.version, row.attempts) for row in effects(own_site, "planned")} == {(3, 0)}


@SCRIPT
def test_boxes_are_checked_and_only_those_are_redriven(own_site: Site, visit: Visit, script: bool) -> None:
    at = visit(own_site, "/queues/dead", key=OPERATOR_KEY, script=script)
    boxes = at.page.locator("tbody input[name=ids]")
    for number in (0, 2):
        boxes.nth(number).check()
    if script:
        assert at.text("[data-checked=ids]") == "2 selected"
    at.page.click("text=Redrive selected")
    assert at.page.inner_text("h1") == "Redrive 2 dead letters"
    at.page.fill("#decide input[name=reason]", "Tried by hand.")
    at.page.click("#decide button")
    at.page.wait_for_selector("text=2 of 2")
    assert len(effects(own_site, "dead")) == 8 and len(effects(own_site, "planned")) == 2


def test_one_box_checks_all_that_are_shown(site: Site, visit: Visit) -> None:
    at = visit(site, "/queues/unknown", key=OPERATOR_KEY)
    at.page.check("[data-checks=ids]")
    assert at.text("[data-checked=ids]") == "10 selected"
    assert at.axe() == []
    at.page.uncheck("[data-checks=ids]")
    assert at.text("[data-checked=ids]") == "0 selected"


def test_all_unknowns_take_one_verdict(own_site: Site, visit: Visit) -> None:
    at = visit(own_site, "/queues/unknown", key=OPERATOR_KEY)
    at.page.click("#selection a:has-text('Decide about all')")
    assert at.page.inner_text("h1") == "Decide about 10 unknowns"
    at.page.check("input[value=confirm_done]")
    at.page.fill("#decide input[name=reason]", "All ids are in the server's log.")
    at.page.click("#decide button")
    at.page.wait_for_selector("text=10 of 10")
    assert effects(own_site, "unknown") == []
    at.open("/queues/unknown")
    assert "That is how it should be" in at.text()


def test_a_redrive_under_way_is_followed_live(own_site: Site, visit: Visit) -> None:
    at = visit(own_site, f"/redrives/{REDRIVE}", key=OPERATOR_KEY)
    at.page.wait_for_selector(".live[data-live=live]")
    assert "500 of 1,200" in at.text("#progress")
    with own_site.database.writing() as session:
        row = session.get(BulkDecision, REDRIVE)
        assert row is not None
        row.moved, row.state, row.finished_at = 1200, "completed", now(session)
        feed.announce(session, "effects.changed", REDRIVE, "default")
    at.page.wait_for_selector("text=1,200 of 1,200")
    at.page.wait_for_selector(".live[data-live=over]", state="attached")


@SCRIPT
def test_a_redrive_under_way_is_cancelled(own_site: Site, visit: Visit, script: bool) -> None:
    at = visit(own_site, f"/redrives/{REDRIVE}", key=OPERATOR_KEY, script=script)
    at.page.click("text=Cancel the rest")
    at.page.wait_for_selector("text=the rest was left dead")
    assert "500 of 1,200" in at.text("#progress") and at.page.locator("text=Cancel the rest").count() == 0
    with own_site.database.reading() as session:
        row = session.get(BulkDecision, REDRIVE)
        assert row is not None and (row.state, row.moved) == ("cancelled", 500)


def test_a_redrive_that_is_over_cannot_be_cancelled_any_more(own_site: Site, operator: Client) -> None:
    assert operator.post(f"/redrives/{REDRIVE}/cancellations", {}).status_code == 303
    assert "Cancel the rest" not in operator.get(f"/redrives/{REDRIVE}").text
    late = operator.post(f"/redrives/{REDRIVE}/cancellations", {})
    assert late.status_code == 409 and "there is nothing to cancel" in late.text
    assert REDRIVE in operator.get("/redrives?state=cancelled").text
    client = Client(own_site, VIEWER_KEY)
    assert client.post(f"/redrives/{REDRIVE}/cancellations", {}).status_code == 403
    client.close()


def test_who_may_not_decide_is_offered_nothing_to_decide(site: Site) -> None:
    for key in (AGENT_KEY, VIEWER_KEY):
        client = Client(site, key)
        pages = {path: client.get(path).text for path in ("/", "/queues/dead", "/queues/unknown")}
        assert all('name="ids"' not in text and "/decision" not in text for text in pages.values())
        assert ">Decide<" not in pages["/"]
        refused = client.post("/queues/dead/decisions", {"reason": "not mine to say"})
        assert refused.status_code == 403
        client.close()
    client = Client(site, OPERATOR_KEY)
    assert ">Decide<" in client.get("/").text
    assert "/queues/dead/decision?" in client.get("/queues/dead").text
    client.close()


def test_one_dead_letter_is_redriven_from_its_own_page(own_site: Site, operator: Client) -> None:
    assert 'id="redrive"' in operator.get(f"/effects/{DEAD}").text
    asked = operator.post("/queues/dead/decision", {"ids": DEAD}).text
    assert "Redrive 1 dead letter" in asked and f'name="ids" value="{DEAD}"' in asked
    (mark,) = re.findall(r'name="mark" value="(\d+)"', asked)
    assert operator.post("/queues/dead/decisions", {"ids": DEAD, "mark": mark, "reason": "tried by hand"}).status_code == 303
    assert [row.id for row in effects(own_site, "planned")] == [DEAD]
    assert 'id="redrive"' not in operator.get(f"/effects/{DEAD}").text


def test_decisions_are_listed_by_kind_and_state(own_site: Site, operator: Client) -> None:
    operator.post("/queues/unknown/decisions", {"ids": UNKNOWN, "verdict": "abandon", "reason": "given up"})
    listed = {path: operator.get(path).text for path in ("/redrives", "/redrives?kind=redrive", "/redrives?kind=resolution")}
    assert [REDRIVE in text for text in listed.values()] == [True, True, False]
    assert ["given up" in text for text in listed.values()] == [True, False, True]
    none = operator.get("/redrives?kind=resolution&state=running").text
    assert "No decisions match" in none and 'href="/redrives?kind=resolution"' in none
    assert [operator.get(f"/redrives?{wrong}=odd").status_code for wrong in ("kind", "state")] == [422, 422]


def test_what_is_decided_is_what_was_shown(own_site: Site, operator: Client) -> None:
    shown = operator.get("/queues/dead/decision?error_code=greylisted").text
    (mark,) = re.findall(r'name="mark" value="(\d+)"', shown)
    with own_site.database.writing() as session:  # one more dies while the page is read
        row = session.exec(select(Effect).where(Effect.state == "retry_wait")).first()
        assert row is not None
        session.connection().exec_driver_sql(
            "INSERT INTO effect_event (effect_seq, effect_id, before, after, at, fence, actor)"
            f" VALUES ({row.seq}, '{row.id}', 'performing', 'dead', 0, 1, 'worker')"
        )
        row.state, row.error_code = "dead", "greylisted"
        session.add(row)
    answer = operator.post("/queues/dead/decisions", {**CAUSE, "mark": mark, "reason": "as it was shown"})
    assert answer.status_code == 303
    assert len(effects(own_site, "planned")) == 10 and len(effects(own_site, "dead")) == 1


def test_an_empty_selection_goes_back_and_a_wrong_one_is_told(operator: Client) -> None:
    answer = operator.post("/queues/dead/decision", {"tool": "campaign_send_bulk"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/queues/dead?tool=campaign_send_bulk")
    assert "Nothing was selected." in operator.get("/queues/dead").text
    for path, data, status in (
        ("/queues/dead/decision", {"ids": "eff_none"}, 404),
        ("/queues/retry_wait/decision", {"ids": DEAD}, 404),
        ("/queues/unknown/decision", {"ids": DEAD}, 409),
        ("/queues/dead/decisions", {"ids": DEAD, "reason": "why not", "version": "77"}, 404),
        ("/queues/unknown/decisions", {"verdict": "maybe", "reason": "not a verdict"}, 422),
    ):
        assert operator.post(path, data).status_code == status, (path, data)


def test_a_decision_without_the_sessions_token_is_refused(own_site: Site, operator: Client) -> None:
    for path in ("/queues/dead/decision", "/queues/dead/decisions"):
        assert operator.post(path, {"ids": DEAD, "reason": "forged"}, token="0" * 64).status_code == 403
    assert len(effects(own_site, "dead")) == 10


def test_a_result_that_a_verdict_has_overtaken_says_that_it_tells_of_what_was_then(own_site: Site, operator: Client) -> None:
    run = f"/runs/{effects(own_site, 'unknown')[0].run_id}"
    assert "as it was answered" not in operator.get(run).text
    operator.post(f"/effects/{UNKNOWN}/resolutions", {"verdict": "confirm_done", "reason": "It is in the log of the server."})
    assert "as it was answered" in operator.get(run).text
