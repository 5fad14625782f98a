"""`http.request` as a value: its schemas, its canonical item, and what a server's answer means for an effect.

It refuses to be: a client. Nothing here is sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from app.connectors.connection_kinds import NAME_PATTERN
from app.connectors.http_exchange import Answered, Unanswered
from app.connectors.port import Lookup, Reply, bad_item, check_item
from app.core.errors import Problem
from app.core.texts import is_unicode
from app.spec.catalog import ConnectorKind

NAME = "http.request"
DEFAULT_TIMEOUT_S = 30
MOST_BODY = 1_000_000
MOST_KEPT = 300
_HOST = r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?(:[0-9]{1,5})?"
_PATH = r"/[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*"
_URL = rf"^(https://{_HOST})?{_PATH}$"
_FORBIDDEN = [
    *("host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer"),
    *("expect", "authorization", "cookie", "proxy-authorization", "idempotency-key"),
]
_UNKEPT = ["set-cookie", "set-cookie2", "authorization", "proxy-authorization", "www-authenticate", "cookie"]
_DOTS = re.compile(r"(^|/)(\.|%2e){1,2}(/|$)|//|%2f|%5c", re.IGNORECASE)
_METHODS = ["POST", "PUT", "PATCH", "DELETE"]
_CONFIG: dict[str, Any] = {
    "type": "object",
    "description": "Where requests may go: hosts over https, or a connection that an operator has named, with its credential.",
    "additionalProperties": False,
    "required": ["methods"],
    "oneOf": [{"required": ["hosts"]}, {"required": ["connection"]}],
    "properties": {
        "hosts": {
            "type": "array",
            "minItems": 1,
            "maxItems": 10,
            "uniqueItems": True,
            "items": {"type": "string", "maxLength": 260, "pattern": f"^{_HOST}$"},
            "description": "Host names, with :port if it is not 443; requests go to these alone, over https and without a credential.",
        },
        "connection": {
            "type": "string",
            "pattern": NAME_PATTERN,
            "description": "A connection of kind http; items then name paths below its base_url.",
        },
        "methods": {"type": "array", "minItems": 1, "maxItems": 4, "uniqueItems": True, "items": {"enum": _METHODS}},
        "headers": {
            "type": "object",
            "maxProperties": 20,
            "propertyNames": {"pattern": "^[a-z][a-z0-9-]{0,63}$", "not": {"enum": _FORBIDDEN}},
            "additionalProperties": {"type": "string", "maxLength": 500, "pattern": "^[ -~]*$"},
            "description": "Headers that every request carries, in lower case; never a credential.",
        },
        "timeout_s": {"type": "number", "minimum": 1, "maximum": 60, "description": "How long an answer is waited for; 30 if absent."},
        "on_5xx": {
            "enum": ["unknown", "refused_now"],
            "description": "What a 5xx without Retry-After means. unknown (if absent): the server may have acted before it failed. "
            "refused_now: it is known not to have, or to honour Idempotency-Key, so that the request may be sent again.",
        },
        "keep": {
            "type": "object",
            "description": "What of the answer the receipt keeps beside its status.",
            "additionalProperties": False,
            "properties": {
                "headers": {
                    "type": "array",
                    "maxItems": 10,
                    "uniqueItems": True,
                    "items": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,63}$", "not": {"enum": _UNKEPT}},
                    "description": "Names of headers, in lower case.",
                },
                "fields": {
                    "type": "array",
                    "maxItems": 10,
                    "uniqueItems": True,
                    "items": {"type": "string", "minLength": 1, "maxLength": 64},
                    "description": "Names of top-level fields of a JSON answer whose values are texts, numbers or truth values.",
                },
            },
        },
        "lookup": {
            "type": "object",
            "description": "How to ask what became of a request whose answer was lost: GET; 2xx: it happened, 404 or 410: it did not.",
            "additionalProperties": False,
            "required": ["url"],
            "properties": {
                "url": {
                    "type": "string",
                    "maxLength": 1000,
                    "pattern": rf"^(https://{_HOST})?/[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*\{{effect_id\}}[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*$",
                    "description": "Like an item's url, with {effect_id} where the Idempotency-Key of the request goes.",
                }
            },
        },
    },
}
_ITEM: dict[str, Any] = {
    "type": "object",
    "description": 'One request. It carries an Idempotency-Key. The receipt is {"status", "headers", "fields"}, as config.keep says.',
    "additionalProperties": False,
    "required": ["method", "url"],
    "properties": {
        "method": {"enum": _METHODS, "description": "One of config.methods."},
        "url": {
            "type": "string",
            "minLength": 1,
            "maxLength": 2000,
            "pattern": _URL,
            "description": "https://host/path of a declared host, in lower case up to the path; /path where the config names a connection.",
        },
        "json": {"type": "object", "description": "The body as a JSON object."},
        "text": {"type": "string", "maxLength": 500_000, "description": "The body as plain text; not together with json."},
    },
}


def http_kind() -> ConnectorKind:
    """The kind."""
    return ConnectorKind(NAME, "effect", _CONFIG, _ITEM)


def canonical_request(kind: ConnectorKind, config: Mapping[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """The item itself once it is known to stay within what the spec declares. Raises Invalid `item_invalid`."""
    check_item(kind, item)
    if item["method"] not in config["methods"]:
        raise bad_item(kind, Problem("$.item.method", f"is none of {', '.join(config['methods'])}", "Declare it in config.methods."))
    problem = url_problem(config, item["url"])
    if problem:
        raise bad_item(kind, Problem("$.item.url", *problem))
    if "json" in item and "text" in item:
        raise bad_item(kind, Problem("$.item.text", "stands beside json", "Pass one of the two."))
    if len(body_of(item)) > MOST_BODY:
        raise bad_item(kind, Problem("$.item", f"has a body of more than {MOST_BODY} bytes", "Send less."))
    return item


def body_of(item: Mapping[str, Any]) -> bytes:
    """The body's bytes, the same at each attempt."""
    if "json" in item:
        return json.dumps(item["json"], ensure_ascii=False, separators=(",", ":")).encode()
    return str(item.get("text", "")).encode()


