"""An e-mail as bytes: one fixed shape, rendered by hand (the standard library's way costs about 1 ms a message).

Every header is ASCII or RFC 2047 encoded; control characters, CR and LF above all, are refused, so that no value of a tool
can become a header. Bodies are 7bit where they are plain ASCII of short lines, else quoted-printable, so that no server needs
8BITMIME. The boundary and the Message-ID follow from the effect, so that each attempt sends the same message but for its date.

It refuses to be: a composer. No attachments, no inline images, one recipient.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from app.connectors.email_kind import DEFAULT_LOCAL

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+")
_NEWLINE = re.compile(r"\r\n|\r|\n")
_SEVEN_BIT = re.compile(r"[\t\r\n\x20-\x7e]*")
_LONG_LINE = re.compile(r"[^\r\n]{901}")
_TRAILING = re.compile(r"[ \t](?:\r\n|\Z)")
_WORD_BYTES = 42  # of UTF-8 in one encoded word, which with its frame stays under 75 characters
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Letter:
    """What a transport needs: the envelope, and the message with CRLF line ends and without dots doubled."""

    sender: str
    recipient: str
    data: bytes
    needs_utf8: bool


def sender_address(config: dict[str, Any]) -> str:
    """The sender's address that a config means."""
    return f"{config.get('from_local', DEFAULT_LOCAL)}@{config['from_domain']}"


def render(config: dict[str, Any], item: dict[str, Any], message_id: str, at_ms: int) -> Letter:
    """The letter for one canonical item. Raises ValueError where a header would hold a control character."""
    sender, recipient = sender_address(config), item["to"]
    headers = [
        f"From: {_mailbox(config.get('from_name', ''), sender)}",
        f"To: {_safe(recipient)}",
        f"Subject: {_subject(item['subject'])}",
        f"Message-ID: {_safe(message_id)}",
        f"Date: {_date(at_ms // 1000)}",
    ]
    if "reply_to" in item:
        headers.append(f"Reply-To: {_safe(item['reply_to'])}")
    if "list_unsubscribe" in item:
        headers.append(f"List-Unsubscribe: <{_safe(item['list_unsubscribe'])}>")
        if item["list_unsubscribe"].startswith("https:"):
            headers.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
    headers.append("MIME-Version: 1.0")
    head = "\r\n".join(headers)
    body = _body(item["text"], item.get("html"), message_id)
    return Letter(sender, recipient, f"{head}\r\n{body}".encode(), needs_utf8=not head.isascii())


def _body(text: str, html: str | None, message_id: str) -> str:
    plain = _part("plain", text)
    if html is None:
        return plain
    parts = (plain, _part("html", html))
    boundary = "=_" + re.sub(r"[^0-9a-zA-Z]", "", message_id)[:40]
    while any(f"--{boundary}" in part for part in parts):
        boundary += "_"
    inner = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n{inner}--{boundary}--\r\n'


def _part(subtype: str, text: str) -> str:
    """One body with its headers; it ends with CRLF."""
    text = _NEWLINE.sub("\r\n", text)
    if not text.endswith("\r\n"):
        text += "\r\n"
    encoding = "7bit"
    if not _SEVEN_BIT.fullmatch(text) or _LONG_LINE.search(text) or _TRAILING.search(text):
        encoding = "quoted-printable"
        text = _quoted_printable(text)
    return f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{text}"


def _quoted_printable(text: str) -> str:
    coded = binascii.b2a_qp(text.encode(), istext=True)
    return coded.decode("ascii")


@lru_cache(maxsize=256)
def _subject(text: str) -> str:
    _safe(text)
    if text.isascii() and "=?" not in text and text == text.strip():
        return text
    return "\r\n ".join(_words(text))


@lru_cache(maxsize=256)
def _mailbox(name: str, address: str) -> str:
    _safe(name + address)
    if not name:
        return address
    if not name.isascii() or "=?" in name:
        return "\r\n ".join([*_words(name), f"<{address}>"])
    if _ATOMS.fullmatch(name) and name == name.strip():
        return f"{name} <{address}>"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{address}>'


def _words(text: str) -> Iterator[str]:
    """RFC 2047 encoded words, none of which splits a character."""
    rest = text.encode()
    while rest:
        end = min(_WORD_BYTES, len(rest))
        while end < len(rest) and rest[end] & 0xC0 == 0x80:
            end -= 1
        yield f"=?utf-8?b?{base64.b64encode(rest[:end]).decode()}?="
        rest = rest[end:]


def _safe(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("a header must not hold control characters")
    return value


@lru_cache(maxsize=8)
def _date(seconds: int) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} {moment:%Y %H:%M:%S} +0000"
