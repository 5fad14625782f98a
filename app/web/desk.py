"""The desk: what a page's handler works with. It knows who is signed in, and how to answer.

Making one checks the session and, for anything but a read, that the request came from our own form. A handler that takes a
desk cannot forget either.

It refuses to be: a use case. It renders and redirects.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request

from app.access.browsing import names_of, signed_in
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import Forbidden, Invalid, ToolmintError, Unauthenticated
from app.core.texts import text_problems
from app.invocation.parts import Services
from app.invocation.pausing import list_pauses
from app.web.pages import Page
from app.web.security import BODY_BYTES, refuse_other_sites
from app.web.sessions import NOTE_S, Sessions, Ticket

SAFE = frozenset({"GET", "HEAD"})
MOST_FIELDS = 1100  # the boxes of a long list that are all checked
MOST_NAMES = 5000
MOST_PAUSES = 500


@dataclass(frozen=True, slots=True)
class Hall:
    """What all desks share; held in the state of the dashboard's application."""

    services: Services
    sessions: Sessions
    templates: Environment
    names: dict[tuple[str, str], str] = field(default_factory=dict)


class Fields(dict[str, str]):
    """The last value of each field of a form; a field that was not sent is empty."""

    def __missing__(self, name: str) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Desk:
    """One request of a signed-in actor. `lists` holds every value of each field."""

    request: Request
    hall: Hall
    actor: Actor
    csrf: str
    form: Fields
    lists: Mapping[str, Sequence[str]]

    @property
    def database(self) -> Database:
        return self.hall.services.database

    @property
    def services(self) -> Services:
        return self.hall.services

    @property
    def partial(self) -> bool:
        """Whether HTMX asked for a part of a page only."""
        return self.request.headers.get("hx-request-type") == "partial"

    def check_session(self) -> None:
        """For a stream, from time to time. Raises Unauthenticated `signed_out` or `session_over` once the session is over."""
        ticket = _ticket(self.request, self.hall)
        signed_in(self.database, ticket.key_id, ticket.mark)

    def query(self, name: str, default: str = "") -> str:
        """A parameter of the address, without surrounding space."""
        return str(self.request.query_params.get(name, default)).strip()

    def show(self, template: str, /, *, status: int = 200, part: str | None = None, **values: Any) -> Response:
        """The page; or only its `part`, where HTMX asked for that. Raises a refusal among `values` that nobody would see on it."""
        if part is not None and self.partial:
            return HTMLResponse(self.render(part, **values), status)
        note = self.hall.sessions.open_note(self.request.cookies.get(self.hall.sessions.note_cookie))
        pauses = list_pauses(self.actor, self.services.calls, limit=MOST_PAUSES)["items"]
        page = Page(self.actor, self.csrf, self.request.url.path, note, self.name_of, pauses)
        text = self.hall.templates.get_template(template).render(**values, page=page)
        self._see(text, values)
        answer = HTMLResponse(text, status)
        if note is not None:
            answer.delete_cookie(self.hall.sessions.note_cookie, secure=self.hall.sessions.secure, httponly=True, samesite="lax")
        return answer

    def _see(self, text: str, values: Mapping[str, Any]) -> None:
        """The form that was sent may be gone, as where somebody else decided first, and HTMX takes nothing but that form from the page."""
        refused = next((value for value in values.values() if isinstance(value, ToolmintError)), None)
        form = self.request.headers.get("hx-target", "").partition("#")[2]
        if refused is not None and not ('class="problem"' in text and (not form or f'id="{form}"' in text)):
            raise refused

    def render(self, template: str, /, **values: Any) -> str:
        """One part as text; it may use `page`, too."""
        page = Page(self.actor, self.csrf, self.request.url.path, names=self.name_of)
        return self.hall.templates.get_template(template).render(**values, page=page)

    def name_of(self, actor_id: str) -> str:
        """The name of an actor. Keys are never renamed, so a name that was found is kept."""
        if not actor_id.startswith("key_"):
            return actor_id
        kept = self.hall.names.get((self.actor.tenant, actor_id))
        if kept is None:
            kept = names_of(self.actor, self.database, [actor_id]).get(actor_id)
            if kept is None:
                return actor_id
            if len(self.hall.names) >= MOST_NAMES:
                self.hall.names.clear()
            self.hall.names[self.actor.tenant, actor_id] = kept
        return kept

    def moved(self, path: str, note: str = "") -> Response:
        """After a change: go and look at the resulting state. HTMX gets the same as a header."""
        answer = go_to(self.request, path)
        if note:
            sessions = self.hall.sessions
            answer.set_cookie(
                sessions.note_cookie, sessions.seal_note(note), max_age=NOTE_S, secure=sessions.secure, httponly=True, samesite="lax"
            )
        return answer


def go_to(request: Request, path: str) -> Response:
    """A redirect to a page of ours, as the browser or HTMX understands it."""
    if request.headers.get("hx-request") == "true":
        return Response(headers={"HX-Redirect": path})
    return RedirectResponse(path, 303)


async def desk(request: Request) -> Desk:
    """The desk of this request.

    Raises Unauthenticated `signed_out` or `session_over`, Forbidden `cross_site` or `form_expired`, Invalid `form_invalid`.
    """
    hall: Hall = request.app.state.hall
    changing = request.method not in SAFE
    if changing:
        refuse_other_sites(request.headers)
    actor, csrf = await run_in_threadpool(whoever, request, hall)
    form = await request.form(max_fields=MOST_FIELDS, max_part_size=BODY_BYTES) if changing else FormData()
    lists = {name: [value for value in form.getlist(name) if isinstance(value, str)] for name in form}
    values = Fields({name: entries[-1] for name, entries in lists.items() if entries})
    if changing:
        sent = request.headers.get("x-csrf-token") or values["csrf_token"]
        if not hmac.compare_digest(sent.encode(), csrf.encode()):
            raise Forbidden("form_expired", "This form belongs to another session.", fix="Go back, reload the page and send it again.")
    if problems := text_problems((name, value) for name, entries in lists.items() for value in (name, *entries)):
        raise Invalid(
            "form_invalid", "A field of this form holds what is no text.", fix="Clear that field and send it again.", problems=problems
        )
    return Desk(request, hall, actor, csrf, values, lists)


def whoever(request: Request, hall: Hall) -> tuple[Actor, str]:
    """Who is signed in, and the session's token. Raises Unauthenticated `signed_out` or `session_over`."""
    ticket = _ticket(request, hall)
    return signed_in(hall.services.database, ticket.key_id, ticket.mark), hall.sessions.csrf(ticket)


def _ticket(request: Request, hall: Hall) -> Ticket:
    ticket = hall.sessions.open(request.cookies.get(hall.sessions.cookie), hall.services.database.clock.now())
    if ticket is None:
        raise Unauthenticated("signed_out", "You are signed out.", fix="Sign in with a key.")
    return ticket


At = Annotated[Desk, Depends(desk)]
