"""What people do: filter, follow live work, decide, publish, roll back, settle unknowns, make and revoke keys."""

from __future__ import annotations

import re

import pytest

from app.access.keys import create_key
from app.candidates.models import Candidate, GateResult
from app.core import feed
from app.core.actor import SYSTEM
from app.core.db import now
from app.observability.audit import text_digest
from app.registry.models import Channel
from app.runtime.models import Run
from app.web.listing import PAGE
from tests.dashboard import seed_texts as texts
from tests.dashboard.conftest import Visit
from tests.dashboard.ids import TOOL, UNKNOWN, candidate, run
from tests.dashboard.seed import OPERATOR_KEY
from tests.dashboard.site import Site
from tests.support.waiting import until

SCRIPT = pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])


def test_a_filter_changes_the_list_and_the_address_and_both_survive_a_reload(site: Site, visit: Visit) -> None:
    at = visit(site, "/runs")
    at.page.select_option("select[name=state]", "failed")
    at.page.wait_for_url(re.compile("state=failed"))
    at.page.wait_for_function("() => [...document.querySelectorAll('tbody .state')].every(one => one.textContent === 'failed')")
    at.page.reload()
    assert set(at.page.locator("tbody .state").all_inner_texts()) == {"failed"}
    assert at.page.input_value("select[name=state]") == "failed"


def test_typing_searches_and_keeps_the_cursor_in_the_field(site: Site, visit: Visit) -> None:
    at = visit(site, "/tools")
    at.page.keyboard.press("/")
    at.page.keyboard.type("quote")
    at.page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 1")
    assert at.page.evaluate("() => document.activeElement.name") == "search"
    assert "quote_price" in at.text("#list")


def test_scrolling_to_the_end_loads_the_rest(site: Site, visit: Visit) -> None:
    at = visit(site, "/ledgers/campaigns/spring-2026")
    rows = at.page.locator("tbody tr:not(.more)")
    assert rows.count() == 100

    def all_there() -> bool:
        at.page.mouse.wheel(0, 20_000)
        return rows.count() == 350

    until(all_there, 60, "all rows")
    assert at.page.locator("tr.more").count() == 0


def test_keys_lead_to_sections_and_show_themselves(site: Site, visit: Visit) -> None:
    at = visit(site, "/")
    at.page.keyboard.press("?")
    assert at.page.is_visible("#shortcuts")
    assert at.axe() == []
    at.page.keyboard.press("Escape")

    def there() -> bool:
        at.page.keyboard.press("g")
        at.page.keyboard.press("l")  # a chord is forgotten where the second key comes late
        return at.page.url.endswith("/ledgers")

    until(there, 30, "the ledgers")


def test_an_id_is_copied_by_its_button(site: Site, visit: Visit) -> None:
    at = visit(site, f"/effects/{UNKNOWN}")
    at.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    at.page.hover(".facts dd:has-text('eff_')")
    at.page.click(f"[data-copy='{UNKNOWN}']")
    at.page.wait_for_selector("#said >> text=Copied", state="attached")
    assert at.page.evaluate("() => navigator.clipboard.readText()") == UNKNOWN


def _pass(site: Site, candidate_id: str) -> None:
    with site.database.writing() as session:
        row = session.get(Candidate, candidate_id)
        assert row is not None
        row.state = "passed"
        row.report, row.report_digest = text_digest(texts.report(row.id, row.digest))
        feed.announce(session, "candidate.changed", row.id, row.tenant, state="passed")


def test_verification_is_followed_live_until_it_ends(own_site: Site, visit: Visit) -> None:
    one = candidate(own_site, "verifying")
    at = visit(own_site, f"/candidates/{one}")
    at.page.wait_for_selector(".live[data-live=live]")
    at.page.click("#gate-spec summary")
    assert "Cancel verification" in at.text("#verification")
    with own_site.database.writing() as session:
        gate = session.get(GateResult, (one, "properties"))
        assert gate is not None
        gate.status = "failed"
        gate.findings = [texts.FINDING]
        feed.announce(session, "candidate.changed", one, "default", state="verifying")
    at.page.wait_for_selector("#gate-properties .finding")
    assert at.page.is_visible("#gate-spec .measured"), "what was unfolded stays so"
    _pass(own_site, one)
    at.page.wait_for_selector("#decision form")
    assert at.page.locator("#verification").count() == 0, "what is over cannot be cancelled"
    at.page.wait_for_selector(".live[data-live=over]", state="attached")
    assert at.axe() == []


