"""What every request to the service passes first: its host name is one of ours, its address is text, its trace id is known from here on,
and HEAD is answered like GET, without the content (RFC 9110, 9.3.2).

Pure ASGI, because a middleware that wraps responses would hold back event streams. It stands before every front door.

It refuses to be: authentication.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem
from app.core.errors import Invalid, ToolmintError
from app.observability.traces import trace_from, tracing


class MisdirectedRequest(ToolmintError):
    """The request names a host that this service does not answer for."""

    status, title = 421, "Misdirected request"


class Edge:
    """Refuses foreign hosts with 421 (a page of another site could otherwise reach a local service by a name of its own)."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = traceparent = ""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.decode("latin-1")
            elif name == b"traceparent":
                traceparent = value.decode("latin-1")
        with tracing(trace_from(traceparent)) as trace:
            mark = (b"x-trace-id", trace.encode())

            async def marked(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message.get("headers", ()), mark]}
                await send(message)

            refused = self._refusal(host, scope)
            await (self._app if refused is None else problem(refused))(_asked(scope), receive, marked)

    def _refusal(self, host: str, scope: Scope) -> ToolmintError | None:
        if not self._known(host):
            return MisdirectedRequest(
                "host_not_allowed",
                "This service does not answer for that host name.",
                fix="Name it in TOOLMINT_ALLOWED_HOSTS or TOOLMINT_PUBLIC_URL, then start again.",
            )
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:  # no database of ours can look for it
            return Invalid("request_invalid", "The address holds a NUL character.", fix="Leave %00 out of the address.")
        return None

    def _known(self, host: str) -> bool:
        host = host.lower()
        if host in self._hosts:
            return True
        name, _, port = host.rpartition(":")
        return name in self._hosts and port.isdigit()


def _asked(scope: Scope) -> Scope:
    """HEAD as the GET that it stands for; the server sends no content. At `/mcp`, where a GET opens a stream, it stays HEAD."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" and scope["path"].rstrip("/") != "/mcp" else scope
