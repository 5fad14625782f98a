"""Approvals of calls: bound to one plan, decided by another actor, used up once, enforced during the run; each refusal has its code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from app.core.actor import Actor
from app.core.clock import SystemClock
from app.core.db import Database
from app.core.errors import Conflict, Forbidden, NotFound, ToolmintError
from app.invocation.answers import RunAnswer
from app.invocation.approvals import ask_approval, decide_approval, list_approvals, read_approval
from app.invocation.calling import Waiting, call_tool
from app.observability.models import AuditEvent
from app.records.reading import list_records
from app.records.writing import put_record
from app.registry.channels import roll_back
from app.runtime import views
from app.runtime.models import RunBound
from app.sandbox.sandbox import Sandbox
from tests.support.published import CALLER, OPERATOR, House, counter_spec, house, release, release_sender
from tests.support.worlds import sender_spec

pytestmark = pytest.mark.anyio
AGENT = Actor("key_agent", "agent", "default", frozenset({"approval:tools:call"}))
BOSS = Actor("key_boss", "boss", "default", frozenset({"calls:approve"}))
ARGS = {"group": "g", "to": ["a@example.com", "b@example.com"]}
SECOND_THOUGHTS = """
def run(args, ctx):
    sent = ctx.perform("send", {"to": args["to"][0], "subject": "Hello", "text": "Hi"})
    if "simulated" not in (sent.receipt or {}):
        ctx.perform("send", {"to": "somebody.else@example.com", "subject": "Hello", "text": "Hi"})
    return {"done": 1}
"""
DATED = """
def run(args, ctx):
    for to in args["to"]:
        ctx.perform("send", {"to": to, "subject": ctx.new_id()[:8], "text": f"{ctx.now().isoformat()} {ctx.random.random()}"})
    return {"done": len(args["to"])}
"""


class Ahead(SystemClock):
    """The system's clock, set ahead by some ms."""

    ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


