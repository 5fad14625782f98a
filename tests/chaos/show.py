"""One scenario from beginning to end: callers call, blows fall, the campaigns end, an operator resolves the doubts, the judge reads."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from contextlib import closing
from pathlib import Path

from tests.chaos.blows import Striker
from tests.chaos.books import Books, read_books
from tests.chaos.callers import Caller
from tests.chaos.judge import Findings, judge_doubts, judge_end
from tests.chaos.scenarios import POLICIES, Scenario
from tests.chaos.site import Site
from tests.support.waiting import until

END_S = 180.0


def perform(folder: Path, scenario: Scenario, seed: int, deadline: float) -> Findings:
    """Play it, and say what was found. `deadline` (monotonic): no blow falls afterwards. Each scenario draws from a chance of its own."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"    {time.monotonic() - began:6.1f} s  {text}", flush=True)

    print(f"==> {scenario.name[0].upper()}{scenario.name[1:]} on {scenario.database}", flush=True)
    found = Findings()
    try:
        with closing(Site.build(folder, scenario)) as site:
            say("the tools are published")
            _play(site, scenario, Striker(site, scenario, f"{seed} {scenario.name}", deadline, say), found)
    except AssertionError as error:  # of `until`: something that was promised did not come
        traceback.print_exc()
        found.broken.append(str(error))
    return found


def _play(site: Site, scenario: Scenario, striker: Striker, found: Findings) -> None:
    key = site.service.admin.key
    at_once = max(1, scenario.workers // 2)
    callers = [Caller(site.service.url, key, policy, scenario.size, striker.seed, at_once, scenario.campaigns) for policy in POLICIES]
    for caller in callers:
        caller.start()
    blows = striker.strike_all()
    for caller in callers:
        caller.enough(at_once=time.monotonic() >= striker.deadline)
    until(lambda: all(caller.finished.is_set() for caller in callers), END_S, "every campaign is completed")
    for caller in callers:
        if caller.failed is not None:
            raise caller.failed
    campaigns = [campaign for caller in callers for campaign in caller.all]
    striker.say(f"{len(campaigns)} campaigns are completed, by {sum(campaign.calls for campaign in campaigns)} calls")
    addresses = [to for campaign in campaigns for to in campaign.to]
    _settle(site)
    books = read_books(site.database, site.log.read())
    judge_doubts(books, blows, addresses, found)
    fell = Counter(blow.kind.partition(" ")[0] for blow in blows if blow.seen or not blow.victims)
    found.expect("every blow falls in the time given", (scenario.owed - fell).elements())
    if found.effective < scenario.kills + scenario.everything:
        found.broken.append(
            f"{scenario.kills + scenario.everything} kills interrupt an effect: only {found.effective} did in the time given"
        )
    _resolve(site, books, found)
    _settle(site)
    judge_end(read_books(site.database, site.log.read()), blows, addresses, found)
    striker.say("the books are compared")


def _settle(site: Site) -> None:
    until(lambda: site.open_effects() == 0, END_S, "no effect is under way or waits")


def _resolve(site: Site, books: Books, found: Findings) -> None:
    """What an operator does: look each unknown up in the mail server's log, and say so."""
    admin = site.service.admin
    named = {row["effect_id"] for row in admin.all("/effects", state="unknown")}
    doubtful = {row.id: row for row in books.rows.values() if row.state == "unknown"}
    found.expect("every unknown is named", named ^ doubtful.keys())
    for identity, row in doubtful.items():
        verdict = "confirm_done" if row.to in books.accepted else "retry"
        admin.post(f"/effects/{identity}/resolutions", {"verdict": verdict, "reason": "looked up in the mail server's log"})