def is_declared(config: Mapping[str, Any], url: str) -> bool:
    """Whether the spec of an effect without a connection lets a request go to this absolute URL."""
    parts = urlsplit(url)
    return parts.scheme == "https" and parts.netloc.removesuffix(":443") in config.get("hosts", ()) and is_plain(parts.path)


def is_plain(path: str) -> bool:
    """Whether a path leads where it says: no dots that climb, no empty parts, no encoded slashes."""
    return not _DOTS.search(path)


def url_problem(config: Mapping[str, Any], url: str) -> tuple[str, str] | None:
    """What is wrong with the URL of an item, or of a lookup, and what to do; None: it stays within what the spec declares."""
    path = urlsplit(url).path if url.startswith("https:") else url.partition("?")[0]
    if not is_plain(path):
        return "has . or .. or an empty part in its path, or an encoded slash", "Write the path as it is meant."
    if "connection" in config:
        return None if url.startswith("/") else ("is absolute", "Write the path below the connection's base_url, such as /orders.")
    if url.startswith("/"):
        return "has no host", f"Write https://{config['hosts'][0]}{url[:40]}"
    if not is_declared(config, url):
        return "goes to a host that the spec does not declare", f"Use one of {', '.join(config['hosts'])}, or add it to config.hosts."
    return None


def judge(config: Mapping[str, Any], heard: Answered | Unanswered, secret: str = "") -> Reply:
    """What the world's answer means: see the table in `http_request`."""
    if isinstance(heard, Unanswered):
        verdict: Any = "refused" if heard.refused else "refused_now" if heard.certain else "unknown"
        return Reply(verdict, code=heard.code, message=heard.message)
    status, code = heard.status, f"http_{heard.status}"
    message = without(secret, f"{status} {heard.reason}".strip())[:200]
    wait_ms = retry_after_ms(heard.headers.get("retry-after", ""))
    if 200 <= status < 300:
        return Reply("done", receipt=receipt(config, heard, secret))
    if status in (307, 308):
        return Reply("refused", code="redirect_refused", message="the server points to where the spec does not let requests go")
    if status in (408, 425, 429) or (status == 503 and wait_ms is not None) or (status == 401 and "connection" in config):
        return Reply("refused_now", code=code, message=message, retry_after_ms=wait_ms or 0)
    if 400 <= status < 500:
        return Reply("refused", code=code, message=message)
    if status >= 500:
        return Reply(config.get("on_5xx", "unknown"), code=code, message=message, retry_after_ms=wait_ms or 0)
    return Reply("unknown", code=code, message=message)


def judge_lookup(config: Mapping[str, Any], heard: Answered | Unanswered, secret: str = "") -> Lookup:
    """What the answer to a lookup means: 2xx it happened, 404 or 410 it did not, anything else says nothing."""
    if isinstance(heard, Unanswered):
        return Lookup("unknown", code=heard.code, message=heard.message)
    message = without(secret, f"{heard.status} {heard.reason}".strip())[:200]
    if 200 <= heard.status < 300:
        return Lookup("done", receipt=receipt(config, heard, secret))
    return Lookup("not_done" if heard.status in (404, 410) else "unknown", code=f"http_{heard.status}", message=message)


def receipt(config: Mapping[str, Any], answer: Answered, secret: str) -> dict[str, Any]:
    """`{"status", "headers", "fields"}`: what the spec asked to keep, without the credential even if the server repeats it."""
    keep = config.get("keep", {})
    headers = {name: without(secret, answer.headers[name])[:MOST_KEPT] for name in keep.get("headers", ()) if name in answer.headers}
    body = _json_object(answer) if keep.get("fields") else {}
    fields = {name: _kept(secret, body[name]) for name in keep.get("fields", ()) if _keeps(body.get(name))}
    return {"status": answer.status, "headers": headers, "fields": fields}


def retry_after_ms(text: str) -> int | None:
    """How long a Retry-After header asks to wait; None where there is none that can be read."""
    if text.isascii() and text.strip().isdigit():
        return min(int(text.strip()[:9]), 86_400) * 1000
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, min(86_400_000, round((moment - datetime.now(UTC)).total_seconds() * 1000)))


def without(secret: str, text: str) -> str:
    """The text without the credential, nor its last word where it reads `Bearer …`."""
    for hidden in (secret, secret.rpartition(" ")[2]):
        if len(hidden) >= 6:
            text = text.replace(hidden, "[credential]")
    return text


def _keeps(value: Any) -> bool:
    """Whether a receipt can hold it: a text, number or truth value; no half of a surrogate pair, no number beyond all bounds (1e999)."""
    return is_unicode(value) if isinstance(value, str) else isinstance(value, int) or (isinstance(value, float) and isfinite(value))


def _kept(secret: str, value: Any) -> Any:
    return without(secret, value)[:MOST_KEPT] if isinstance(value, str) else value


def _json_object(answer: Answered) -> dict[str, Any]:
    if not answer.whole:
        return {}
    try:
        found = json.loads(answer.body, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
