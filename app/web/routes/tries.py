"""Try a tool by hand: a form made from its input schema, a dry run with its plan, then the run.

A tool with effects runs only for arguments whose plan this very session has seen: the server, not the browser, keeps to that.

It refuses to be: another way to call. It goes through the same use case as REST and MCP.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from app.core.errors import Invalid, Problem, ToolmintError
from app.invocation.calling import Waiting, call_tool
from app.registry.entries import STABLE
from app.registry.reading import read_tool, read_version
from app.web.arguments import PREFIX, arguments, fields, filled
from app.web.desk import At, Desk
from app.web.routes.tools import shown_examples

router = APIRouter()
PLAN_WAIT_S = 20.0
RUN_WAIT_S = 2.0
SOURCE = "dashboard"


@router.get("/tools/{name}/try")
def show(desk: At, name: str) -> Response:
    tool = read_tool(desk.actor, desk.services.catalog, name)
    examples = _examples(desk, tool)
    wanted = desk.query("example")
    args = examples[int(wanted)]["args"] if wanted.isdecimal() and len(wanted) < 4 and int(wanted) < len(examples) else {}
    return _page(desk, tool, examples, filled(args), json.dumps(args, indent=2, ensure_ascii=False))


@router.post("/tools/{name}/tries")
async def attempt(desk: At, name: str) -> Response:
    tool = await run_in_threadpool(read_tool, desk.actor, desk.services.catalog, name)
    examples = await run_in_threadpool(_examples, desk, tool)
    sent = {field: value for field, value in desk.form.items() if field.startswith(PREFIX)}
    try:
        args = _arguments(desk, tool)
        if desk.form["mode"] == "run" and _may_run(desk, tool, args):
            return await _run(desk, name, args)
        answer = await call_tool(
            desk.actor, desk.services.calls, name, args, dry_run=True, source=SOURCE, waiting=Waiting(wait_s=PLAN_WAIT_S)
        )
    except ToolmintError as error:
        return _page(desk, tool, examples, sent, desk.form["json"], error=error)
    if not answer.over:
        return desk.moved(f"/runs/{answer.body['id']}", "The dry run takes longer; its plan will stand here.")
    text = json.dumps(args, indent=2, ensure_ascii=False)
    return _page(desk, tool, examples, filled(args), text, plan=answer.body, mark=_mark(desk, name, args))


async def _run(desk: Desk, name: str, args: dict[str, Any]) -> Response:
    key = f"dashboard-{desk.form['once'][:64]}" if desk.form["once"] else None
    answer = await call_tool(desk.actor, desk.services.calls, name, args, key=key, source=SOURCE, waiting=Waiting(wait_s=RUN_WAIT_S))
    note = "This form was sent before; here is the run that it began." if answer.body["replayed"] else ""
    return desk.moved(f"/runs/{answer.body['id']}", note)


def _may_run(desk: Desk, tool: dict[str, Any], args: dict[str, Any]) -> bool:
    if tool["annotations"]["readOnlyHint"]:
        return True
    return hmac.compare_digest(desk.form["planned"].encode(), _mark(desk, tool["name"], args).encode())


def _mark(desk: Desk, name: str, args: dict[str, Any]) -> str:
    """Says that this session has seen the plan of these arguments."""
    text = json.dumps([desk.csrf, name, args], sort_keys=True)
    return hmac.new(desk.hall.sessions.secret, text.encode(), hashlib.sha256).hexdigest()


def _arguments(desk: Desk, tool: dict[str, Any]) -> dict[str, Any]:
    if desk.form["as"] == "json":
        try:
            args = json.loads(desk.form["json"])
        except (ValueError, RecursionError) as error:  # the latter: nested thousands deep
            raise Invalid("args_invalid", "This is no JSON.", fix=f"Mend it: {error}.") from None
        if isinstance(args, dict):
            return args
        raise Invalid("args_invalid", "The arguments must be a JSON object.", fix='Begin with { and name each argument, as in {"to": "…"}.')
    found, problems = arguments(tool["input_schema"], desk.form)
    if problems:
        raise Invalid("args_invalid", "Some fields cannot be read.", problems=problems)
    return found


def _examples(desk: Desk, tool: dict[str, Any]) -> list[dict[str, Any]]:
    version = tool["channels"].get(STABLE, {}).get("version")
    if version is None:
        return []
    return shown_examples(read_version(desk.actor, desk.services.catalog, tool["name"], version))


def _page(
    desk: Desk,
    tool: dict[str, Any],
    examples: list[dict[str, Any]],
    values: dict[str, str],
    text: str,
    *,
    error: ToolmintError | None = None,
    plan: dict[str, Any] | None = None,
    mark: str = "",
) -> Response:
    as_json = "json" in (desk.form["as"], desk.query("as"))
    wrong = _by_field(error.problems) if error and not as_json else {}
    return desk.show(
        "tries/page.html",
        status=error.status if error else 200,
        tool=tool,
        examples=examples,
        fields=fields(tool["input_schema"], values),
        prefix=PREFIX,
        as_json=as_json,
        json_text=text or "{}",
        error=_beside_fields(error, wrong, tool) if error else None,
        wrong=wrong,
        plan=plan,
        mark=mark,
        once=secrets.token_urlsafe(18),
    )


def _beside_fields(error: ToolmintError, wrong: Mapping[str, str], tool: dict[str, Any]) -> ToolmintError:
    """What remains to be said above the form once each field says what is wrong with it."""
    named = set(wrong) & set(tool["input_schema"].get("properties", {}))
    if not named:
        return error
    rest = [problem for problem in error.problems if _field_of(problem) not in named]
    marked = "One field does" if len(named) == 1 else f"{len(named)} fields do"
    return Invalid(error.code, f"{marked} not fit.", fix="Mend what is marked below.", problems=rest)


def _field_of(problem: Problem) -> str:
    """The property that a problem is in (`$.recipients[2]` → `recipients`)."""
    return problem.path.removeprefix("$.").partition(".")[0].partition("[")[0]


def _by_field(problems: tuple[Problem, ...]) -> dict[str, str]:
    """Problems by the property that they are in."""
    found: dict[str, str] = {}
    for problem in problems:
        found.setdefault(_field_of(problem), f"{problem.path} {problem.told()}")
    return found
