"""What a trial's world says, in the forms that the host's world has: codes of refusals and of lost replies, values of answers.

It refuses to be: a server. What it makes up follows from the item, so that each item has its own, the same wherever it is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_MAIL = {"refuse_now": "smtp_450", "refuse_for_good": "smtp_550", "lose_reply": "smtp_disconnected"}
_WEB = {"refuse_now": "http_429", "refuse_for_good": "http_422", "lose_reply": "http_disconnected"}
_RECORD = dict.fromkeys(("refuse_now", "refuse_for_good"), ("version_conflict", "The record does not have version {version}."))
_RECORDS = dict.fromkeys(("refuse_now", "refuse_for_good"), ("version_conflict", "no record has the version that was expected"))
_SNAPSHOT = {
    "refuse_now": ("snapshot_interrupted", "Another snapshot was deleted while this one was taken."),
    "refuse_for_good": ("snapshot_too_large", "A snapshot that an effect takes has at most 200000 records."),
}
_LOCAL = {"records.put": _RECORD, "records.put_many": _RECORDS, "records.snapshot": _SNAPSHOT}
_WORDS = {"retry_wait": "it will be tried again", "failed": "refused for good", "unknown": "it may have happened, or not"}


def error_of(connector: str, config: Mapping[str, Any], item: Mapping[str, Any], answer: str, state: str) -> dict[str, Any]:
    """`{"code", "message"}` of an effect that a script has refused, or whose reply it has lost, and that is in `state` now."""
    if connector in _LOCAL:
        code, message = _LOCAL[connector][answer]
        return {"code": code, "message": message.format(version=item.get("expected_version", 1))}
    return {"code": (_WEB if _is_web(connector, config, item) else _MAIL)[answer], "message": _WORDS.get(state, "")}


def receipt_of(effect: str, connector: str, config: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """What a tool is told of the answer to an effect outside the records: of a mail nothing, of a request what the spec keeps."""
    if connector == "notify.send":
        return {"channel": item["channel"], **({"status": _status(effect, item)} if _is_web(connector, config, item) else {})}
    if connector != "http.request":
        return {}
    keep = config.get("keep", {})
    kept = {part: {name: _made_up(effect, item, name) for name in keep.get(part, ())} for part in ("headers", "fields")}
    return {"status": _status(effect, item), **kept}


def _is_web(connector: str, config: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    return connector == "http.request" or (connector == "notify.send" and "webhook" in config["channels"][item["channel"]])


def _status(effect: str, item: Mapping[str, Any]) -> int:
    return 200 + int(_digest(effect, item, "status")[:2], 16) % 2


def _made_up(effect: str, item: Mapping[str, Any], name: str) -> str:
    made = _digest(effect, item, name)[:20]
    return f"{item['url'].partition('?')[0]}/{made}" if name.endswith(("location", "url", "link", "href")) else made


def _digest(effect: str, item: Mapping[str, Any], name: str) -> str:
    text = json.dumps(item, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{effect} {name} {text}".encode()).hexdigest()
