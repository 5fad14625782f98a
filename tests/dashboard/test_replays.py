"""Replays on the dashboard: asked for on a run's page, followed live, told with the first difference."""

from __future__ import annotations

import pytest

from app.core import feed
from app.runtime.repository import replays
from tests.dashboard.conftest import Visit
from tests.dashboard.ids import replayed, run
from tests.dashboard.site import Site


def _finish(site: Site, run_id: str, state: str) -> None:
    """Do what a worker does at the end of a replay; the seeded journal is no real one."""
    report = {"reached": "end", "steps": {"recorded": 3, "asked": 3}, "keys": {"checked": 41, "unchecked": 0}, "difference": None}
    with site.database.writing() as session:
        row = replays.under_way(session, run_id)
        assert row is not None and replays.claim(session, row.id, "own_test") is not None
        session.flush()
        assert replays.finish(session, row.id, "own_test", state, report)
        feed.announce(session, "run.replayed", run_id, row.tenant, state=state)


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_run_is_replayed_from_its_page(own_site: Site, visit: Visit, script: bool) -> None:
    one = run(own_site, "failed", "quote_price")
    at = visit(own_site, f"/runs/{one}", script=script)
    at.page.click("#replay-form button")
    at.page.wait_for_selector("#replay >> text=waiting")
    _finish(own_site, one, "same")
    if not script:
        at.page.reload()
    at.page.wait_for_selector("#replay >> text=same")
    assert "41 computed anew" in at.text("#replay")


def test_the_first_difference_is_shown_with_both_sides(site: Site, visit: Visit) -> None:
    at = visit(site, f"/runs/{replayed(site)}")
    told = at.text("#replay")
    assert "step 3, chunk 1, item 207" in told and "Spring" in told and "Summer" in told


def test_a_run_without_its_journal_offers_no_replay_and_says_so(own_site: Site, visit: Visit) -> None:
    one = run(own_site, "completed")
    with own_site.database.writing() as session:
        session.connection().exec_driver_sql(f"UPDATE run SET kept = 'nothing' WHERE id = '{one}'")
        session.connection().exec_driver_sql(f"DELETE FROM step WHERE run_id = '{one}'")
    at = visit(own_site, f"/runs/{one}")
    assert at.page.locator("#replay-form").count() == 0 and "pruned" in at.text("#steps")
    assert "the ledger alone" in at.text("#facts")
    assert at.axe() == []
