"""Errors as problem details (RFC 9457): the tree of `core.errors`, what the framework refuses, and what nobody foresaw.

It refuses to be: where an error is worded. Code, detail and fix come from the room that raised it.
"""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.core.errors import (
    Conflict,
    Failed,
    Invalid,
    Limited,
    MethodNotAllowed,
    NotFound,
    Problem,
    ToolmintError,
    Unauthenticated,
    Unavailable,
)
from app.observability.traces import current_trace

logger = logging.getLogger("toolmint.api")
MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = "1"


def problem_body(error: ToolmintError) -> dict[str, Any]:
    """`{"type", "title", "status", "detail", "code", "retryable", "fix", "errors", "trace_id"}`."""
    shown = error.as_dict()
    return {"type": f"urn:toolmint:error:{error.code}", "status": error.status, **shown, "trace_id": current_trace()}


def problem(error: ToolmintError) -> Response:
    """The answer that an error is."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="toolmint"'
    if isinstance(error, Limited | Unavailable) or (isinstance(error, Conflict) and error.retryable):
        headers["retry-after"] = str(error.data.get("retry_after_s", _RETRY_AFTER_S))
    return JSONResponse(problem_body(error), error.status, headers, MEDIA_TYPE)


def install(api: FastAPI) -> None:
    """Answer every error of this application with a problem."""
    api.add_exception_handler(ToolmintError, _known)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(Exception, _unforeseen)


async def _known(_request: Request, error: Exception) -> Response:
    return problem(error if isinstance(error, ToolmintError) else _hidden())


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        headers = getattr(error, "headers", None) or {}
        refused = problem(MethodNotAllowed("method_not_allowed", f"{request.method} is not possible here.", fix="See /docs."))
        refused.headers.update(headers)
        return refused
    if status == 404:
        return problem(NotFound("route_not_found", "There is nothing at this address.", fix="See /docs for what there is."))
    return problem(Invalid("request_invalid", "The request could not be read.", fix="Send what /docs shows for this address."))


async def _invalid(_request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [Problem(_where(item.get("loc", ())), str(item.get("msg", "is wrong"))) for item in found[:20]]
    return problem(
        Invalid("request_invalid", "Some parts of the request are wrong.", fix="Mend each part that is named.", problems=problems)
    )


def _where(location: Any) -> str:
    place, *rest = [str(part) for part in location] or ["request"]
    return f"{place}.{'.'.join(rest)}" if rest else place


async def _unforeseen(request: Request, error: Exception) -> Response:
    logger.error("request failed: %s %s", request.method, request.url.path, exc_info=error)
    return problem(_hidden())


def _hidden() -> Failed:
    fix = "Try again. If it stays, an operator finds the cause in the log under the trace id."
    return Failed("internal_error", "Something inside failed; nothing about it is shown here.", fix=fix)
