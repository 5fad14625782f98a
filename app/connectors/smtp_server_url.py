"""Where mail goes out: `smtp://user:password@host:port`, `smtps://…` (TLS from the first byte), `smtp://…?starttls=1`.

It refuses to be: lenient. A password over an open line to another machine is refused, and so is what is not understood.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from app.core.errors import Invalid

_PORTS = {"smtp": 25, "smtps": 465}


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server and how to speak to it. The password is in no repr."""

    host: str
    port: int
    tls: Literal["none", "starttls", "implicit"] = "none"
    user: str = ""
    password: str = field(default="", repr=False)


def parse_smtp_url(url: str) -> SmtpServer:
    """The server that a URL means. Raises Invalid `smtp_url_invalid`, never with the URL in it."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except (ValueError, KeyError):
        raise _bad("it is not of the form smtp://host:port or smtps://host:port") from None
    starttls = options.pop("starttls", "0")
    if not parts.hostname or parts.path not in ("", "/") or parts.fragment or options or starttls not in ("0", "1"):
        raise _bad("it names no host, or has parts that mean nothing here")
    if parts.scheme == "smtps" and starttls == "1":
        raise _bad("smtps and starttls exclude each other")
    tls: Literal["none", "starttls", "implicit"] = "implicit" if parts.scheme == "smtps" else "starttls" if starttls == "1" else "none"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password) or any(ord(c) < 32 for c in user + password):
        raise _bad("user and password come together, without control characters")
    if user and tls == "none" and not _loopback(parts.hostname):
        raise _bad("it would send a password unencrypted to another machine")
    return SmtpServer(parts.hostname, port, tls, user, password)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bad(why: str) -> Invalid:
    fix = "Set TOOLMINT_SMTP_URL to smtp://host:port, smtp://user:password@host:port?starttls=1 or smtps://user:password@host:port."
    return Invalid("smtp_url_invalid", f"The SMTP server's URL cannot be used: {why}.", fix=fix)
