"""What the scripted world says: the forms that real servers use, judged by the very functions that judge those.

A tool must not be able to tell that it is being verified, so nothing here is a word of the script's own. What an author's script is
answered with is the first form of its table, always the same, since examples and tests name its code. What a gate plays, by the id of an
effect, is any of them, chosen by that id: the same again at each attempt, and not one code that a tool could learn to look for.

| | `refuse_now` | `refuse_for_good` | `lose_reply` |
|---|---|---|---|
| `email.send`, a channel that is an e-mail | `smtp_450` | `smtp_550` | `smtp_disconnected` |
| `http.request`, a channel that is a webhook | `http_429` | `http_422` | `http_disconnected` |
| `records.put`, `records.put_many` | `version_conflict` | `version_conflict` | |
| `records.snapshot` | `snapshot_interrupted` | `snapshot_too_large` | |

It refuses to be: a server. It makes replies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TypeVar

from app.connectors.http_exchange import Answered, Unanswered
from app.connectors.port import Reply, Request
from app.connectors.smtp_connection import SmtpReply
from app.connectors.smtp_pool import Delivery

REFUSALS = ("refuse_now", "refuse_for_good")
_Form = TypeVar("_Form")
_QUEUE_LETTERS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"

_MAIL: Mapping[str, Sequence[Delivery]] = {
    "refuse_now": [
        Delivery(SmtpReply(450, ("4.2.1 The user you are trying to contact is receiving mail too quickly",))),
        Delivery(SmtpReply(451, ("4.3.0 Temporary system problem, please try again later",))),
        Delivery(SmtpReply(452, ("4.2.2 Mailbox full",))),
        Delivery(SmtpReply(451, ("4.7.1 Greylisting in action, please come back later",))),
    ],
    "refuse_for_good": [
        Delivery(SmtpReply(550, ("5.1.1 Recipient address rejected: User unknown in virtual mailbox table",))),
        Delivery(SmtpReply(554, ("5.7.1 Message rejected due to local policy",))),
        Delivery(SmtpReply(553, ("5.1.3 The recipient address is not a valid address",))),
        Delivery(SmtpReply(552, ("5.3.4 Message size exceeds fixed limit",))),
    ],
    "lose_reply": [
        Delivery(certain=False, code="smtp_disconnected", message="the server closed the connection"),
        Delivery(certain=False, code="smtp_timeout", message="the server did not answer in time"),
    ],
}
_WEB: Mapping[str, Sequence[int | Unanswered]] = {
    "refuse_now": [429, 503, 408, 425],
    "refuse_for_good": [422, 400, 403, 409],
    "lose_reply": [
        Unanswered(False, "http_disconnected", "the server closed the connection without an answer"),
        Unanswered(False, "http_timeout", "the server did not answer in time"),
    ],
}


def mailed(request: Request, answer: str | None, *, varied: bool) -> Delivery:
    """What a mail server answers to a letter."""
    forms = _MAIL.get(answer or "")
    if forms is not None:
        return _chosen(forms, request, varied=varied)
    number = int(_digest(f"queued {request.effect_id}"), 16)
    queue_id = "4" + "".join(_QUEUE_LETTERS[number // 52**place % 52] for place in range(14))
    return Delivery(SmtpReply(250, (f"2.0.0 Ok: queued as {queue_id}",)))


def answered(request: Request, answer: str | None, *, varied: bool) -> Answered | Unanswered:
    """What an HTTP server answers to a request; a good answer has made-up values for whatever the spec keeps of it."""
    forms = _WEB.get(answer or "")
    if forms is not None:
        said = _chosen(forms, request, varied=varied)
        return said if isinstance(said, Unanswered) else status_answer(said)
    keep = request.config.get("keep", {})
    headers = {name: _made_up(request, name) for name in keep.get("headers", ())}
    fields = {name: _made_up(request, name) for name in keep.get("fields", ())}
    return status_answer(200 + int(_of_item(request, "status")[:2], 16) % 2, headers, json.dumps(fields).encode())


def conflicted(request: Request, answer: str) -> Reply:
    """What the records connectors answer where they do not do what was asked, word for word."""
    code, message = "version_conflict", "no record has the version that was expected"
    if request.connector == "records.put":
        message = f"The record does not have version {request.item.get('expected_version', 1)}."
    elif request.connector == "records.snapshot":
        code, message = {
            "refuse_now": ("snapshot_interrupted", "Another snapshot was deleted while this one was taken."),
            "refuse_for_good": ("snapshot_too_large", "A snapshot that an effect takes has at most 200000 records."),
        }[answer]
    return Reply("refused_now" if answer == "refuse_now" else "refused", code=code, message=message)


def status_answer(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"{}") -> Answered:
    """An answer with its usual words; a server that is overloaded says when to come back."""
    wait = {"retry-after": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Answered(status, HTTPStatus(status).phrase, {**wait, **(headers or {})}, body, whole=True)


def _chosen(forms: Sequence[_Form], request: Request, *, varied: bool) -> _Form:
    return forms[int(_digest(f"form {request.effect_id}"), 16) % len(forms)] if varied else forms[0]


def _made_up(request: Request, name: str) -> str:
    """A value as a provider might give it."""
    made = _of_item(request, name)[:20]
    return f"{request.item['url'].partition('?')[0]}/{made}" if name.endswith(("location", "url", "link", "href")) else made


def _of_item(request: Request, name: str) -> str:
    """Digits that follow from the item, so that each item has its own, the same wherever it is done."""
    item = json.dumps(request.item, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return _digest(f"{request.effect} {name} {item}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
