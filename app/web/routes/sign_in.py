"""Sign in with an API key, and sign out.

It refuses to be: an account page. What a key may do is shown and changed under `/keys`.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.access.browsing import mark_of, sign_in
from app.core.errors import Unauthenticated
from app.web.desk import At, Hall, go_to
from app.web.pages import Page
from app.web.security import refuse_other_sites
from app.web.sessions import LIFETIME_MS

router = APIRouter()


@router.get("/sign-in")
def show(request: Request) -> Response:
    return _page(request, _within(request.query_params.get("next", "")), "over" in request.query_params)


@router.post("/sign-in")
async def enter(request: Request) -> Response:
    refuse_other_sites(request.headers)
    hall: Hall = request.app.state.hall
    form = await request.form()
    wanted = _within(str(form.get("next", "")))
    key = str(form.get("key", ""))
    try:
        actor = await run_in_threadpool(sign_in, hall.services.database, key)
    except Unauthenticated:
        return _page(request, wanted, wrong=True)
    sessions = hall.sessions
    ticket = sessions.issue(actor.id, hall.services.database.clock.now(), mark_of(key))
    answer = go_to(request, wanted or "/")
    answer.set_cookie(
        sessions.cookie, sessions.seal(ticket), max_age=LIFETIME_MS // 1000, secure=sessions.secure, httponly=True, samesite="lax"
    )
    return answer


@router.post("/sign-out")
def leave(desk: At) -> Response:
    answer = desk.moved("/sign-in")
    answer.delete_cookie(desk.hall.sessions.cookie, secure=desk.hall.sessions.secure, httponly=True, samesite="lax")
    return answer


def _page(request: Request, wanted: str, over: bool = False, wrong: bool = False) -> Response:
    hall: Hall = request.app.state.hall
    text = hall.templates.get_template("sign_in/page.html").render(
        page=Page(None, "", "/sign-in"), wanted=wanted, over=over, wrong=wrong, key_file=str(hall.services.settings.home / "admin.key")
    )
    return HTMLResponse(text, 401 if wrong else 200)


def _within(path: str) -> str:
    """`path` if it is one of ours; empty for anything that could lead elsewhere."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else ""
