"""The MCP server: `tools/list` and `tools/call` for the actor of each request, in both protocol eras, at `/mcp`.

`mount` puts the route into an application; `Mounted.running` must be entered once, in the application's lifespan.

It refuses to be: a framework's server with tools as functions. Tools come from the catalog at the moment of each request.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp.server import NotificationOptions, Server, ServerRequestContext
from mcp.server.models import InitializationOptions
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.routing import Route

from app.core.errors import Invalid, Problem, ToolmintError
from app.core.settings import Settings
from app.core.texts import is_unicode, text_problems
from app.invocation.calling import MOST_WAIT_S, Progress, Waiting, call_tool
from app.invocation.parts import Services
from app.invocation.posts import Given, claim_post, release, settle
from app.mcp_server.answers import refusal, run_result, unknown_tool
from app.mcp_server.asking import Ask
from app.mcp_server.changes import Changes
from app.mcp_server.door import Caller, Door, caller_of
from app.mcp_server.entry import Management
from app.mcp_server.listing import Listing
from app.mcp_server.management import MANAGEMENT
from app.mcp_server.tasks import Tasks, declared, refuse_to_listen
from app.observability.traces import tracing

KEY = "toolmint/idempotencyKey"
APPROVAL = "toolmint/approval"
WAIT = "toolmint/waitS"
WAIT_S = 45.0
"""How long a call is waited for: many clients give up after 60 seconds."""

MOST_BODY = 12_000_000
IDLE_S = 300.0
MOST_SESSIONS = 2000
INSTRUCTIONS = (
    "Tools here are verified code: each call does the whole task, performs each effect once however often it is called, and answers with "
    "counts. toolmint_guide tells how to write a new one; toolmint_run_status follows a run that goes on in the background."
)
Context = ServerRequestContext[Any, Any]


class _Server(Server[Any]):
    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *args: Any, **kwargs: Any
    ) -> InitializationOptions:
        # The session manager gives no other way to announce listChanged to the legacy era.
        return super().create_initialization_options(notification_options or NotificationOptions(tools_changed=True), *args, **kwargs)


@dataclass(eq=False)
class Mounted:
    """A server for these services, ready to be entered once."""

    services: Services
    changes: Changes = field(default_factory=Changes)
    closing: bool = False

    def __post_init__(self) -> None:
        self.listing = Listing(self.services.catalog)
        self.listen = ListenHandler(self.changes.bus)
        self.tasks = Tasks(self.services)
        server = _Server(
            "toolmint",
            version="0.1.0",
            title="Toolmint",
            instructions=INSTRUCTIONS,
            on_list_tools=self.list_tools,  # type: ignore[arg-type]  # the runner takes dicts as well, which are made once
            on_call_tool=self.call_tool,  # type: ignore[arg-type]  # as above
            on_subscriptions_listen=self.listens,
            get_tool_input_schema=self.listing.schema_of,
        )
        server.middleware.clear()  # the default one makes spans that nobody collects
        self.tasks.install(server)
        server.add_notification_handler("notifications/initialized", types.NotificationParams, self.initialized)
        self.manager = StreamableHTTPSessionManager(
            app=server,
            json_response=False,  # else progress is dropped and no cancellation arrives
            stateless=False,
            security_settings=_security(self.services.settings),
            session_idle_timeout=IDLE_S,
            max_request_body_size=MOST_BODY,
            max_sessions=MOST_SESSIONS,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve until the end of the block."""
        async with self.changes.following(self.services.feed), self.manager.run():
            try:
                yield
            finally:
                self.closing = True
                self.listen.close()

    async def initialized(self, ctx: Context, _params: types.NotificationParams) -> None:
        """A legacy client is ready: it will be told of changes."""
        self.changes.remember(ctx.session)

    async def listens(self, ctx: Context, params: types.SubscriptionsListenRequestParams) -> types.SubscriptionsListenResult:
        """A stream of what changes."""
        refuse_to_listen(ctx)
        return await self.listen(ctx, params)

    async def list_tools(self, ctx: Context, params: types.PaginatedRequestParams | None) -> dict[str, Any]:
        """One page of the tools that the actor of this request may call."""
        caller = caller_of(ctx.request)
        entries = await self.services.catalog.entries_soon(caller.actor.tenant)
        return self.listing.page(caller.actor, entries, params.cursor if params is not None else None)

    async def call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        """A published tool, or a management tool. An unknown and a forbidden one are the same protocol error."""
        return {"resultType": "complete"} | await self._called(ctx, params)

    async def _called(self, ctx: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        caller = caller_of(ctx.request)
        meta = (ctx.params or {}).get("_meta") or {}
        args = params.arguments if params.arguments is not None else {}
        with tracing(caller.trace):
            try:
                key, approval = _text(meta, KEY, "idempotency_key_invalid"), _text(meta, APPROVAL, "approval_not_found")
                waiting = Waiting(_wait_s(meta), _progress(ctx, meta), self._cancels(ctx, caller))
                tool = MANAGEMENT.get(params.name)
                if tool is not None:
                    return await self._manage(tool, Ask(caller.actor, self.services, args, waiting, key, approval))
                how: dict[str, Any] = {"key": key, "approval": approval, "source": "mcp", "waiting": waiting}
                answer = await call_tool(caller.actor, self.services.calls, params.name, args, **how)
                return run_result(answer) if answer.over or not declared(ctx) else await self.tasks.begun(ctx, answer.body["id"])
            except ToolmintError as error:
                if error.code == "tool_not_found" and params.name not in MANAGEMENT:
                    raise unknown_tool(params.name) from None
                return refusal(error, caller.trace)

    async def _manage(self, tool: Management, ask: Ask) -> dict[str, Any]:
        if not tool.open_to(ask.actor):
            raise unknown_tool(tool.name)
        problems = _text_problems(ask.args) or tool.validator.problems(ask.args)
        if problems:
            said = "; ".join(f"{problem.path} {problem.message}" for problem in problems[:3])
            raise Invalid("args_invalid", f"The arguments do not fit: {said}.", fix="Mend each place that is named.", problems=problems)
        if ask.key is None or not tool.repeats:
            return await tool.answer(ask)
        return await _once(tool, ask, ask.key)

    def _cancels(self, ctx: Context, caller: Caller) -> Any:
        """Whether the end of a caller's wait is its wish: in the modern era it closes the stream, in the legacy one it says so."""
        modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        return (lambda: caller.gone) if modern else (lambda: not self.closing)


def mount(app: Starlette, services: Services) -> Mounted:
    """Put MCP at `/mcp` (and `/mcp/`, without a redirect) of `app`. Enter `running()` of the answer in its lifespan."""
    mounted = Mounted(services)
    door = Door(StreamableHTTPASGIApp(mounted.manager), services.database)
    # First, since routes are tried in order and this is the one that agents call all day.
    app.router.routes[:0] = [Route("/mcp", endpoint=door), Route("/mcp/", endpoint=door)]
    return mounted


async def _once(tool: Management, ask: Ask, key: str) -> dict[str, Any]:
    database = ask.services.database
    mark = hashlib.sha256(json.dumps(ask.args, sort_keys=True).encode()).hexdigest()
    found = await ask.of(claim_post, database, f"MCP {tool.name}", key, mark)
    if isinstance(found, Given):
        result: dict[str, Any] = found.body
        return {**result, "_meta": {**result.get("_meta", {}), "toolmint/replayed": True}}
    try:
        answer = await tool.answer(ask)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(release, database, found))
        raise
    await asyncio.to_thread(settle, database, found, 200, answer)
    return answer