def test_a_run_is_followed_live_until_it_ends(own_site: Site, visit: Visit) -> None:
    one = run(own_site, "executing")
    at = visit(own_site, f"/runs/{one}")
    at.page.wait_for_selector(".live[data-live=live]")
    for done, state in ((1200, "executing"), (2000, "completed")):
        with own_site.database.writing() as session:
            row = session.get(Run, one)
            assert row is not None
            row.done, row.state, row.finished_at = done, state, now(session)
            feed.announce(session, "run.progress" if state == "executing" else "run.finished", one, "default")
        at.page.wait_for_selector(f"text={done:,} of 2,000")
    at.page.wait_for_selector("#facts >> text=completed")
    assert at.page.locator("#cancel").count() == 0 and at.text("#replay-form button") == "Replay", "what can be done follows as well"


@SCRIPT
def test_a_candidate_is_approved_with_a_reason_and_published(own_site: Site, visit: Visit, script: bool) -> None:
    one = candidate(own_site, "passed")
    at = visit(own_site, f"/candidates/{one}", key=OPERATOR_KEY, script=script)
    at.page.check("input[value=approve]")
    at.page.fill("#approval input[name=reason]", "Read the changes.")
    at.page.click("text=Record decision")
    at.page.wait_for_selector("text=Your decision is recorded.")
    assert "Read the changes." in at.text("#approvals")
    at.page.click("#publish button")
    at.page.wait_for_url(f"**/tools/{TOOL}")
    assert "Published as version 4" in at.text("#notice")
    at.page.reload()
    assert "Published as version 4" not in at.text("main"), "a note is shown once"


def test_an_author_is_told_that_another_actor_must_decide(own_site: Site, visit: Visit) -> None:
    one = candidate(own_site, "passed")
    with own_site.database.writing() as session:
        row = session.get(Candidate, one)
        assert row is not None
        row.author = "key_operator"
    at = visit(own_site, f"/candidates/{one}", key=OPERATOR_KEY)
    assert "Another actor must decide" in at.text("#decision")
    assert at.page.locator("#approval").count() == 0


def _stable(site: Site) -> int:
    with site.database.reading() as session:
        channel = session.get(Channel, ("default", TOOL, "stable"))
        assert channel is not None
        return channel.version


@SCRIPT
def test_a_roll_back_wants_the_name_typed_and_a_reason_and_shows_the_result(own_site: Site, visit: Visit, script: bool) -> None:
    at = visit(own_site, f"/tools/{TOOL}", key=OPERATOR_KEY, script=script)
    at.expected = {422}
    at.page.click("summary:has-text('Roll back')")
    at.page.select_option("#rollback select", "1")
    at.page.fill("#rollback input[name=reason]", "Customers got two greetings.")
    at.page.fill("#rollback input[name=confirm]", "campaign")
    at.page.click("#rollback button")
    at.page.wait_for_selector("#rollback >> text=Nothing was rolled back")
    assert _stable(own_site) == 2
    assert at.page.input_value("#rollback input[name=reason]") == "Customers got two greetings."
    at.page.fill("#rollback input[name=confirm]", TOOL)
    at.page.click("#rollback button")
    at.page.wait_for_selector("text=stable went from version 2 to 1")
    assert _stable(own_site) == 1
    assert "Customers got two greetings." in at.text()


@SCRIPT
def test_a_verdict_on_an_unknown_needs_a_reason_and_is_recorded(own_site: Site, visit: Visit, script: bool) -> None:
    at = visit(own_site, f"/effects/{UNKNOWN}", key=OPERATOR_KEY, script=script)
    at.expected = {422}
    at.page.check("input[value=confirm_done]")
    at.page.fill("#verdict input[name=reason]", "x")
    at.page.click("text=Record verdict")
    at.page.wait_for_selector("#verdict .problem")
    assert at.page.is_checked("input[value=confirm_done]")
    at.page.fill("#verdict input[name=reason]", "The server's log has its message id.")
    at.page.click("text=Record verdict")
    at.page.wait_for_selector("text=The verdict is recorded.")
    assert at.page.locator("dl.facts .state").first.inner_text() == "done"
    at.open(f"/audit?target={UNKNOWN}")
    assert "The server's log has its message id." in at.text("tbody")