@pytest.fixture
async def h(sqlite_database: Database, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[House]:
    async with house(sqlite_database, sandbox, tmp_path / "tools") as made:
        await asyncio.to_thread(release_sender, made.catalog)
        yield made


async def asked(h: House, actor: Actor = AGENT, args: dict[str, Any] = ARGS, ttl_s: int = 3600) -> dict[str, Any]:
    dry = await call_tool(actor, h.calls, "send_notes", args, dry_run=True)
    return await asyncio.to_thread(ask_approval, actor, h.calls, dry.body["id"], "for the spring campaign", ttl_s)


async def approved(h: House, **how: Any) -> str:
    request = await asked(h, **how)
    decided = decide_approval(BOSS, h.database, request["id"], "approve", "the list is right")
    assert decided["state"] == "approved"
    return str(request["id"])


async def call(h: House, approval: str | None, args: dict[str, Any] = ARGS, actor: Actor = AGENT, **how: Any) -> RunAnswer:
    return await call_tool(actor, h.calls, "send_notes", args, approval=approval, **how)


async def refused(
    code: str, h: House, approval: str | None, args: dict[str, Any] = ARGS, actor: Actor = AGENT, **how: Any
) -> ToolmintError:
    """The call is refused with this code, its refusal is on record, nothing is sent and no real run has begun."""
    before = len(h.connectors.performed), real_runs(h)
    with pytest.raises(ToolmintError) as caught:
        await call(h, approval, args, actor, **how)
    assert caught.value.code == code and caught.value.fix
    assert (len(h.connectors.performed), real_runs(h)) == before
    with h.database.reading() as session:
        told = session.exec(select(AuditEvent).where(AuditEvent.action == "tool.called").order_by(col(AuditEvent.id).desc())).first()
    assert told is not None and (told.outcome, (told.body or {})["code"]) == ("refused", code)
    return caught.value


def real_runs(h: House) -> int:
    return sum(not run["dry_run"] for run in views.list_runs(OPERATOR, h.database)["items"])


def events(h: House, prefix: str) -> list[tuple[str, str]]:
    with h.database.reading() as session:
        rows = session.exec(select(AuditEvent).where(col(AuditEvent.action).startswith(prefix)).order_by(col(AuditEvent.id))).all()
    return [(row.action, row.outcome) for row in rows]


async def test_a_key_that_may_ask_calls_with_the_approval_of_another_actor(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_sender, h.catalog)
        dry = await call_tool(AGENT, h.calls, "send_notes", ARGS, dry_run=True)
        assert dry.body["needs_approval"] is True and dry.body["plan_summary"]["counts"] == {"send": {"perform": 2}}
        await refused("approval_required", h, None)
        request = await asyncio.to_thread(ask_approval, AGENT, h.calls, dry.body["id"], "for the spring campaign")
        assert (request["state"], request["plan_digest"]) == ("waiting", dry.body["plan_summary"]["digest"])
        assert (await refused("approval_required", h, request["id"])).retryable
        seen = read_approval(BOSS, h.database, request["id"])
        assert seen["args"] == ARGS and [step["would"] for step in seen["plan"]] == ["perform", "perform"]
        decide_approval(BOSS, h.database, request["id"], "approve", "the list is right")
        answer = await call(h, request["id"])
        assert (answer.body["state"], answer.body["approval"], answer.body["result"]["done"]) == ("completed", request["id"], 2)
        assert len(h.connectors.performed) == 2
        after = read_approval(AGENT, h.database, request["id"])
        assert (after["state"], after["run_id"], after["decided_by"]) == ("used", answer.body["id"], BOSS.id)
        assert events(h, "approval.") == [("approval.requested", "done"), ("approval.decided", "done"), ("approval.used", "done")]
        with h.database.reading() as session:
            assert session.exec(select(RunBound)).all() == []


async def test_an_approval_is_good_for_one_run_also_for_two_calls_at_once(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_sender, h.catalog)
        approval = await approved(h)
        found = await asyncio.gather(call(h, approval), call(h, approval), return_exceptions=True)
        runs = [answer.body["id"] for answer in found if isinstance(answer, RunAnswer)]
        refusals = [error for error in found if isinstance(error, ToolmintError)]
        assert len(runs) == 1 and [error.code for error in refusals] in (["approval_used"], ["approval_stale"])
        error = await refused("approval_used", h, approval)
        assert error.data["run_id"] == runs[0] and len(h.connectors.performed) == 2


async def test_a_repeated_call_with_its_key_gets_the_first_answer_without_another_approval(h: House) -> None:
    approval = await approved(h)
    first = await call(h, approval, key="k")
    for again in (await call(h, approval, key="k"), await call(h, None, key="k")):
        assert (again.body["id"], again.body["replayed"], again.body["result"]) == (first.body["id"], True, first.body["result"])
    await refused("approval_required", h, None, key="another")


async def test_an_approval_expires(database: Database, sandbox: Sandbox, tmp_path: Path, clock: Ahead) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release_sender, h.catalog)
        approval, waiting = await approved(h, ttl_s=60), await asked(h, args={**ARGS, "group": "late"}, ttl_s=60)
        clock.ahead = 60_000
        await refused("approval_expired", h, approval)
        with pytest.raises(Conflict, match="approval_expired"):
            decide_approval(BOSS, h.database, waiting["id"], "approve", "too late")
        assert {row["state"] for row in list_approvals(BOSS, h.database, state="expired")["items"]} == {"expired"}
        assert list_approvals(BOSS, h.database, state="approved")["items"] == []


@pytest.mark.parametrize(
    ("differs", "args", "permissions", "version"),
    [
        ("args", {**ARGS, "subject": "Bye"}, None, None),
        ("actor", ARGS, frozenset({"approval:tools:call"}), None),
        ("version", ARGS, None, 2),
        ("policy", ARGS, frozenset({"tools:call"}), None),
    ],
)
async def test_an_approval_of_another_call_is_no_approval_of_this_one(
    h: House, differs: str, args: dict[str, Any], permissions: frozenset[str] | None, version: int | None
) -> None:
    approval = await approved(h)
    await asyncio.to_thread(release_sender, h.catalog, _title="Send notes, again")
    actor = AGENT if permissions is None else Actor("key_agent" if differs == "policy" else "key_twin", "twin", "default", permissions)
    error = await refused("approval_mismatch", h, approval, args, actor, version=version)
    assert f"$.{differs}" in [problem.path for problem in error.problems]
    answer = await call(h, approval)
    assert (answer.body["state"], answer.body["version"]) == ("completed", 1)


