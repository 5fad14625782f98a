"""Approvals of calls: the list, one with its arguments and plan, asking, the decision, and the run that it lets happen."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from app.core.errors import Conflict, Forbidden, Invalid, ToolmintError
from app.invocation.approvals import APPROVE, STATES, ask_approval, decide_approval, list_approvals, needs_approval, read_approval
from app.invocation.calling import Waiting, call_tool
from app.runtime.views import read_run
from app.web.desk import At, Desk
from app.web.listing import PAGE, listing
from app.web.live import stream

router = APIRouter()
RUN_WAIT_S = 2.0
OPEN = frozenset({"waiting", "approved"})


@router.get("/approvals")
def index(desk: At) -> Response:
    view = listing(desk, "/approvals", "tool", "state")
    given = view.given
    found = list_approvals(desk.actor, desk.database, state=given("state"), tool=given("tool"), cursor=view.cursor or None, limit=PAGE)
    return desk.show("approvals/index.html", part="approvals/_rows.html", view=view, found=found, states=STATES)


@router.get("/approvals/{approval_id}")
def show(desk: At, approval_id: str) -> Response:
    return _page(desk, approval_id)


@router.get("/approvals/{approval_id}/events")
def events(desk: At, approval_id: str) -> Response:
    read_approval(desk.actor, desk.database, approval_id)
    return stream(desk, lambda signal: signal.subject == approval_id, partial(_snapshot, desk, approval_id))


@router.post("/runs/{run_id}/approvals")
def ask(desk: At, run_id: str) -> Response:
    made = ask_approval(desk.actor, desk.services.calls, run_id, desk.form["note"])
    desk.services.feed.nudge()
    return desk.moved(f"/approvals/{made['id']}", "Another actor can decide now.")


@router.post("/approvals/{approval_id}/decisions")
def decide(desk: At, approval_id: str) -> Response:
    try:
        decide_approval(desk.actor, desk.database, approval_id, desk.form["decision"], desk.form["reason"])
    except (Invalid, Conflict, Forbidden) as error:
        return _page(desk, approval_id, error)
    desk.services.feed.nudge()
    return desk.moved(f"/approvals/{approval_id}", "Your decision is recorded.")


@router.post("/approvals/{approval_id}/runs")
async def begin(desk: At, approval_id: str) -> Response:
    approval = await run_in_threadpool(read_approval, desk.actor, desk.database, approval_id)
    waiting = Waiting(wait_s=RUN_WAIT_S)
    try:
        answer = await call_tool(
            desk.actor, desk.services.calls, approval["tool"], approval["args"], approval=approval_id, source="dashboard", waiting=waiting
        )
    except ToolmintError as error:
        return await run_in_threadpool(_page, desk, approval_id, error)
    return desk.moved(f"/runs/{answer.body['id']}")


def asks(desk: Desk, run: dict[str, Any]) -> bool:
    """Whether this is a dry run of the actor's own whose call would need an approval."""
    if not run["dry_run"] or run["actor"] != desk.actor.id or not (run["plan_summary"] or {}).get("total"):
        return False
    try:
        spec = desk.services.catalog.load(desk.actor.tenant, run["tool"], run["version"]).spec
    except ToolmintError:  # withdrawn or altered since: there is nothing to ask for
        return False
    return needs_approval(desk.actor, spec)


def _page(desk: Desk, approval_id: str, error: ToolmintError | None = None) -> Response:
    return desk.show("approvals/page.html", status=error.status if error else 200, error=error, sent=desk.form, **_whole(desk, approval_id))


def _whole(desk: Desk, approval_id: str) -> dict[str, Any]:
    approval = read_approval(desk.actor, desk.database, approval_id)
    dry = read_run(desk.actor, desk.database, approval["dry_run"])
    may_decide = desk.actor.may(APPROVE) and approval["actor"] != desk.actor.id
    return {"approval": approval, "dry": dry, "open": approval["state"] in OPEN, "may_decide": may_decide}


def _snapshot(desk: Desk, approval_id: str) -> tuple[str, bool]:
    values = _whole(desk, approval_id)
    return desk.render("approvals/_live.html", error=None, sent=desk.form, **values), not values["open"]