def _text_problems(args: dict[str, Any]) -> list[Problem]:
    whole = [] if is_unicode(args) else [Problem("$", "holds half of a surrogate pair", "Send valid Unicode.")]
    return text_problems(args.items()) or whole


def _text(meta: Any, name: str, code: str) -> str | None:
    text = meta.get(name) if isinstance(meta, dict) else None
    if text is not None and (not isinstance(text, str) or text_problems([(name, text)])):
        raise Invalid(code, f"_meta[{name!r}] must be text without NUL.", fix="Send a text, such as a UUID or an id.")
    return text


def _wait_s(meta: Any) -> float:
    wait_s = meta.get(WAIT) if isinstance(meta, dict) else None
    if wait_s is None:
        return WAIT_S
    if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not 0 <= wait_s <= MOST_WAIT_S:
        fix = f"Send a number from 0 to {MOST_WAIT_S:g}, or leave it out for {WAIT_S:g}."
        raise Invalid("wait_invalid", f"_meta[{WAIT!r}] must be a number of seconds.", fix=fix)
    return float(wait_s)


def _progress(ctx: Context, meta: Any) -> Progress | None:
    if not isinstance(meta, dict) or meta.get("progressToken") is None:
        return None

    async def tell(done: int, total: int | None) -> None:
        await ctx.session.report_progress(float(done), None if total is None else float(total))

    return tell


def _security(settings: Settings) -> TransportSecuritySettings:
    hosts = settings.hosts
    origins = [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")]
    return TransportSecuritySettings(
        allowed_hosts=[*hosts, *(f"{host}:*" for host in hosts)], allowed_origins=[*origins, *(f"{origin}:*" for origin in origins)]
    )