async def test_an_approval_of_another_tool_or_none_at_all_is_refused(h: House) -> None:
    await asyncio.to_thread(release, h.catalog, sender_spec(_name="send_others"))
    approval = await approved(h)
    with pytest.raises(Conflict, match="approval_mismatch"):
        await call_tool(AGENT, h.calls, "send_others", ARGS, approval=approval)
    await refused("approval_not_found", h, "leave_none")
    elsewhere = Actor("key_agent", "agent", "another", AGENT.permissions)
    with pytest.raises(NotFound, match="approval_not_found"):
        read_approval(elsewhere, h.database, approval)


async def test_a_plan_that_the_world_has_overtaken_is_refused(h: House) -> None:
    approval = await approved(h)
    await call_tool(CALLER, h.calls, "send_notes", {**ARGS, "to": ["b@example.com"]})
    error = await refused("approval_stale", h, approval)
    assert "1 perform, 1 skip" in error.detail and error.data["run_id"]
    assert read_approval(AGENT, h.database, approval)["state"] == "approved"


async def test_a_plan_that_could_not_be_made_again_is_no_reason_to_ask_for_another_approval(h: House) -> None:
    approval, engine = await approved(h), h.calls.runtime.engine
    sandbox, engine.sandbox = engine.sandbox, _Broken()
    error = await refused("approval_unchecked", h, approval)
    assert error.retryable
    engine.sandbox = sandbox
    assert (await call(h, approval)).body["state"] == "completed"


class _Broken:
    """A sandbox with a bug of ours."""

    async def session(self, *_tool: Any) -> Any:
        raise RuntimeError("a bug of ours")


async def test_nobody_decides_on_a_call_of_its_own_and_no_one_decides_twice(h: House) -> None:
    both = Actor(AGENT.id, "agent", "default", AGENT.permissions | {"calls:approve"})
    request = await asked(h)
    with pytest.raises(Forbidden, match="self_approval"):
        decide_approval(both, h.database, request["id"], "approve", "mine")
    with pytest.raises(Forbidden, match="permission_denied"):
        decide_approval(CALLER, h.database, request["id"], "approve", "not mine to give")
    decide_approval(BOSS, h.database, request["id"], "approve", "fine")
    with pytest.raises(Conflict, match="approval_settled"):
        decide_approval(BOSS, h.database, request["id"], "approve", "fine")
    decide_approval(BOSS, h.database, request["id"], "reject", "on second thought")
    await refused("approval_rejected", h, request["id"])
    assert ("approval.decided", "refused") in events(h, "approval.")


async def test_an_approval_is_asked_for_ones_own_dry_run_and_once(h: House) -> None:
    request = await asked(h)
    again = await asyncio.to_thread(ask_approval, AGENT, h.calls, request["dry_run"])
    assert again["id"] == request["id"]
    with pytest.raises(Forbidden, match="run_of_another"):
        ask_approval(CALLER, h.calls, request["dry_run"])
    real = await call_tool(CALLER, h.calls, "send_notes", ARGS)
    with pytest.raises(Conflict, match="no_plan"):
        ask_approval(CALLER, h.calls, real.body["id"])
    nothing = await call_tool(CALLER, h.calls, "send_notes", {"group": "g", "to": []}, dry_run=True)
    with pytest.raises(Conflict, match="no_plan"):
        ask_approval(CALLER, h.calls, nothing.body["id"])
    with pytest.raises(NotFound, match="run_not_found"):
        ask_approval(AGENT, h.calls, "run_none")
    stranger = Actor("key_stranger", "stranger", "default", frozenset())
    assert list_approvals(stranger, h.database)["items"] == [] and len(list_approvals(BOSS, h.database)["items"]) == 1


