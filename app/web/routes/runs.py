"""Runs: the list, one run with its steps, and its cancellation."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from app.core.errors import Conflict, Forbidden, Limited
from app.runtime.decisions import cancel_run
from app.runtime.replay import list_replays, request_replay
from app.runtime.state import OPEN_RUNS, RUN_MOVES
from app.runtime.views import list_runs, read_arguments, read_logs, read_run, read_steps
from app.web.desk import At, Desk
from app.web.drawing import timeline
from app.web.formats import pretty
from app.web.listing import PAGE, listing
from app.web.live import stream
from app.web.routes.approvals import asks

router = APIRouter()
STATES = [state for state in RUN_MOVES if state != "new"]
STEPS = 200
MOST_TEXT = 20_000


@router.get("/runs")
def index(desk: At) -> Response:
    view = listing(desk, "/runs", "tool", "state")
    found = list_runs(desk.actor, desk.database, tool=view.given("tool"), state=view.given("state"), cursor=view.cursor or None, limit=PAGE)
    return desk.show("runs/index.html", part="runs/_rows.html", view=view, found=found, states=STATES)


@router.get("/runs/{run_id}")
def show(desk: At, run_id: str) -> Response:
    return desk.show("runs/page.html", **_whole(desk, run_id))


@router.get("/runs/{run_id}/events")
def events(desk: At, run_id: str) -> Response:
    read_run(desk.actor, desk.database, run_id)
    snapshot = partial(_snapshot, desk, run_id, _called_with(desk, run_id))  # laid out once: long arguments take a while
    return stream(desk, lambda signal: signal.subject == run_id and signal.topic.startswith("run."), snapshot)


@router.post("/runs/{run_id}/cancellations")
def cancel(desk: At, run_id: str) -> Response:
    try:
        cancel_run(desk.actor, desk.database, run_id)
    except (Conflict, Forbidden) as error:
        return desk.show("runs/page.html", status=error.status, **{**_whole(desk, run_id), "refusal": error})
    desk.services.feed.nudge()
    return desk.moved(f"/runs/{run_id}", "Cancellation requested. The run stops at its next effect.")


@router.post("/runs/{run_id}/replays")
def replay(desk: At, run_id: str) -> Response:
    try:
        request_replay(desk.actor, desk.database, run_id)
    except (Conflict, Limited) as error:
        return desk.show("runs/page.html", status=error.status, **{**_whole(desk, run_id), "replay_refusal": error})
    desk.services.feed.nudge()
    return desk.moved(f"/runs/{run_id}", "The run is being replayed; nothing is performed.")


def _whole(desk: Desk, run_id: str) -> dict[str, Any]:
    return _present(desk, run_id) | {"called_with": _called_with(desk, run_id)}


def _present(desk: Desk, run_id: str) -> dict[str, Any]:
    """All that changes while it runs."""
    run = read_run(desk.actor, desk.database, run_id)
    steps = read_steps(desk.actor, desk.database, run_id, limit=STEPS)
    logs = read_logs(desk.actor, desk.database, run_id, limit=STEPS)
    replays = list_replays(desk.actor, desk.database, run_id, limit=1)["items"]
    replaying = bool(replays) and replays[0]["finished_at"] is None
    is_open = run["state"] in OPEN_RUNS
    return {
        "run": run,
        "open": is_open,
        "live": is_open or replaying,
        "replay": replays[0] if replays else None,
        "replay_refusal": None,
        "steps": steps,
        "logs": logs,
        "timeline": timeline(steps["items"]),
        "refusal": None,
        "asks": asks(desk, run),
    }


def _called_with(desk: Desk, run_id: str) -> dict[str, Any] | None:
    """The arguments laid out: `{"text", "more"}`, where `more` is how many characters were cut off. None: they are not kept."""
    args = read_arguments(desk.actor, desk.database, run_id)["args"]
    if args is None:
        return None
    text = pretty(args)
    return {"text": text[:MOST_TEXT], "more": max(0, len(text) - MOST_TEXT)}


def _snapshot(desk: Desk, run_id: str, called_with: dict[str, Any] | None) -> tuple[str, bool]:
    values = _present(desk, run_id)
    return desk.render("runs/_live.html", **values, called_with=called_with), not values["live"]
