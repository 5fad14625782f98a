"""`notify.send` as a value: one notification to one channel, of those that the spec declares.

A fan-out is one effect for each channel, so that each has its row in the ledger, its receipt, its retries and its doubt: a channel
that has accepted is never sent to again because another one is. The tool performs the effect once for each channel, and the key holds
`item.channel`.

It refuses to be: a way to write to anybody. Whom a channel reaches stands in the spec or in a connection, not in the item.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.connectors.connection_kinds import NAME_PATTERN
from app.connectors.email_kind import canonical_email, email_kind
from app.connectors.port import bad_item, check_item
from app.core.errors import Problem
from app.spec.catalog import ConnectorKind

NAME = "notify.send"
_EMAIL_KIND = email_kind(local=False)
_LINE = r"^[^\u0000-\u001f\u007f]*$"
_EMAIL: dict[str, Any] = {
    "type": "object",
    "description": "An e-mail to one address: the fields of the config of email.send, and `to`.",
    "additionalProperties": False,
    "required": ["to", *_EMAIL_KIND.config_schema["required"]],
    "properties": {
        "to": {"type": "string", "minLength": 3, "maxLength": 400, "description": "The address."},
        **_EMAIL_KIND.config_schema["properties"],
    },
}
_WEBHOOK: dict[str, Any] = {
    "type": "object",
    "description": "A signed message to the address of a connection of kind webhook.",
    "additionalProperties": False,
    "required": ["connection"],
    "properties": {"connection": {"type": "string", "pattern": NAME_PATTERN, "description": "Name of the connection."}},
}


def _one(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": [name], "properties": {name: schema}}


_CONFIG: dict[str, Any] = {
    "type": "object",
    "description": "The channels that a notification may go to.",
    "additionalProperties": False,
    "required": ["channels"],
    "properties": {
        "channels": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 20,
            "propertyNames": {"pattern": NAME_PATTERN},
            "additionalProperties": {"oneOf": [_one("email", _EMAIL), _one("webhook", _WEBHOOK)]},
            "description": 'By name: {"email": {"to", "from_domain", …}} or {"webhook": {"connection"}}.',
        }
    },
}
_ITEM: dict[str, Any] = {
    "type": "object",
    "description": "One notification to one channel; perform it once for each channel. The receipt: "
    '{"channel"} of an e-mail, {"channel", "status"} of a webhook.',
    "additionalProperties": False,
    "required": ["channel", "subject", "text"],
    "properties": {
        "channel": {"type": "string", "pattern": NAME_PATTERN, "description": "Name of a channel of the config."},
        "subject": {"type": "string", "minLength": 1, "maxLength": 300, "pattern": _LINE, "description": "One line of text."},
        "text": {"type": "string", "minLength": 1, "maxLength": 50_000, "description": "The notification as plain text."},
        "data": {"type": "object", "description": "More for programs; a webhook carries it, an e-mail does not."},
    },
}


def notify_kind() -> ConnectorKind:
    """The kind."""
    return ConnectorKind(NAME, "effect", _CONFIG, _ITEM, key_fields=("channel",))


def canonical_notification(kind: ConnectorKind, config: Mapping[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """The item itself once its channel is known to exist. Raises Invalid `item_invalid`."""
    check_item(kind, item)
    channel = config["channels"].get(item["channel"])
    if channel is None:
        fix = f"Use one of {', '.join(config['channels'])}, or declare it in config.channels."
        raise bad_item(kind, Problem("$.item.channel", "is no channel of the spec", fix))
    if "email" in channel:
        canonical_email(_EMAIL_KIND, email_item(channel["email"], item))
    return item


def email_item(channel: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """The e-mail that a notification to this channel is."""
    return {"to": channel["to"], "subject": item["subject"], "text": item["text"]}


def email_config(channel: Mapping[str, Any]) -> dict[str, Any]:
    """The config of that e-mail."""
    return {name: value for name, value in channel.items() if name != "to"}
