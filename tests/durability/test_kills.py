"""SIGKILL of each process while mails are in flight: nothing is lost, nothing doubled, what nobody can know is named.

The judge is the SMTP server's own log. The long form, with many kills and both databases, is the chaos run.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.published import release_campaign
from tests.support.releases import import_customers
from tests.support.service import Service, start_service
from tests.support.smtp import SmtpProcess, start_smtp
from tests.support.waiting import until

RECIPIENTS = 600
QUARTER = RECIPIENTS // 4
PACE = ({"to": "*", "do": "delay15", "times": QUARTER}, {"to": "*", "do": "delay400", "times": 60})
"""After a quarter of a campaign mails go slowly for some seconds, so that most are not sent yet when a blow falls, however late it does."""
RUNS = "/tools/campaign_send_bulk/runs"
OVER = ("completed", "failed", "cancelled", "quarantined")


@dataclass
class Site:
    """One service with the campaign tool published and customers to write to."""

    service: Service
    smtp: SmtpProcess

    def campaign(self, name: str) -> dict[str, Any]:
        return {"campaign_id": name, "template_id": "news", "recipients": {"collection": "customers"}}

    def accepted(self, since: int) -> list[dict[str, Any]]:
        return self.smtp.accepted()[since:]

    def rows(self, name: str) -> list[dict[str, Any]]:
        return list(self.service.admin.all(f"/ledgers/campaigns/{name}"))

    def over(self, run_id: str) -> dict[str, Any] | None:
        """The run once it is over; None while it is not, or while nobody answers."""
        try:
            run: dict[str, Any] = self.service.admin.get(f"/runs/{run_id}")
        except httpx2.HTTPError:
            return None
        return run if run["state"] in OVER else None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("kills")
    release_campaign(folder / "home")
    smtp = start_smtp(folder, "--delay-ms", "15")
    service = start_service(folder / "home", None, TOOLMINT_SMTP_URL=smtp.url)
    made = Site(service, smtp)
    try:
        import_customers(service, RECIPIENTS)
        yield made
    finally:
        made.service.stop()
        smtp.stop()


def judge(site: Site, name: str, since: int) -> None:
    """Every recipient is done or a named unknown; nobody was written to twice; what is done was accepted; the rest is resolved."""
    rows = site.rows(name)
    accepted = site.accepted(since)
    states = Counter(row["state"] for row in rows)
    assert states["done"] + states["unknown"] == RECIPIENTS == len(rows), states
    assert states["unknown"] <= 10, "at most the sends in flight"
    assert max(Counter(line["to"] for line in accepted).values()) == 1
    assert {row["subject"] for row in rows if row["state"] == "done"} <= {line["to"] for line in accepted}
    for row in rows:
        if row["state"] == "unknown":
            known = row["subject"] in {line["to"] for line in accepted}
            body = {"verdict": "confirm_done" if known else "retry", "reason": "looked up in the mail server's log"}
            site.service.admin.post(f"/effects/{row['effect_id']}/resolutions", body)
    until(lambda: all(row["state"] == "done" for row in site.rows(name)), 30, "every recipient is done")
    assert sorted(line["to"] for line in site.accepted(since)) == sorted(row["subject"] for row in rows)


def pace(site: Site) -> int:
    """Have the next campaign's mails go at PACE; returns where they begin in the log."""
    site.smtp.rule(*PACE)
    return len(site.smtp.accepted())


def begin(site: Site, name: str) -> tuple[str, int]:
    """A campaign in a worker, once a quarter of it is sent; its run and where its mails begin in the log."""
    since = pace(site)
    run: dict[str, Any] = site.service.admin.post(RUNS, {"args": site.campaign(name), "wait_s": 0})
    until(lambda: len(site.accepted(since)) >= QUARTER, 60, "sends are under way")
    return run["id"], since


def test_a_killed_worker_resumes_without_repeating_an_effect(site: Site) -> None:
    run_id, since = begin(site, "worker")
    os.kill(site.service.process.pid("worker"), signal.SIGKILL)
    run = until(lambda: site.over(run_id), 60, "the run is over")
    assert (run["state"], run["crashes"]) == ("completed", 1)
    judge(site, "worker", since)


def test_a_killed_web_process_leaves_its_run_to_a_worker(site: Site) -> None:
    since = pace(site)
    body = {"args": site.campaign("web"), "wait_s": 60}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: site.service.admin.post(RUNS, body, headers={"Idempotency-Key": "web-1"}))
        until(lambda: len(site.accepted(since)) >= QUARTER, 60, "sends are under way")
        os.kill(site.service.process.pid("web"), signal.SIGKILL)
        with pytest.raises(httpx2.HTTPError):
            waiting.result(60)
    until(lambda: _answers(site), 60, "the web process is back")
    again = until(lambda: _call(site, body), 60, "the same call answers")
    run = until(lambda: site.over(again["id"]), 60, "the run is over")
    assert (run["state"], run["crashes"]) == ("completed", 1)
    judge(site, "web", since)


def _answers(site: Site) -> bool:
    return site.service.process.get("/readyz", 2)[0] == 200


def _call(site: Site, body: dict[str, Any]) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = site.service.admin.post(RUNS, body, headers={"Idempotency-Key": "web-1"})
    except httpx2.HTTPError:
        return None
    return answer


def test_redis_killed_during_a_run_costs_nothing_but_time(site: Site) -> None:
    run_id, since = begin(site, "redis")
    os.kill(site.service.process.pid("redis"), signal.SIGKILL)
    run = until(lambda: site.over(run_id), 60, "the run is over")
    assert (run["state"], run["crashes"]) == ("completed", 0)
    until(lambda: _answers(site), 60, "Redis is back")
    judge(site, "redis", since)


def test_everything_killed_and_started_again_goes_on_where_it_was(site: Site) -> None:
    run_id, since = begin(site, "all")
    old = site.service
    old.client.close()
    old.process.supervisor.kill()
    until(lambda: not any(map(_lives, (old.process.pid("web"), old.process.pid("worker")))), 30, "its children are gone")
    site.service = start_service(old.home, old.process.port, TOOLMINT_SMTP_URL=site.smtp.url)
    run = until(lambda: site.over(run_id), 60, "the run is over")
    assert run["state"] == "completed" and run["crashes"] >= 1
    judge(site, "all", since)


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_an_orderly_stop_leaves_no_unknown(site: Site) -> None:
    run_id, since = begin(site, "orderly")
    old = site.service
    old.stop()
    site.service = start_service(old.home, old.process.port, TOOLMINT_SMTP_URL=site.smtp.url)
    run = until(lambda: site.over(run_id), 60, "the run is over")
    assert (run["state"], run["crashes"]) == ("completed", 0)
    assert {row["state"] for row in site.rows("orderly")} == {"done"}
    judge(site, "orderly", since)
