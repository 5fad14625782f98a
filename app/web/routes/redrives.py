"""Decisions about many effects: asked for a selection or for all that match, confirmed with a reason, followed to their end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from app.core.errors import Conflict, Invalid, NotFound, ToolmintError
from app.registry.reading import read_tool
from app.runtime.redrives import (
    STATES,
    Selection,
    cancel_decision,
    list_decisions,
    preview,
    read_decision,
    redrive_effects,
    resolve_effects,
)
from app.runtime.verdicts import Kind
from app.web.addresses import address
from app.web.desk import At, Desk
from app.web.listing import PAGE, listing
from app.web.live import stream

router = APIRouter()
KINDS: dict[str, Kind] = {"dead": "redrive", "unknown": "resolution"}
LISTED = {"redrive": "redrives", "resolution": "verdicts"}
FILTERS = ("tool", "effect", "error_code")
MOVING = ("planned", "claimed", "performing", "retry_wait")
ORDER = ("done", *MOVING, "unknown", "failed", "dead", "abandoned", "cancelled")
VERDICTS = {
    "confirm_done": "It was done: the provider's log shows it.",
    "retry": "It was not done: perform it again.",
    "abandon": "Give it up: it shall not happen.",
}


@router.get("/queues/{state}/decision")
def ask_of_all(desk: At, state: str) -> Response:
    """All that match the filters of the address."""
    return _ask(desk, state, _matching(lambda name: desk.query(name)[:200], None))


@router.post("/queues/{state}/decision")
def ask_of_some(desk: At, state: str) -> Response:
    """The effects whose boxes were checked. Nothing happens yet."""
    named = tuple(desk.lists.get("ids", ()))
    if not named:
        return desk.moved(address(f"/queues/{state}", **{name: desk.form[name] for name in FILTERS}), "Nothing was selected.")
    return _ask(desk, state, Selection(named))


@router.post("/queues/{state}/decisions")
def decide(desk: At, state: str) -> Response:
    form, kind = desk.form, _kind(state)
    mark = int(form["mark"]) if form["mark"].isdecimal() and len(form["mark"]) < 19 else None
    named = tuple(form["ids"].split())
    selection = Selection(named, mark=mark) if named else _matching(lambda name: form[name], mark)
    try:
        if kind == "redrive":
            version = int(form["version"]) if form["version"].isdecimal() and len(form["version"]) < 7 else None
            made = redrive_effects(desk.actor, desk.services.catalog, selection, form["reason"], version)
        else:
            made = resolve_effects(desk.actor, desk.database, selection, form["verdict"], form["reason"])
    except (Invalid, Conflict) as error:
        return _ask(desk, state, selection, error)
    desk.services.feed.nudge()
    done = "The retry queue has them." if kind == "redrive" else "The verdict is recorded."
    return desk.moved(f"/redrives/{made['id']}", done if made["state"] == "completed" else "It is under way; this page follows it.")


def _matching(given: Callable[[str], str], mark: int | None) -> Selection:
    """All that match the filters; an empty one filters nothing."""
    return Selection(None, given("tool") or None, given("effect") or None, given("error_code") or None, mark)


def _kind(state: str) -> Kind:
    if state not in KINDS:
        raise NotFound("queue_not_found", "There is nothing to decide about this queue.", fix="Open the dead letters or the unknowns.")
    return KINDS[state]


def _ask(desk: Desk, state: str, selection: Selection, error: ToolmintError | None = None) -> Response:
    """The page that says what is meant, and asks for the rest."""
    kind = _kind(state)
    meant = preview(desk.actor, desk.database, kind, selection)
    tools = {tool for tool, _ in meant["releases"]}
    versions = _versions(desk, tools.pop()) if kind == "redrive" and len(tools) == 1 else []
    given = {"tool": selection.tool, "effect": selection.effect, "error_code": selection.error_code}
    return desk.show(
        "redrives/ask.html",
        status=error.status if error else 200,
        state=state,
        kind=kind,
        meant=meant,
        selection=selection,
        filters={name: value for name, value in given.items() if value},
        versions=versions,
        verdicts=VERDICTS,
        error=error,
        sent=desk.form,
    )


def _versions(desk: Desk, tool: str) -> list[int]:
    """Published versions, newest first; none where the tool itself is hidden from this actor."""
    with suppress(NotFound):
        return [row["version"] for row in read_tool(desk.actor, desk.services.catalog, tool)["versions"]]
    return []


@router.get("/redrives")
def index(desk: At) -> Response:
    view = listing(desk, "/redrives", "kind", "state")
    given = {name: view.given(name) for name in view.filters}
    found = list_decisions(desk.actor, desk.database, **given, cursor=view.cursor or None, limit=PAGE)
    return desk.show("redrives/index.html", part="redrives/_rows.html", view=view, found=found, kinds=LISTED, states=STATES)


@router.get("/redrives/{decision_id}")
def show(desk: At, decision_id: str) -> Response:
    return desk.show("redrives/page.html", **_whole(desk, decision_id))


@router.get("/redrives/{decision_id}/events")
def events(desk: At, decision_id: str) -> Response:
    read_decision(desk.actor, desk.database, decision_id)
    wanted = lambda signal: signal.topic == "effects.changed" and signal.tenant == desk.actor.tenant  # noqa: E731  # a value
    return stream(desk, wanted, partial(_snapshot, desk, decision_id))


@router.post("/redrives/{decision_id}/cancellations")
def cancel(desk: At, decision_id: str) -> Response:
    try:
        made = cancel_decision(desk.actor, desk.database, decision_id)
    except Conflict as error:
        return desk.show("redrives/page.html", status=error.status, **{**_whole(desk, decision_id), "refusal": error})
    desk.services.feed.nudge()
    return desk.moved(
        f"/redrives/{decision_id}", f"Cancelled. {made['moved']} of {made['count']} had been moved; the rest stays where it was."
    )


def _whole(desk: Desk, decision_id: str) -> dict[str, Any]:
    decision = read_decision(desk.actor, desk.database, decision_id)
    effects = {state: decision["effects"][state] for state in ORDER if state in decision["effects"]}
    live = decision["state"] == "running" or any(state in effects for state in MOVING)
    return {"decision": decision, "effects": effects, "live": live, "refusal": None}


def _snapshot(desk: Desk, decision_id: str) -> tuple[str, bool]:
    values = _whole(desk, decision_id)
    return desk.render("redrives/_live.html", **values), not values["live"]
