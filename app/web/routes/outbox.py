"""The built-in outbox: the e-mails that were "sent" where no SMTP server is configured."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from app.connectors.outbox import list_outbox
from app.web.desk import At
from app.web.listing import PAGE, listing

router = APIRouter()


@router.get("/outbox")
def index(desk: At) -> Response:
    view = listing(desk, "/outbox", "recipient")
    found = list_outbox(desk.actor, desk.database, cursor=view.cursor or None, limit=PAGE, recipient=view.given("recipient"))
    smtp = bool(desk.services.settings.smtp_url)
    return desk.show("outbox/index.html", part="outbox/_rows.html", view=view, found=found, smtp=smtp)
