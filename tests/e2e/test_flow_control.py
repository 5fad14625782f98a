"""Flow control over real processes: web, two workers and an SMTP server. Pauses are obeyed within a second, limits kept together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from app.connectors.scripted import scripted
from app.core import migration
from app.core.db import Database
from app.core.signing import Keyring
from app.registry.catalog import Catalog
from tests.e2e.conftest import OVER, refused
from tests.support.mcp_tasks import AT_ONCE, TaskClient
from tests.support.published import release_sender
from tests.support.rates import EARLY_S, early_by
from tests.support.service import Rest, Service, whole_service
from tests.support.smtp import SmtpProcess, start_smtp
from tests.support.stalls import watched
from tests.support.waiting import until

RATE = 60
EACH = 40
MANY = 80  # so that some are left when a pause comes, though the machine stands still for a while before
RUNS = 3


@dataclass
class Flowing:
    """A service with two workers and a tool that sends at most `RATE` mails a second, whoever runs it. `smtp` may be replaced."""

    service: Service
    folder: Path
    smtp: SmtpProcess
    caller: Rest

    def begin(self, group: str, each: int = EACH) -> list[str]:
        """Three runs at once, for the workers; their ids."""
        args = [{"group": group, "to": [f"{group}.{run}.{number}@example.org" for number in range(each)]} for run in range(RUNS)]
        return [self.caller.post("/tools/send_notes/runs", {"args": one, "wait_s": 0})["id"] for one in args]

    def sent(self, group: str) -> list[float]:
        """When the server accepted mails of this group, in seconds."""
        return [line["at"] / 1000 for line in self.smtp.accepted() if line["to"].startswith(f"{group}.")]

    def addressed(self, group: str) -> set[str]:
        return {line["to"] for line in self.smtp.accepted() if line["to"].startswith(f"{group}.")}

    def states(self, runs: list[str]) -> set[str]:
        return {self.service.admin.get(f"/runs/{run}")["state"] for run in runs}

    def over(self, runs: list[str]) -> bool:
        return self.states(runs) <= set(OVER)


@pytest.fixture(scope="module")
def flowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flowing]:
    folder = tmp_path_factory.mktemp("flow")
    home = folder / "home"
    _publish(home)
    smtp = start_smtp(folder)
    try:
        quick = {"TOOLMINT_WORKERS": "2", "TOOLMINT_CIRCUIT_REST_S": "0.5", "TOOLMINT_CIRCUIT_LONGEST_S": "1"}
        with whole_service(home, TOOLMINT_SMTP_URL=smtp.url, **quick) as service:
            flowing = Flowing(service, folder, smtp, service.new_key("caller", "tools:call"))
            yield flowing
            smtp = flowing.smtp
    finally:
        smtp.stop()


def _publish(home: Path) -> None:
    home.mkdir()
    database = Database(f"sqlite:///{home / 'toolmint.db'}")
    migration.migrate(database, home / "backups")
    release_sender(Catalog(database, home / "published", scripted().catalog, Keyring(home)), limits={"per_run": 1000, "per_second": RATE})
    database.close()


def test_two_workers_keep_one_limit_a_second_together(flowing: Flowing) -> None:
    began, begun = time.time(), time.monotonic()
    runs = flowing.begin("rate")
    until(lambda: flowing.over(runs), 60, "all runs are over")
    times = flowing.sent("rate")
    assert len(times) == RUNS * EACH
    assert early_by(times, RATE, began) <= EARLY_S
    assert time.monotonic() - begun < 20 * RUNS * EACH / RATE, "the limit is used"


@pytest.mark.parametrize("path", ["/pause", "/tools/send_notes/pause", "/connectors/email.send/pause"])
def test_every_process_obeys_a_pause_within_a_second_and_nobody_is_left_out_or_sent_to_twice(flowing: Flowing, path: str) -> None:
    group = path.split("/")[1]
    admin = flowing.service.admin
    runs = flowing.begin(group, MANY)
    until(lambda: len(flowing.sent(group)) >= 20, 30, "the runs send")
    with watched() as stalls:
        admin.post(path, {"reason": "the list is wrong"})
        paused_at = time.time()
        try:
            until(lambda: time.time() > paused_at + 1.5, 60, "more than a second has passed")
            until(lambda: flowing.states(runs) <= {"scheduled", "available", "completed"}, what="none is at work")
            times = flowing.sent(group)
            assert [at for at in times if at > paused_at + 1 + stalls.within(paused_at, at)] == [] and len(times) < RUNS * MANY
            if "connectors" not in path:
                refused(lambda: flowing.begin("refused"), 503, "paused")
        finally:
            admin.call("DELETE", path)
    until(lambda: flowing.over(runs), 60, "all runs are over")
    assert flowing.states(runs) == {"completed"}
    assert len(flowing.sent(group)) == RUNS * MANY == len(flowing.addressed(group))


def test_a_server_that_is_away_costs_few_attempts_and_gets_every_mail_once_when_it_is_back(flowing: Flowing) -> None:
    admin, port = flowing.service.admin, flowing.smtp.port
    flowing.smtp.stop()
    try:
        runs = flowing.begin("away")
        until(lambda: flowing.over(runs), 60, "the runs complete without it")
        assert all(admin.get(f"/runs/{run}")["result"]["retrying"] == EACH for run in runs)
        rows = [row for row in admin.all("/effects", state="retry_wait") if row["subject"].startswith("away.")]
        assert sum(row["attempts"] for row in rows) < len(rows), "most were not tried at all"
        (mail,) = [row for row in admin.get("/connectors")["items"] if row["name"] == "email.send"]
        assert mail["circuit"] in ("open", "half_open") and mail["circuits"][0]["tool"] == "send_notes"
        assert 'toolmint_open_circuits{connector="email.send"} 1.0' in flowing.service.process.get("/metrics")[1].decode()
    finally:
        flowing.smtp = start_smtp(flowing.folder, port=port)
    until(lambda: len(flowing.addressed("away")) == RUNS * EACH, 60, "everybody is sent to")
    assert len(flowing.sent("away")) == RUNS * EACH
    until(lambda: all(row["circuit"] == "closed" for row in admin.get("/connectors")["items"]), 10, "the circuit is closed")
    actions = [event["action"] for event in admin.get("/audit", limit=500)["items"] if event["action"].startswith("circuit.")]
    assert actions[0] == "circuit.closed" and "circuit.opened" in actions


@pytest.mark.anyio
async def test_a_call_that_a_worker_takes_over_is_a_task_and_ends_with_the_result_of_the_call(flowing: Flowing) -> None:
    knows, to = TaskClient(), [f"task.{number}@example.org" for number in range(5)]
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {flowing.caller.key}"}, timeout=60) as http,
        Client(streamable_http_client(f"{flowing.service.url}/mcp", http_client=http), extensions=[knows]) as client,
    ):
        answer = await client.call_tool("send_notes", {"group": "task", "to": to}, meta=AT_ONCE)
    assert [(task.status, task.status_message) for task in knows.met] == [("working", "The run goes on.")]
    assert not answer.is_error and answer.structured_content["done"] == 5 and flowing.addressed("task") == set(to)
    assert (answer.meta or {})["toolmint/ledgerCounts"]["send"]["done"] == 5
