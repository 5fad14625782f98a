"""The retry queue, redrives and their rest need no Redis: what is due is in the tables, and a sweeper looks there."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.composition import Services
from app.core.actor import DEFAULT_TENANT, Actor
from app.core.settings import Settings
from app.invocation.calling import call_tool
from app.runtime.redrives import Selection, read_decision, redrive_effects
from app.runtime.views import count_ledger, read_effect, read_ledger
from jobs.carry_out_decision import carry_out_decision
from jobs.floor import Stage
from jobs.maintenance import CHORES
from jobs.work_queue import work_queue
from tests.durability.worker.test_wakeups import Server, services_of, worker
from tests.support.published import CALLER, release_sender
from tests.support.smtp import SmtpProcess, start_smtp
from tests.support.waiting import until_async

pytestmark = pytest.mark.anyio
OPERATOR = Actor("key_operator", "operator", DEFAULT_TENANT, frozenset({"effects:resolve"}))
STAGES = {
    "work_queue": Stage(work_queue, lambda _settings: 1),
    "carry_out_decision": Stage(carry_out_decision, lambda _settings: 1),
}
SWEEPING = [chore for chore in CHORES if chore.name in ("look for effects that are due", "go on with decisions about many effects")]
RETRY = {"max_attempts": 2, "initial_delay_s": 0.1, "factor": 1, "max_delay_s": 0.1}
SMTP_RULES = [{"to": "slow*", "do": "data451", "times": 1}, {"to": "dead*", "do": "reject450"}]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[SmtpProcess]:
    server = start_smtp(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def settings(tmp_path: Path, smtp: SmtpProcess) -> Settings:
    return Settings(home=tmp_path / "home", tools_dir=tmp_path / "tools", smtp_url=smtp.url, circuit_failures=0)


@pytest.fixture
def redis(settings: Settings) -> Iterator[Server]:
    server = Server(settings)
    yield server
    server.kill()


def ledger(services: Services) -> dict[str, dict[str, Any]]:
    return {row["subject"]: row for row in read_ledger(CALLER, services.database, "notes", "g")["items"]}


def states(services: Services) -> dict[str, int]:
    return count_ledger(CALLER, services.database, "notes", "g")


async def sent(services: Services, *to: str) -> None:
    await asyncio.to_thread(release_sender, services.catalog, retry=RETRY)
    answer = await call_tool(CALLER, services.calls, "send_notes", {"group": "g", "to": list(to)})
    assert answer.body["state"] == "completed"


async def test_retries_are_worked_though_all_of_redis_is_lost(settings: Settings, smtp: SmtpProcess, redis: Server) -> None:
    smtp.rules.write_text(json.dumps(SMTP_RULES))
    redis.start()
    slow = "slow.anna@example.com"
    async with services_of(settings) as services:
        async with worker(services, STAGES, listens=False):
            await sent(services, slow, "bert@example.com")
            row = ledger(services)[slow]
            assert (row["state"], row["attempts"], row["error"]["code"]) == ("retry_wait", 1, "smtp_451")
            assert read_effect(CALLER, services.database, row["effect_id"])["next_at"] is not None, "it shows when the next attempt is"
            redis.forget_everything()
            redis.kill()
        async with worker(services, STAGES, SWEEPING):
            await until_async(lambda: states(services) == {"done": 2}, 15, "the sweeper has it tried again")
    assert sorted(line["to"] for line in smtp.accepted()) == ["bert@example.com", slow]


async def test_a_redrive_that_is_half_done_goes_on_without_redis(settings: Settings, smtp: SmtpProcess) -> None:
    dead = [f"dead{number}@example.com" for number in range(700)]
    smtp.rules.write_text(json.dumps(SMTP_RULES))
    async with services_of(settings) as services:
        async with worker(services, STAGES, SWEEPING):
            await sent(services, *dead)
            await until_async(lambda: states(services) == {"dead": 700}, 40, "all are out of attempts")
        smtp.rules.write_text("[]")
        redrive = redrive_effects(OPERATOR, services.catalog, Selection(tool="send_notes", error_code="smtp_450"), "it takes mail again")
        assert (redrive["count"], redrive["moved"], redrive["state"]) == (700, 500, "running")
        async with worker(services, STAGES, SWEEPING):
            await until_async(lambda: states(services) == {"done": 700}, 40, "the rest is redriven and all are sent")
        read = read_decision(OPERATOR, services.database, redrive["id"])
        assert (read["state"], read["moved"], read["effects"]) == ("completed", 700, {"done": 700})
    assert Counter(line["to"] for line in smtp.accepted()) == Counter(dead), "each once"
