"""Errors as pages: the tree of `core.errors`, unknown addresses, and what nobody foresaw.

HTMX gets the same problem as a part for the notice at the top of the page it is on; what is 5xx it does not swap at all.

It refuses to be: where an error is worded. Code, detail and fix come from the room that raised it.
"""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.core.errors import Failed, Invalid, MethodNotAllowed, NotFound, ToolmintError, Unauthenticated
from app.observability.traces import current_trace
from app.web.desk import Hall, go_to, whoever
from app.web.navigation import ways_on
from app.web.pages import Page

logger = logging.getLogger("toolmint.web")
NOT_FOUND = NotFound("page_not_found", "There is nothing at this address.", fix="Check the address, or start from the overview.")

_FOR_CALLERS = re.compile(r"\b(?:GET|POST) /|cursor")  # advice that a page gives as a link
_HTTP = {
    400: Invalid("form_unreadable", "This form cannot be read.", fix="Send fewer and shorter fields; put large inputs into a collection."),
    405: MethodNotAllowed("method_not_allowed", "This address does not take such a request.", fix="Start from the overview."),
}


def install(web: FastAPI) -> None:
    """Answer every error of the dashboard's application."""

    async def toolmint(request: Request, error: Exception) -> Response:
        return await answer(request, error if isinstance(error, ToolmintError) else NOT_FOUND)

    async def http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        answered = await answer(request, _HTTP.get(status, NOT_FOUND))
        answered.headers.update(getattr(error, "headers", None) or {})  # 405 says in Allow what is taken
        return answered

    async def unforeseen(request: Request, error: Exception) -> Response:
        logger.error("page failed: %s %s", request.method, request.url.path, exc_info=error)
        fix = "Try again. If it stays, look into the log under the trace id below."
        return await answer(request, Failed("page_failed", "Something inside failed; nothing about it is shown here.", fix=fix))

    web.add_exception_handler(ToolmintError, toolmint)
    web.add_exception_handler(HTTPException, http)
    web.add_exception_handler(RequestValidationError, http_not_found)
    web.add_exception_handler(Exception, unforeseen)


async def http_not_found(request: Request, _error: Exception) -> Response:
    """An address whose parts are of the wrong kind (`/versions/abc`) does not exist."""
    return await answer(request, NOT_FOUND)


async def answer(request: Request, error: ToolmintError) -> Response:
    """The error as a page, a part, or problem details for an address under `/api/` that nobody answers."""
    if request.url.path.startswith("/api/"):
        body = {"type": f"urn:toolmint:error:{error.code}", "status": error.status, "trace_id": current_trace(), **error.as_dict()}
        return JSONResponse(body, error.status, media_type="application/problem+json")
    if isinstance(error, Unauthenticated):
        return _sign_in(request, error)
    hall: Hall = request.app.state.hall
    page = await _page(request, hall) if error.status < 500 else Page(None, "", request.url.path)
    values: dict[str, Any] = {
        "error": error,
        "trace_id": current_trace(),
        "fix": "" if _FOR_CALLERS.search(error.fix) else error.fix,
        "ways": ways_on(request.url.path, request.query_params, error.code, page.may),
    }
    if request.headers.get("hx-request") == "true":
        body_text = hall.templates.get_template("shared/_problem.html").render(**values)
        return HTMLResponse(body_text, error.status, {"HX-Retarget": "#notice", "HX-Reswap": "innerHTML", "HX-Reselect": ".problem"})
    return HTMLResponse(hall.templates.get_template("shared/error.html").render(**values, page=page), error.status)


async def _page(request: Request, hall: Hall) -> Page:
    """Who looks at the error, so that the sections stay beside it."""
    try:
        actor, csrf = await run_in_threadpool(whoever, request, hall)
    except Unauthenticated:
        return Page(None, "", request.url.path)
    return Page(actor, csrf, request.url.path)


def _sign_in(request: Request, error: Unauthenticated) -> Response:
    query = f"?{request.url.query}" if request.url.query else ""
    wanted = f"{request.url.path}{query}" if request.method == "GET" and request.url.path != "/" else ""
    over = "&over=1" if error.code == "session_over" else ""
    return go_to(request, f"/sign-in?next={quote(wanted, safe='/')}{over}" if wanted or over else "/sign-in")
