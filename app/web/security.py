"""What every answer of the dashboard carries, and which requests it takes: a strict policy, a bounded body, no other site.

Pure ASGI, because a middleware that wraps responses would hold back event streams.

It refuses to be: authentication. Who is signed in is for `desk`.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import Forbidden, TooLarge

BODY_BYTES = 8_400_000
CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
_HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Shield:
    """Adds the headers, and stops reading a body that outgrows `BODY_BYTES`."""

    app: ASGIApp
    https: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        pinned = scope["path"].startswith("/static/") and scope["query_string"].startswith(b"v=")
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES:
                raise TooLarge("form_too_large", "The form is larger than 8 MB.", fix="Put large inputs into a collection and name it.")
            return message

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if self.https:
                    headers["strict-transport-security"] = "max-age=31536000"
                headers.setdefault("cache-control", _FOREVER if pinned and message["status"] == 200 else "no-store")
            await send(message)

        await self.app(scope, bounded, dressed)


def refuse_other_sites(headers: Headers) -> None:
    """Raise Forbidden `cross_site` for a request that another site caused; old browsers are judged by `Origin`."""
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    ours = site in ("same-origin", "none") if site is not None else origin is None or urlsplit(origin).netloc == headers.get("host")
    if not ours:
        raise Forbidden("cross_site", "This request came from another site.", fix="Open the dashboard and send the form from there.")
