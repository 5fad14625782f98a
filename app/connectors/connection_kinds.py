"""The kinds of connection as values: which settings each takes, and where its secret goes.

It refuses to be: code that connects. What is right by its schema may still not answer; a test of the connection tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.connectors.smtp_server_url import SmtpServer
from app.core.errors import Invalid, Problem
from app.spec.schemas import compile_schema

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LINE = r"^[^\u0000-\u001f\u007f]*$"
_HOST = {
    "type": "string",
    "minLength": 1,
    "maxLength": 253,
    "pattern": r"^[A-Za-z0-9.:_-]+$",
    "description": "Name or address of the host.",
}
_PRIVATE = {"type": "boolean", "description": "Whether addresses of private networks and of this machine may be connected to."}
_PLAIN = {"type": "boolean", "description": "Whether http:// (without TLS) is allowed; a secret then goes to this machine only."}
_URL = {"type": "string", "maxLength": 1000, "pattern": r"^https?://[a-z0-9.:_\[\]-]+(/[!-\"$-~]*)?$"}
_OURS = frozenset(
    ("host", "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer", "upgrade", "expect", "idempotency-key")
)
_AT_ONCE = {"type": "integer", "minimum": 1, "maximum": 200, "description": "How many connections may be open at once; 10 if absent."}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of connection. `secret` says what its secret is; `destination` are the settings that say where it goes."""

    name: str
    title: str
    secret: str
    schema: Mapping[str, Any]
    destination: tuple[str, ...]


def _closed(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "smtp",
            "Mail server (SMTP)",
            "the password of the user",
            _closed(
                ["host"],
                {
                    "host": _HOST,
                    "port": {"type": "integer", "minimum": 1, "maximum": 65535, "description": "25, 587 or 465 by tls if absent."},
                    "tls": {"enum": ["none", "starttls", "implicit"], "description": "How the line is encrypted; starttls if absent."},
                    "user": {"type": "string", "maxLength": 320, "pattern": _LINE, "description": "Who signs in; nobody if absent."},
                    "connections": _AT_ONCE,
                    "per_domain_at_once": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 200,
                        "description": "How many mails may be on their way to one recipient domain at once; no limit if absent.",
                    },
                    "per_domain_per_second": {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "maximum": 10_000,
                        "description": "How many mails a second may begin to one recipient domain; no limit if absent.",
                    },
                },
            ),
            ("host", "port", "tls", "user"),
        ),
        Kind(
            "http",
            "HTTP service",
            "the value of the header that signs requests in, such as Bearer and a token",
            _closed(
                ["base_url"],
                {
                    "base_url": {**_URL, "description": "Where requests go: https://host, or with the beginning of every path."},
                    "header": {
                        "type": "string",
                        "pattern": "^[A-Za-z][A-Za-z0-9-]{0,63}$",
                        "description": "The header that carries the secret; Authorization if absent.",
                    },
                    "private_addresses": _PRIVATE,
                    "plain_http": _PLAIN,
                    "connections": _AT_ONCE,
                    "test_method": {"enum": ["HEAD", "GET"], "description": "How a test asks; HEAD if absent."},
                    "test_path": {
                        "type": "string",
                        "maxLength": 1000,
                        "pattern": r"^/[!-\"$-~]*$",
                        "description": "What a test asks for, after base_url; / if absent.",
                    },
                },
            ),
            ("base_url", "header", "plain_http"),
        ),
        Kind(
            "webhook",
            "Signed webhook",
            "the key that messages are signed with (HMAC-SHA256)",
            _closed(
                ["url"],
                {"url": {**_URL, "description": "Where messages are posted."}, "private_addresses": _PRIVATE, "plain_http": _PLAIN},
            ),
            ("url", "plain_http"),
        ),
    )
}


def check_config(kind: str, config: Any, *, secret: bool) -> None:
    """Raise Invalid `connection_invalid` with problems unless `config` is one of this kind, and safe with a secret or without."""
    problems = compile_schema(dict(KINDS[kind].schema)).problems(config, "$.config")
    if not problems:
        problems = list(_smtp(config, secret) if kind == "smtp" else _http(config, "base_url" if kind == "http" else "url", secret))
    if not problems and kind == "webhook" and not secret:
        problems = [Problem("$.secret", "is needed: a webhook that is not signed proves nothing", "Enter the key that both sides know.")]
    if problems:
        said = "; ".join(f"{problem.path} {problem.message}" for problem in problems[:3])
        raise Invalid("connection_invalid", f"This connection cannot be used: {said}.", problems=problems)


def destination(kind: str, config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where the secret goes; what changes this must bring the secret again."""
    return tuple(config.get(name) for name in KINDS[kind].destination)


def smtp_server(config: Mapping[str, Any], secret: str) -> SmtpServer:
    """The mail server of an smtp connection."""
    tls = config.get("tls", "starttls")
    port = config.get("port", {"none": 25, "starttls": 587, "implicit": 465}[tls])
    return SmtpServer(config["host"], port, tls, config.get("user", ""), secret)


def _smtp(config: Mapping[str, Any], secret: bool) -> list[Problem]:
    found = []
    if bool(config.get("user")) != secret:
        found.append(Problem("$.config.user", "and the password come together", "Enter both, or neither."))
    if secret and config.get("tls", "starttls") == "none" and config["host"] not in LOOPBACK:
        found.append(Problem("$.config.tls", "would send a password unencrypted to another machine", "Use starttls or implicit."))
    return found


def _http(config: Mapping[str, Any], field: str, secret: bool) -> list[Problem]:
    path = f"$.config.{field}"
    try:
        parts = urlsplit(config[field])
        host, _port = parts.hostname, parts.port
    except ValueError:
        return [Problem(path, "is no URL", "Write https://host or https://host:port.")]
    found = []
    if not host:
        found.append(Problem(path, "names no host", "Write https://host."))
    if field == "base_url" and parts.query:
        found.append(Problem(path, "has a query", "Leave it out; an effect adds its own."))
    if parts.scheme == "http" and not config.get("plain_http"):
        found.append(Problem(path, "is not encrypted", "Use https://, or set plain_http if that is meant."))
    if parts.scheme == "http" and secret and host not in LOOPBACK:
        found.append(Problem(path, "would send a secret unencrypted to another machine", "Use https://."))
    if config.get("header", "").lower() in _OURS:
        found.append(Problem("$.config.header", "is set by the service itself", "Name the header that the credential goes into."))
    return found
