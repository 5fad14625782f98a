"""API keys: the list, a new one (its text is shown once), a revocation."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from app.access.keys import create_key, list_keys, revoke_key
from app.access.permissions import PERMISSIONS
from app.core.actor import EVERYTHING
from app.core.errors import Forbidden, Invalid, ToolmintError
from app.spec.revisions import named_permissions
from app.web.desk import At, Desk
from app.web.listing import PAGE, listing

router = APIRouter()


@router.get("/keys")
def index(desk: At) -> Response:
    return _page(desk)


@router.post("/keys")
def create(desk: At) -> Response:
    """The answer holds the new key's text, so it is a page and not a redirect, and is never kept by a browser."""
    own = [name.strip() for name in desk.form["own"].split(",") if name.strip()]
    until = desk.form["expires_at"].strip()
    try:
        made = create_key(
            desk.actor,
            desk.database,
            desk.form["name"],
            [*desk.lists.get("permissions", ()), *own],
            f"{until}T23:59:59Z" if until else None,
            named_permissions(desk.actor, desk.database),
        )
    except (Invalid, Forbidden) as error:
        return _page(desk, error=error)
    return desk.show("keys/made.html", made=made, status=201)


@router.post("/keys/{key_id}/revocations")
def revoke(desk: At, key_id: str) -> Response:
    if desk.form["confirm"].strip() != "revoke":
        refusal = Invalid("confirmation_missing", "Nothing was revoked.", fix="Type the word revoke to confirm; it cannot be taken back.")
        return _page(desk, revoking=key_id, refusal=refusal)
    try:
        revoke_key(desk.actor, desk.database, key_id)
    except Forbidden as error:
        return _page(desk, revoking=key_id, refusal=error)
    return desk.moved("/keys", f"The key {key_id} is revoked. Whoever uses it is refused from now on.")


def _page(desk: Desk, *, error: ToolmintError | None = None, revoking: str = "", refusal: ToolmintError | None = None) -> Response:
    view = listing(desk, "/keys")
    found = list_keys(desk.actor, desk.database, view.cursor or None, PAGE)
    wrong = error or refusal
    return desk.show(
        "keys/index.html",
        part="keys/_rows.html",
        status=wrong.status if wrong else 200,
        view=view,
        found=found,
        permissions=PERMISSIONS,
        everything=EVERYTHING,
        error=error,
        refusal=refusal,
        revoking=revoking or desk.query("revoke"),
        sent=desk.form,
        chosen=desk.lists.get("permissions", ()),
    )
