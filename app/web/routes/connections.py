"""Connections: the list, a form for each kind, a test with its result, and forgetting one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from app.connectors.connection_kinds import KINDS
from app.connectors.connections import (
    Connections,
    change_connection,
    create_connection,
    delete_connection,
    list_connections,
    read_connection,
)
from app.connectors.production import connections_of
from app.connectors.trying import check_connection
from app.core.errors import Conflict, Forbidden, Invalid, NotFound, ToolmintError
from app.web.desk import At, Desk
from app.web.listing import PAGE, listing

router = APIRouter()
_REFUSALS = (Invalid, Conflict, Forbidden)


@router.get("/connections")
def index(desk: At) -> Response:
    view = listing(desk, "/connections")
    found = list_connections(desk.actor, _connections(desk), view.cursor or None, PAGE)
    smtp = bool(desk.services.settings.smtp_url)
    return desk.show("connections/index.html", part="connections/_rows.html", view=view, found=found, kinds=KINDS, smtp=smtp)


@router.get("/connections/new/{kind}")
def new(desk: At, kind: str) -> Response:
    list_connections(desk.actor, _connections(desk), limit=1)  # who may not name one is told so before filling in a form
    return _form(desk, kind)


@router.post("/connections/new/{kind}")
def create(desk: At, kind: str) -> Response:
    try:
        secret, reference = _secret(desk)
        made = create_connection(desk.actor, _connections(desk), desk.form["name"].strip(), kind, _config(desk, kind), secret, reference)
    except _REFUSALS as error:
        return _form(desk, kind, error)
    return desk.moved(f"/connections/{made['name']}", f"The connection {made['name']} is named. Test it before a tool relies on it.")


@router.get("/connections/{name}")
def show(desk: At, name: str) -> Response:
    return _page(desk, name)


@router.post("/connections/{name}")
def change(desk: At, name: str) -> Response:
    connections = _connections(desk)
    kind = read_connection(desk.actor, connections, name)["kind"]
    try:
        secret, reference = ("", None) if "no_secret" in desk.form else _secret(desk)
        change_connection(desk.actor, connections, name, _config(desk, kind), secret, reference)
    except _REFUSALS as error:
        return _page(desk, name, error)
    return desk.moved(f"/connections/{name}", "The connection is changed. Effects use the new settings within a second.")


@router.post("/connections/{name}/tests")
async def test(desk: At, name: str) -> Response:
    seen = await check_connection(desk.actor, _connections(desk), name)
    return desk.moved(f"/connections/{name}", f"The test {'went well' if seen['ok'] else 'failed'}. {seen['text']}")


@router.post("/connections/{name}/deletions")
def delete(desk: At, name: str) -> Response:
    """The name typed by hand is required here, whatever the browser did."""
    try:
        if desk.form["confirm"].strip() != name:
            raise Invalid("confirmation_missing", "Nothing was deleted.", fix=f"Type the connection's name, {name}, to confirm.")
        delete_connection(desk.actor, _connections(desk), name)
    except _REFUSALS as error:
        return _page(desk, name, refusal=error)
    return desk.moved("/connections", f"The connection {name} and its secret are forgotten.")


def _connections(desk: Desk) -> Connections:
    return connections_of(desk.services.settings, desk.database)


def _form(desk: Desk, kind: str, error: ToolmintError | None = None) -> Response:
    if kind not in KINDS:
        raise NotFound("page_not_found", "There is no such kind of connection.", fix=f"Choose one of {', '.join(KINDS)}.")
    status = error.status if error else 200
    return desk.show("connections/new.html", status=status, kind=KINDS[kind], values=_sent(desk), error=error, sent=desk.form)


def _page(desk: Desk, name: str, error: ToolmintError | None = None, refusal: ToolmintError | None = None) -> Response:
    found = read_connection(desk.actor, _connections(desk), name)
    wrong = error or refusal
    return desk.show(
        "connections/page.html",
        status=wrong.status if wrong else 200,
        found=found,
        kind=KINDS[found["kind"]],
        values=_sent(desk) if error else found["config"],
        error=error,
        refusal=refusal,
        sent=desk.form,
    )


def _sent(desk: Desk) -> dict[str, Any]:
    return {name.removeprefix("c_"): value for name, value in desk.form.items() if name.startswith("c_")}


def _secret(desk: Desk) -> tuple[str | None, str | None]:
    return desk.form["secret"] or None, desk.form["secret_ref"].strip() or None


def _config(desk: Desk, kind: str) -> dict[str, Any]:
    """The settings of a form by the kind's schema; what was left empty is left out. Raises Invalid `connection_invalid`."""
    if kind not in KINDS:
        return {}
    properties: Mapping[str, Any] = KINDS[kind].schema["properties"]
    found = {name: _value(schema, desk.form[f"c_{name}"].strip()) for name, schema in properties.items()}
    return {name: value for name, value in found.items() if value not in ("", None, False)}


def _value(schema: Mapping[str, Any], text: str) -> Any:
    kind = schema.get("type")
    if kind == "boolean":
        return text == "on"
    if kind in ("integer", "number") and text:
        try:
            return int(text) if kind == "integer" else float(text)
        except ValueError:
            return text  # the schema says what is wrong with it
    return text
