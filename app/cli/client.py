"""The client of the REST interface that commands use, and `toolmint call`.

It refuses to be: a library. Programs speak MCP or REST themselves.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx2

from app.cli.output import DONE, REFUSED, WAITING, complain, remark, say, show
from app.core.errors import Failed, Invalid, Problem, ToolmintError, Unauthenticated, Unavailable
from app.core.settings import Settings

POLL_S = 0.5
PATIENCE_S = 600
_ENDED = frozenset({"completed", "failed", "cancelled", "quarantined"})


class Service:
    """The service's REST interface; answers are JSON values, refusals are raised as ToolmintError with the service's own code."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        self.address = str(client.base_url).rstrip("/")

    def get(self, path: str) -> Any:
        return self._ask("GET", path, None, {})

    def post(self, path: str, body: dict[str, Any], **headers: str) -> Any:
        return self._ask("POST", path, body, headers)

    def every(self, path: str) -> Iterator[Any]:
        """The items of a list, page after page; `path` may have a query."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.get(f"{path}{'&' if '?' in path else '?'}limit=500{f'&cursor={quote(cursor)}' if cursor else ''}")
            yield from page["items"]
            cursor = page["next_cursor"]

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        try:
            answer = self._client.request(method, f"/api/v1{path}", json=body, headers=headers)
        except httpx2.HTTPError as error:
            raise Unavailable(
                "service_unreachable",
                f"No answer from {self._client.base_url}: {error}.",
                fix="Start it with `toolmint up`, or set TOOLMINT_URL.",
            ) from None
        if answer.is_success:
            return answer.json()
        raise _refusal(answer)


@contextmanager
def service(settings: Settings) -> Iterator[Service]:
    """The service named by TOOLMINT_URL and TOOLMINT_KEY, else the one of this home with its admin key."""
    with httpx2.Client(
        base_url=os.environ.get("TOOLMINT_URL", settings.base_url).rstrip("/"),
        headers={"Authorization": f"Bearer {_key(settings)}"},
        timeout=60,
    ) as client:
        yield Service(client)


def call(settings: Settings, tool: str, arguments: str, *, key: str | None, dry_run: bool, approval: str | None = None) -> int:
    """Call a tool and print its result, or with `dry_run` its plan. Status 1: the run failed; 3: it goes on."""
    text = sys.stdin.read() if arguments == "-" else arguments
    try:
        args = json.loads(text)
    except ValueError as error:
        raise Invalid("arguments_invalid", f"The arguments are not JSON: {error}.", fix="""Write them as '{"name": "value"}'.""") from None
    with service(settings) as door:
        headers = {"Idempotency-Key": key} if key else {}
        run = door.post(f"/tools/{quote(tool, safe='')}/runs", {"args": args, "dry_run": dry_run, "approval": approval}, **headers)
        run = _followed(door, run)
    if run["state"] == "completed":
        show(run["plan"] if dry_run else run["result"])
        if dry_run:
            remark(_plan_in_all(run))
        return DONE
    if run["state"] in _ENDED:
        complain(_failure(run))
        return REFUSED
    say(f"The run {run['id']} goes on; see GET /api/v1/runs/{run['id']}.")
    return WAITING


def _plan_in_all(run: dict[str, Any]) -> str:
    """What the list does not say: how much there is in all, and what to do with it."""
    summary = run["plan_summary"]
    listed = f", {summary['listed']} of them listed" if summary["listed"] < summary["total"] else ""
    said = f"{summary['total']} effects{listed}; dry run {run['id']}."
    return (
        f"""{said} The call needs an approval: POST /api/v1/approvals {{"run_id": "{run["id"]}"}}.""" if run.get("needs_approval") else said
    )


def _followed(door: Service, run: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while run["state"] not in _ENDED and time.monotonic() < deadline:
        time.sleep(POLL_S)
        run = door.get(f"/runs/{run['id']}")
    return run


def _failure(run: dict[str, Any]) -> Failed:
    error = run.get("error") or {}
    return Failed(
        error.get("code", run["state"]),
        error.get("detail") or error.get("message") or f"The run is {run['state']}.",
        fix=error.get("fix", ""),
    )


def _key(settings: Settings) -> str:
    given = os.environ.get("TOOLMINT_KEY") or settings.admin_key
    if given:
        return given
    path = settings.home / "admin.key"
    if "TOOLMINT_URL" not in os.environ and path.exists():
        return path.read_text(encoding="ascii").strip()
    raise Unauthenticated("key_missing", "There is no key to call with.", fix="Set TOOLMINT_KEY; `toolmint keys create` makes one.")


def _refusal(answer: httpx2.Response) -> ToolmintError:
    try:
        body = answer.json()
    except ValueError:
        body = {}
    problems = [Problem(item.get("path", ""), item.get("message", ""), item.get("fix", "")) for item in body.get("errors", [])]
    detail = body.get("detail") or f"The service answered {answer.status_code}."
    return ToolmintError(body.get("code", f"http_{answer.status_code}"), detail, fix=body.get("fix", ""), problems=problems)