async def test_a_run_stops_before_an_effect_that_is_not_in_its_plan(h: House) -> None:
    await asyncio.to_thread(release, h.catalog, sender_spec(), SECOND_THOUGHTS)
    approval = await approved(h)
    answer = await call(h, approval)
    assert (answer.body["state"], answer.body["error"]["code"]) == ("failed", "effect_not_approved")
    assert answer.body["effects"]["send"]["done"] == 1 and answer.body["effects"]["send"]["distinct"] == 1
    assert [sent.item["to"] for sent in h.connectors.performed] == ["a@example.com"]


async def test_what_is_done_is_what_was_planned_down_to_times_ids_and_chance(h: House) -> None:
    await asyncio.to_thread(release, h.catalog, sender_spec(), DATED)
    approval = await approved(h)
    planned = [step["item"] for step in read_approval(BOSS, h.database, approval)["plan"]]
    answer = await call(h, approval)
    assert answer.body["state"] == "completed"
    assert [sent.item for sent in h.connectors.performed] == planned


async def test_an_approved_run_is_held_to_its_plan_also_by_the_worker_that_goes_on_with_it(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with house(database, sandbox, tmp_path / "tools") as h:
        await asyncio.to_thread(release, h.catalog, sender_spec(), SECOND_THOUGHTS)
        approval = await approved(h)
        handle = await call(h, approval, waiting=Waiting(0))
        assert not handle.over and handle.body["approval"] == approval
        ending = await h.runtime.execute(handle.body["id"])
        assert ending is not None and ending.error is not None and ending.error["code"] == "effect_not_approved"
        assert len(h.connectors.performed) == 1


async def test_a_permission_of_the_spec_may_be_held_for_approved_calls_only(h: House) -> None:
    await asyncio.to_thread(release_sender, h.catalog, _permissions=["notes:send"])
    agent = Actor("key_agent", "agent", "default", frozenset({"tools:call", "approval:notes:send"}))
    request = await asked(h, actor=agent)
    assert request["policy"] == ["notes:send"]
    await refused("approval_required", h, None, actor=agent)
    decide_approval(BOSS, h.database, request["id"], "approve", "fine")
    assert (await call(h, request["id"], actor=agent)).body["state"] == "completed"
    assert views.list_runs(agent, h.database)["items"] and not views.list_runs(CALLER, h.database)["items"]


async def test_what_has_no_effect_needs_no_approval_and_who_needs_none_may_still_carry_one(h: House) -> None:
    await asyncio.to_thread(release, h.catalog, counter_spec())
    assert (await call_tool(AGENT, h.calls, "count_notes", ARGS)).body["state"] == "completed"
    approval = await approved(h, actor=CALLER)
    assert (await call(h, approval, actor=CALLER)).body["approval"] == approval
    await refused("approval_used", h, approval, actor=CALLER)


async def test_an_approved_plan_of_local_effects_is_carried_out(h: House) -> None:
    local = sender_spec(
        connector="records.put",
        config={"collection": "notes"},
        key="[args.group, item.key]",
        ledger={"name": "notes", "group": "args.group", "subject": "item.key"},
    )
    source = """
def run(args, ctx):
    done = 0
    for to in args["to"]:
        done += ctx.perform("send", {"key": to, "body": {"at": ctx.now().isoformat()}}).status == "done"
    return {"done": done}
"""
    await asyncio.to_thread(release, h.catalog, local, source)
    await asyncio.to_thread(put_record, Actor("s", "s", "default", frozenset({"*"})), h.database, "notes", "c@example.com", {})
    approval = await approved(h)
    assert (await call(h, approval)).body["result"] == {"done": 2}
    keys = [view.key for view in list_records(Actor("s", "s", "default", frozenset({"*"})), h.database, "notes").items]
    assert keys == ["a@example.com", "b@example.com", "c@example.com"]


async def test_after_a_roll_back_an_approval_still_means_the_version_that_it_names(h: House) -> None:
    await asyncio.to_thread(release_sender, h.catalog, _title="Send notes, again")
    approval = await approved(h)
    await asyncio.to_thread(roll_back, OPERATOR, h.catalog, "send_notes", "it was better before")
    answer = await call(h, approval)
    assert (answer.body["version"], answer.body["state"]) == (2, "completed")
