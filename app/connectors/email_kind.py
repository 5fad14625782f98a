"""`email.send` as a value: its name, its schemas, its canonical item and its message id, shared by every way of sending.

It refuses to be: a transport.
"""

from __future__ import annotations

import hashlib
from typing import Any

from app.connectors.address import BadAddress, canonical_address
from app.connectors.connection_kinds import NAME_PATTERN
from app.connectors.port import bad_item, check_item
from app.core.errors import Problem
from app.spec.catalog import ConnectorKind

NAME = "email.send"
DEFAULT_LOCAL = "no-reply"
_LINE = r"^[^\u0000-\u001f\u007f]*$"
_DOMAIN = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"


def _or_null(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}], "description": description}


_CONFIG: dict[str, Any] = {
    "type": "object",
    "description": "Whom the mail is from. The tool cannot choose another sender.",
    "additionalProperties": False,
    "required": ["from_domain"],
    "properties": {
        "from_domain": {"type": "string", "pattern": _DOMAIN, "maxLength": 190, "description": "The sender's domain, ASCII, lower case."},
        "from_local": {
            "type": "string",
            "pattern": r"^[a-z0-9]([a-z0-9._+-]{0,62}[a-z0-9])?$",
            "maxLength": 64,
            "description": "What stands before the @ of the sender; no-reply if absent.",
        },
        "connection": {
            "type": "string",
            "pattern": NAME_PATTERN,
            "description": "A connection of kind smtp that an operator has named; the service's own way of sending if absent.",
        },
        "from_name": {"type": "string", "minLength": 1, "maxLength": 120, "pattern": _LINE, "description": "The sender's name, if any."},
    },
}
_ITEM: dict[str, Any] = {
    "type": "object",
    "description": "One e-mail to one recipient. The receipt is empty: what the mail server said, in the ledger, is for people.",
    "additionalProperties": False,
    "required": ["to", "subject", "text"],
    "properties": {
        "to": {
            "type": "string",
            "minLength": 3,
            "maxLength": 400,
            "description": "The recipient's address, without a name; trimmed, lower-cased, the domain in its ASCII form.",
        },
        "subject": {"type": "string", "minLength": 1, "maxLength": 300, "pattern": _LINE, "description": "One line of text."},
        "text": {"type": "string", "minLength": 1, "maxLength": 200_000, "description": "The body as plain text."},
        "html": _or_null({"type": "string", "minLength": 1, "maxLength": 500_000}, "The body as HTML, sent beside the text; none if null."),
        "reply_to": _or_null({"type": "string", "minLength": 3, "maxLength": 400}, "Where answers go; to the sender if null."),
        "list_unsubscribe": _or_null(
            {"type": "string", "maxLength": 900, "pattern": r"^(https://|mailto:)[!-;=?-~]+$"},
            "Where a recipient unsubscribes: an https address (answers one-click POSTs, RFC 8058) or a mailto one.",
        ),
    },
}


def email_kind(*, local: bool) -> ConnectorKind:
    """The kind; `local` where mail goes into the built-in outbox."""
    return ConnectorKind(NAME, "effect", _CONFIG, _ITEM, local=local, canonical_fields=("to", "reply_to"))


def canonical_email(kind: ConnectorKind, item: dict[str, Any]) -> dict[str, Any]:
    """The item with canonical addresses and without null fields. Raises Invalid `item_invalid`."""
    check_item(kind, item)
    canonical = {name: value for name, value in item.items() if value is not None}
    for name in kind.canonical_fields:
        if name in canonical:
            try:
                canonical[name] = canonical_address(canonical[name])
            except BadAddress as error:
                raise bad_item(
                    kind, Problem(f"$.item.{name}", f"is no address: {error}", "Pass one address such as ann@example.com.")
                ) from None
    return canonical


def email_message_id(effect_id: str, config: dict[str, Any]) -> str:
    """`<40 hexadecimal digits@from_domain>`, the same for each attempt at one effect, so that a receiver can tell a repeat."""
    return f"<{hashlib.sha256(effect_id.encode()).hexdigest()[:40]}@{config['from_domain']}>"