@SCRIPT
def test_a_run_under_way_is_cancelled(own_site: Site, visit: Visit, script: bool) -> None:
    one = run(own_site, "executing")
    at = visit(own_site, f"/runs/{one}", script=script)
    at.page.click("text=Cancel run")
    at.page.wait_for_selector("text=cancellation requested")
    with own_site.database.reading() as session:
        found = session.get(Run, one)
        assert found is not None and found.cancel_at is not None and found.state == "executing", "it stops at its next effect"
    at.open(f"/audit?target={one}")
    assert "run.cancel" in at.text("tbody")


@SCRIPT
def test_a_new_keys_text_is_shown_once_and_opens_the_door(own_site: Site, visit: Visit, script: bool) -> None:
    at = visit(own_site, "/keys", script=script)
    at.expected = {422}
    at.page.fill("#new input[name=name]", "night shift")
    at.page.check("#new input[value='effects:resolve']")
    at.page.fill("#new input[name=own]", "Not a permission")
    at.page.click("text=Make key")
    at.page.wait_for_selector("#new .problem")
    assert at.page.is_checked("#new input[value='effects:resolve']")
    at.page.fill("#new input[name=own]", "campaigns:send")
    at.page.click("text=Make key")
    text = at.page.inner_text(".command code")
    assert text.startswith("tm_")
    at.open("/keys")
    assert "night shift" in at.text("#list")
    assert text not in at.page.content()
    other = visit(own_site, "/", key=text)
    assert "Overview" in other.text()


@SCRIPT
def test_a_key_is_revoked_only_after_the_word_is_typed(own_site: Site, visit: Visit, script: bool) -> None:
    at = visit(own_site, "/keys", script=script)
    at.expected = {422}
    at.page.click("tr:has-text('campaign agent') >> text=Revoke")
    at.page.fill("#revoke input[name=confirm]", "yes")
    at.page.click("text=Revoke key")
    at.page.wait_for_selector("#revoke .problem")
    at.page.fill("#revoke input[name=confirm]", "revoke")
    at.page.click("text=Revoke key")
    at.page.wait_for_selector("text=is revoked. Whoever uses it")
    assert "revoked" in at.text("tr:has-text('campaign agent')")


@SCRIPT
def test_who_decides_second_reads_that_it_is_decided(own_site: Site, visit: Visit, script: bool) -> None:
    late, soon = (visit(own_site, f"/effects/{UNKNOWN}", key=OPERATOR_KEY, script=script) for _ in range(2))
    late.expected = {409}
    for at in (soon, late):
        at.page.check("input[value=abandon]")
        at.page.fill("#verdict input[name=reason]", "given up")
    soon.page.click("text=Record verdict")
    soon.page.wait_for_selector("text=The verdict is recorded.")
    late.page.click("text=Record verdict")
    late.page.wait_for_selector(".problem >> text=effect_not_unknown")


@SCRIPT
def test_a_refusal_whose_form_is_on_no_page_is_told_all_the_same(own_site: Site, visit: Visit, script: bool) -> None:
    older = create_key(SYSTEM, own_site.database, "older", ["tools:call"])["id"]
    at = visit(own_site, f"/keys?revoke={older}", script=script)
    at.expected = {422}
    for number in range(PAGE):
        create_key(SYSTEM, own_site.database, f"newer {number}", ["tools:call"])
    at.page.fill("#revoke input[name=confirm]", "yes")
    at.page.click("text=Revoke key")
    at.page.wait_for_selector(".problem >> text=Nothing was revoked.")


def test_a_form_of_a_session_that_is_over_leads_to_the_sign_in_page(own_site: Site, visit: Visit) -> None:
    at = visit(own_site, f"/effects/{UNKNOWN}")
    at.page.context.clear_cookies()
    at.page.check("input[value=abandon]")
    at.page.fill("#verdict input[name=reason]", "given up")
    at.page.click("text=Record verdict")
    at.page.wait_for_url("**/sign-in")


def test_a_failing_server_is_told_and_nothing_is_swapped(own_site: Site, visit: Visit) -> None:
    at = visit(own_site, "/runs")
    at.expected = {500}
    at.page.route("**/runs?*", lambda route: route.fulfill(status=500, body="<p id=broken>no</p>", content_type="text/html"))
    at.page.select_option("select[name=state]", "failed")
    at.page.wait_for_selector("#notice >> text=The server answered 500")
    assert at.page.locator("#broken").count() == 0
    assert at.page.locator("tbody tr").count() > 40
