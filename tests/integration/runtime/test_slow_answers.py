"""Requests that take long, over real HTTP: their answers are waited for beyond a lease, and doubts are as old as they may get."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.core import owners
from app.core.clock import ScriptedClock
from app.core.db import Database
from app.runtime import lookups
from app.runtime.performing import EFFECT_TIMEOUT_MS
from app.runtime.process import Call
from app.runtime.queue import work_queue
from app.runtime.recovery import sweep
from app.runtime.values import LEASE_MARGIN_MS
from app.sandbox.sandbox import Sandbox
from tests.integration.connectors.test_connected_tools import API, ORDERS, Shop, name_orders_api, shop
from tests.support.http_server import Answer, HttpServer, http_server
from tests.support.waiting import until_async as until
from tests.support.worlds import CALLER, program_of, sender_spec

pytestmark = pytest.mark.anyio
ASKING = {**API, "lookup": {"url": "/by-key/{effect_id}"}}
GATEWAY_GAVE_UP: Answer = 504, {}, b""
NOT_THERE: Answer = 404, {}, b""


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as made:
        yield made


@pytest.fixture
def clock() -> ScriptedClock:
    return ScriptedClock()


class Provider:
    """The shop's provider: a gateway in front of it gave up, and what it knows of an order is asked for by its key."""

    def __init__(self, server: HttpServer, here: Shop, clock: ScriptedClock) -> None:
        self.server, self.here, self.clock = server, here, clock
        server.cues[f"/v1/by-key/{here.effects()[0]['message_id']}"] = NOT_THERE

    def finishes(self) -> None:
        """The order is there now."""
        self.server.cues[f"/v1/by-key/{self.here.effects()[0]['message_id']}"] = 200, {"Content-Type": "application/json"}, b'{"id": "o-9"}'

    @property
    def orders(self) -> int:
        """How many were asked for."""
        return sum(heard.method == "POST" for heard in self.server.heard)

    async def after(self, ms: int) -> str:
        """The effect's state after so long, and after everybody who might send it round again has looked."""
        self.clock.advance(ms)
        runtime = self.here.runtime
        await until(lambda: runtime.engine.covered_until(runtime.owner) > self.clock.monotonic(), what="the leap's lease is renewed")
        await lookups.look_up_due(runtime)
        await work_queue(runtime)
        state: str = self.here.effects()[0]["state"]
        return state


@asynccontextmanager
async def given_up(database: Database, sandbox: Sandbox, home: Path, server: HttpServer, clock: ScriptedClock) -> AsyncIterator[Provider]:
    """The provider once an order was asked for, whose gateway gave up."""
    name_orders_api(database, home, server)
    server.cues["/v1/orders"] = GATEWAY_GAVE_UP
    program = program_of(sender_spec(connector="http.request", config=ASKING, key="[item.json.no]", ledger=None), ORDERS)
    async with shop(database, sandbox, home, program) as here:
        assert await here.run(group="/orders", to=["a"]) == {"unknown": 1}
        yield Provider(server, here, clock)


async def test_an_answer_that_takes_longer_than_the_lease_is_waited_for_while_that_is_renewed_and_nobody_takes_it_for_lost(
    database_url: str, sandbox: Sandbox, tmp_path: Path, server: HttpServer
) -> None:
    database = Database(database_url, durable=False)
    name_orders_api(database, tmp_path, server)
    released = server.slow["/v1/orders"] = threading.Event()
    program = program_of(sender_spec(connector="http.request", config=API, key="[item.json.no]", ledger=None), ORDERS)
    async with shop(database, sandbox, tmp_path, program, lease_s=1.6) as here:
        running = asyncio.create_task(here.run(group="/orders", to=["a"]))
        try:
            await until(lambda: server.heard, what="the request has left")
            covered = here.runtime.engine.covered_until(here.runtime.owner) + LEASE_MARGIN_MS
            await until(lambda: database.clock.monotonic() > covered, what="the lease under which it left would be over")
            assert sweep(database) == [] and here.effects()[0]["state"] == "performing"
        finally:
            released.set()
        assert await running == {"done": 1}
    assert len(server.heard) == 1
    database.close()


async def test_an_answer_that_comes_when_another_process_has_taken_it_for_lost_changes_nothing_and_nothing_is_sent_again(
    database_url: str, sandbox: Sandbox, tmp_path: Path, server: HttpServer
) -> None:
    database = Database(database_url, durable=False)
    name_orders_api(database, tmp_path, server)
    released = server.slow["/v1/orders"] = threading.Event()
    program = program_of(sender_spec(connector="http.request", config=API, key="[item.json.no]", ledger=None), ORDERS)
    async with shop(database, sandbox, tmp_path, program) as here:
        _, execution = await here.runtime.begin(CALLER, program, Call({"group": "/orders", "to": ["a"]}))
        assert execution is not None
        running = asyncio.create_task(here.runtime.drive(execution))
        try:
            await until(lambda: server.heard, what="the request has left")
            former = here.runtime.owner
            owners.void(database, owner=former)
            (waits,) = sweep(database)
            assert here.effects()[0]["state"] == "unknown"
        finally:
            released.set()
        assert (await running).state == "lost"
        assert here.effects()[0]["state"] == "unknown", "the late answer is fenced out"
        await until(lambda: here.runtime.owner != former, what="the process is an owner again")
        again = await here.runtime.execute(waits)
        assert again is not None and again.result is not None and again.result["unknown"] == 1
    assert len(server.heard) == 1
    database.close()


async def test_a_request_that_a_provider_may_still_be_at_is_not_sent_again_though_it_knows_of_none(
    database: Database, sandbox: Sandbox, tmp_path: Path, server: HttpServer, clock: ScriptedClock
) -> None:
    async with given_up(database, sandbox, tmp_path, server, clock) as provider:
        for part in range(4):
            state = await provider.after(EFFECT_TIMEOUT_MS // 4 - 50)
            assert (state, provider.orders) == ("unknown", 1), f"after {part + 1} quarters of what it may take"
        provider.finishes()
        assert await provider.after(1000) == "done" and provider.orders == 1


async def test_what_a_provider_knows_nothing_of_when_it_must_have_ended_is_sent_again_under_its_key(
    database: Database, sandbox: Sandbox, tmp_path: Path, server: HttpServer, clock: ScriptedClock
) -> None:
    async with given_up(database, sandbox, tmp_path, server, clock) as provider:
        assert await provider.after(lookups.FIRST_MS) == "unknown"
        del server.cues["/v1/orders"]
        assert await provider.after(EFFECT_TIMEOUT_MS) == "done" and provider.orders == 2
    assert len({heard.headers["idempotency-key"] for heard in server.heard if heard.method == "POST"}) == 1
