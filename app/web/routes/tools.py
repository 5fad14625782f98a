"""Tools: the list, one tool with its versions and the moves of its channels, and the roll back."""

from __future__ import annotations

import json
import shlex
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from app.core.errors import Conflict, Forbidden, Invalid, NotFound, ToolmintError
from app.registry.channels import roll_back
from app.registry.entries import STABLE
from app.registry.reading import list_tools, read_tool, read_version
from app.web.desk import At, Desk
from app.web.listing import PAGE, listing

router = APIRouter()
MOST_TEXT = 600
PLACEHOLDER = "'{…}'"


@router.get("/tools")
def index(desk: At) -> Response:
    view = listing(desk, "/tools", "search")
    found = list_tools(desk.actor, desk.services.catalog, view.cursor or None, PAGE, view.filters["search"])
    return desk.show("tools/index.html", part="tools/_rows.html", view=view, found=found)


@router.get("/tools/{name}")
def show(desk: At, name: str) -> Response:
    return _page(desk, name)


@router.post("/tools/{name}/rollbacks")
def move_back(desk: At, name: str) -> Response:
    """The name typed by hand is required here, whatever the browser did."""
    version = desk.form["version"]
    try:
        if desk.form["confirm"].strip() != name:
            raise Invalid("confirmation_missing", "Nothing was rolled back.", fix=f"Type the tool's name, {name}, to confirm.")
        moved = roll_back(desk.actor, desk.services.catalog, name, desk.form["reason"], int(version) if version.isdecimal() else None)
    except (Invalid, Conflict, Forbidden) as error:
        return _page(desk, name, error)
    desk.services.feed.nudge()
    return desk.moved(f"/tools/{name}", f"Rolled back: {moved['channel']} went from version {moved['before']} to {moved['version']}.")


def _page(desk: Desk, name: str, error: ToolmintError | None = None) -> Response:
    tool: dict[str, Any] = read_tool(desk.actor, desk.services.catalog, name)
    stable = tool["channels"].get(STABLE, {}).get("version")
    answering = _version(desk, name, stable)
    return desk.show(
        "tools/page.html",
        status=error.status if error else 200,
        tool=tool,
        stable=stable,
        scores=answering["scores"] if answering else [],
        call=_call(name, answering),
        base_url=desk.services.settings.base_url,
        error=error,
        sent=desk.form,
    )


def _version(desk: Desk, name: str, version: int | None) -> dict[str, Any] | None:
    if version is None:
        return None
    try:
        found: dict[str, Any] = read_version(desk.actor, desk.services.catalog, name, version)
    except NotFound:  # the channel moved between the two reads: the page shows the rest
        return None
    return found


def shown_examples(version: dict[str, Any]) -> list[dict[str, Any]]:
    """The examples of a version's spec that callers may see."""
    found: list[dict[str, Any]] = json.loads(version["files"]["spec.json"]).get("examples", [])
    return [example for example in found if example.get("visibility") != "held_out"]


def _call(name: str, version: dict[str, Any] | None) -> str:
    """A dry run from a shell, with the arguments of the first example where they fit a line or two."""
    args: dict[str, Any] = {}
    if version is not None and not version["refused"]:
        args = next((example["args"] for example in shown_examples(version)), {})
    text = shlex.quote(json.dumps(args, ensure_ascii=False))
    return f"toolmint call {name} {text if len(text) <= MOST_TEXT else PLACEHOLDER} --dry-run"
