"""The small world of a trial: records by collection, and connectors that work on them.

It refuses to be: the real connectors. It agrees with them on what a tool can see: canonical items, receipts, pages, refusals.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

LOCAL = frozenset({"records.put", "records.put_many"})
"""Connectors whose effect commits together with its record, so that it is never unknown."""

PAGE = 500
_ATOM = r"[\w!#$%&'*+\-/=?^`{|}~]+"
_LOCAL_PART = re.compile(rf"(?=.{{1,64}}$){_ATOM}(?:\.{_ATOM})*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+[a-z][a-z0-9-]{{0,61}}[a-z0-9]")
_NEEDED = {
    "email.send": ("to", "subject", "text"),
    "sms.send": ("to", "text"),
    "whatsapp.send": ("to",),
    "records.put": ("key", "body"),
    "records.put_many": ("records",),
}


class Refused(Exception):
    """The connector refuses, with a code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def canonical(connector: str, item: Any) -> dict[str, Any]:
    """The item in the one spelling that keys are made of. Raises Refused for an item that the connector cannot take."""
    if not isinstance(item, dict):
        raise Refused("item_invalid", "an item is an object")
    missing = [name for name in _NEEDED.get(connector, ()) if name not in item]
    if missing:
        raise Refused("item_invalid", f"{connector} needs {', '.join(missing)}")
    if connector != "email.send":
        return dict(item)
    given = {name: value for name, value in item.items() if value is not None}
    return {**given, **{name: canonical_address(given[name]) for name in ("to", "reply_to") if name in given}}


def canonical_address(address: Any) -> str:
    """Trimmed, NFC, lower case, the domain in ASCII, 254 bytes at most: what the host makes of an address. Raises Refused."""
    text = unicodedata.normalize("NFC", address.strip()).lower() if isinstance(address, str) else ""
    local, _, domain = text.rpartition("@")
    try:
        domain = domain.encode("idna").decode()
    except UnicodeError:
        domain = ""
    if not (_LOCAL_PART.fullmatch(local) and _DOMAIN.fullmatch(domain)) or len(f"{local}@{domain}".encode()) > 254:
        raise Refused("item_invalid", "$.item.to is no address")
    return f"{local}@{domain}"


def cue(connector: str, name: str, value: Any) -> Any:
    """A script's value as the connector spells it, so that an address may be written in any way."""
    if connector != "email.send" or name not in ("to", "reply_to"):
        return value
    try:
        return canonical_address(value)
    except Refused:
        return value


class World:
    """Records that reads see and effects change. Bodies are copied in and out by the caller."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, dict[str, Any]]] = {}
        self.versions: dict[tuple[str, str], int] = {}

    def add(self, collection: str, key: str, body: dict[str, Any]) -> int:
        """Write one record; returns its version, which counts its writes from 1."""
        self.records.setdefault(collection, {})[key] = body
        version = self.versions.get((collection, key), 0) + 1
        self.versions[collection, key] = version
        return version

    def as_dict(self) -> dict[str, Any]:
        """The shape in which a world is written down: `{"records": {collection: [{"key", "body"}]}}`, sorted by key."""
        rows = {name: [{"key": key, "body": body} for key, body in sorted(held.items())] for name, held in self.records.items()}
        return {"records": rows}

    def read(self, connector: str, config: Mapping[str, Any], query: Mapping[str, Any]) -> Any:
        """What a read connector answers. Raises Refused."""
        if connector == "records.get":
            return self.records.get(str(config.get("collection")), {}).get(str(query.get("key")))
        if connector == "records.query":
            return self._page(config, query)
        raise Refused("no_twin", f"a trial has no twin of {connector}")

    def _page(self, config: Mapping[str, Any], query: Mapping[str, Any]) -> dict[str, Any]:
        declared = list(config.get("collections", ()))
        collection = query.get("collection")
        if not isinstance(collection, str) or collection not in declared:
            raise Refused("collection_not_declared", f"the spec lets this read see {', '.join(declared)} only")
        wanted = query.get("filter") or {}
        limit = int(query.get("limit") or PAGE)
        after = query.get("cursor")
        rows = [
            {"key": key, "body": body, "version": self.versions[collection, key]}
            for key, body in sorted(self.records.get(collection, {}).items())
            if (after is None or key > after) and all(_matches(body.get(name), value) for name, value in wanted.items())
        ]
        more = len(rows) > limit
        return {"items": rows[:limit], "next_cursor": rows[limit - 1]["key"] if more else None}

    def perform(self, connector: str, config: Mapping[str, Any], item: Mapping[str, Any], effect_id: str) -> dict[str, Any]:
        """Carry out one effect; returns its receipt. Raises Refused where it is refused for good."""
        if connector == "records.put":
            return self._put(str(config.get("collection")), item)
        if connector == "records.put_many":
            return {"records": [self._put(str(config.get("collection")), record) for record in item["records"]]}
        return {"message_id": f"<{effect_id}@trial.invalid>"}

    def _put(self, collection: str, item: Mapping[str, Any]) -> dict[str, Any]:
        key = str(item["key"])
        expected = item.get("expected_version")
        present = self.versions.get((collection, key), 0)
        if expected is not None and expected != present:
            raise Refused("version_conflict", f"the record has version {present}, not {expected}")
        return {"key": key, "version": self.add(collection, key, dict(item["body"]))}


def _matches(present: Any, wanted: Any) -> bool:
    """One condition of a filter: a value, or a list of values any of which will do; null also matches what is absent."""
    choices = wanted if isinstance(wanted, list) else [wanted]
    return any(present == choice and isinstance(present, bool) == isinstance(choice, bool) for choice in choices)
