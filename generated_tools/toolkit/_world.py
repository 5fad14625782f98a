"""The small world of a trial: records by collection, and connectors that work on them.

It refuses to be: the real connectors. It agrees with them on what a tool can see: canonical items, receipts, pages, refusals.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from ._lifelike import receipt_of

LOCAL = frozenset({"records.put", "records.put_many", "records.snapshot"})
"""Connectors whose effect commits together with its record, so that it is never unknown."""

PAGE = 500
_ATOM = r"[\w!#$%&'*+\-/=?^`{|}~]+"
_LOCAL_PART = re.compile(rf"(?=.{{1,64}}$){_ATOM}(?:\.{_ATOM})*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+[a-z][a-z0-9-]{{0,61}}[a-z0-9]")
_URL = re.compile(r"(?:https://(?P<host>[a-z0-9.-]+(?::[0-9]{1,5})?))?(?P<path>/[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*)")
_CLIMBS = re.compile(r"(^|/)(\.|%2e){1,2}(/|$)|//|%2f|%5c", re.IGNORECASE)
_NEEDED = {
    "email.send": ("to", "subject", "text"),
    "sms.send": ("to", "text"),
    "whatsapp.send": ("to",),
    "http.request": ("method", "url"),
    "notify.send": ("channel", "subject", "text"),
    "records.put": ("key", "body"),
    "records.put_many": ("records",),
}


class Refused(Exception):
    """The connector refuses, with a code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def canonical(connector: str, config: Mapping[str, Any], item: Any) -> dict[str, Any]:
    """The item in the one spelling that keys are made of. Raises Refused for an item that the connector cannot take."""
    if not isinstance(item, dict):
        raise Refused("item_invalid", "an item is an object")
    missing = [name for name in _NEEDED.get(connector, ()) if name not in item]
    if missing:
        raise Refused("item_invalid", f"{connector} needs {', '.join(missing)}")
    if connector == "http.request":
        _check_request(config, item)
    if connector == "notify.send" and item["channel"] not in config.get("channels", {}):
        raise Refused("item_invalid", "$.item.channel is no channel of the spec")
    if connector != "email.send":
        return dict(item)
    given = {name: value for name, value in item.items() if value is not None}
    return {**given, **{name: canonical_address(given[name]) for name in ("to", "reply_to") if name in given}}


def _check_request(config: Mapping[str, Any], item: Mapping[str, Any]) -> None:
    found = _URL.fullmatch(item["url"]) if isinstance(item["url"], str) else None
    if found is None or _CLIMBS.search(found["path"].partition("?")[0]):
        raise Refused("item_invalid", "$.item.url is no https URL, or no path below a connection")
    if found["host"] is None if "connection" not in config else found["host"] is not None:
        raise Refused(
            "item_invalid", "$.item.url is a path where the config names a connection, and https://host/path where it names hosts"
        )
    if found["host"] is not None and found["host"] not in config.get("hosts", ()):
        raise Refused("item_invalid", "$.item.url goes to a host that the spec does not declare")
    if item["method"] not in config.get("methods", ()):
        raise Refused("item_invalid", "$.item.method is none that the spec declares")
    if "json" in item and "text" in item:
        raise Refused("item_invalid", "$.item.text stands beside json")


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
        self.snapshots: dict[str, tuple[str, list[dict[str, Any]]]] = {}

    def add(self, collection: str, key: str, body: dict[str, Any]) -> int:
        """Write one record; returns its version, which counts its writes from 1."""
        self.records.setdefault(collection, {})[key] = body
        version = self.versions.get((collection, key), 0) + 1
        self.versions[collection, key] = version
        return version

    def keep(self, collection: str, wanted: Mapping[str, Any], name: str = "") -> tuple[str, int]:
        """Keep the records as they are now; returns the snapshot's id (which follows from them unless it is given) and their number."""
        rows = self._rows(collection, wanted)
        text = json.dumps([collection, rows], sort_keys=True)
        name = name or f"snap_{hashlib.sha256(text.encode()).hexdigest()[:40]}"
        self.snapshots.setdefault(name, (collection, json.loads(text)[1]))
        return name, len(rows)

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
        if ("collection" in query) == ("snapshot" in query):
            raise Refused("query_invalid", "a query reads a collection or a snapshot; name one of the two")
        declared = list(config.get("collections", ()))
        wanted = query.get("filter") or {}
        collection, rows = self._source(query, wanted)
        if collection not in declared:
            code = "snapshot_not_found" if "snapshot" in query else "collection_not_declared"
            raise Refused(code, f"the spec lets this read see {', '.join(declared)} only")
        limit = int(query.get("limit") or PAGE)
        after = query.get("cursor")
        rows = [row for row in rows if after is None or row["key"] > after]
        more = len(rows) > limit
        return {"items": rows[:limit], "next_cursor": rows[limit - 1]["key"] if more else None}

    def _source(self, query: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
        if "snapshot" not in query:
            return str(query["collection"]), self._rows(str(query["collection"]), wanted)
        collection, rows = self.snapshots.get(str(query["snapshot"]), ("", []))
        return collection, [row for row in rows if all(_matches(row["body"].get(name), value) for name, value in wanted.items())]

    def _rows(self, collection: str, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            {"key": key, "body": body, "version": self.versions[collection, key]}
            for key, body in sorted(self.records.get(collection, {}).items())
            if all(_matches(body.get(name), value) for name, value in wanted.items())
        ]

    def perform(self, effect: str, connector: str, config: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one effect; returns of its receipt what a tool is told. Raises Refused where it is refused for good."""
        if connector == "records.put":
            return self._put(str(config.get("collection")), item)
        if connector == "records.put_many":
            return self._put_many(str(config.get("collection")), item)
        if connector == "records.snapshot":
            name, count = self.keep(str(config.get("collection")), item.get("filter") or {})
            return {"snapshot": name, "count": count}
        return receipt_of(effect, connector, config, item)

    def _put_many(self, collection: str, item: Mapping[str, Any]) -> dict[str, Any]:
        fits = [self._has_version(collection, record) for record in item["records"]]
        missed = [place for place, fit in enumerate(fits, start=1) if not fit]
        if item.get("atomic") and missed:
            these = f"{len(missed)} of {len(fits)} records do not have the version that was expected"
            raise Refused("version_conflict", f"{these} (number {', '.join(map(str, missed[:5]))}); none was written.")
        if not any(fits):
            raise Refused("version_conflict", "no record has the version that was expected")
        error = {"code": "version_conflict", "message": "the record does not have the version that was expected"}
        told = [
            self._put(collection, record) if fit else {"key": str(record["key"]), "error": error}
            for record, fit in zip(item["records"], fits, strict=True)
        ]
        return {"records": told}

    def _has_version(self, collection: str, record: Mapping[str, Any]) -> bool:
        return record.get("expected_version") in (None, self.versions.get((collection, record["key"]), 0))

    def _put(self, collection: str, item: Mapping[str, Any]) -> dict[str, Any]:
        key = str(item["key"])
        expected = item.get("expected_version")
        present = self.versions.get((collection, key), 0)
        if expected is not None and expected != present:
            raise Refused("version_conflict", f"The record does not have version {expected}.")
        return {"key": key, "version": self.add(collection, key, dict(item["body"]))}


def _matches(present: Any, wanted: Any) -> bool:
    """One condition of a filter: a value, or a list of values any of which will do; null also matches what is absent."""
    choices = wanted if isinstance(wanted, list) else [wanted]
    return any(present == choice and isinstance(present, bool) == isinstance(choice, bool) for choice in choices)
