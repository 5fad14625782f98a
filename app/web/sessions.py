"""Browser sessions: a signed cookie that names an API key, a nonce and an end. Tokens against forged requests hang on it.

The key is looked up at every request, so that a revoked or expired key ends the session at once.

It refuses to be: an account or a store. No secret of a key is in the cookie, and nothing is kept on the server but the
signing secret in `HOME/session.secret`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from app.core import private_files
from app.core.errors import Failed

LIFETIME_MS = 12 * 3600 * 1000
NOTE_S = 30
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Ticket:
    """One signed-in browser: which key, a random nonce, the end in ms, and a mark of the key's text."""

    key_id: str
    nonce: str
    expires_at: int
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Seals and opens tickets. `secure` says whether the dashboard is reached by https; `port` keeps neighbours apart."""

    secret: bytes
    secure: bool
    port: int

    @property
    def cookie(self) -> str:
        """The cookie's name: `__Host-` pins it to https, host and path. Cookies ignore ports, so the plain name holds the port."""
        return "__Host-toolmint" if self.secure else f"toolmint_{self.port}"

    @property
    def note_cookie(self) -> str:
        """The name of the cookie that carries one message over a redirect."""
        return f"{self.cookie}_note"

    def issue(self, key_id: str, now: int, mark: str = "") -> Ticket:
        """A new ticket, valid for twelve hours."""
        return Ticket(key_id, secrets.token_urlsafe(18), now + LIFETIME_MS, mark)

    def seal(self, ticket: Ticket) -> str:
        """The cookie's value."""
        return self._signed("ticket", json.dumps([ticket.key_id, ticket.nonce, ticket.expires_at, ticket.mark]))

    def open(self, value: str | None, now: int) -> Ticket | None:
        """The ticket of a cookie; None if it is missing, altered or over."""
        text = self._verified("ticket", value)
        if text is None:
            return None
        ticket = Ticket(*json.loads(text))
        return ticket if now < ticket.expires_at else None

    def csrf(self, ticket: Ticket) -> str:
        """The token that every form of this session carries."""
        return hmac.new(self.secret, f"csrf:{ticket.key_id}:{ticket.nonce}".encode(), hashlib.sha256).hexdigest()

    def seal_note(self, text: str) -> str:
        """A short message for the next page, signed so that nobody else can plant one."""
        return self._signed("note", text)

    def open_note(self, value: str | None) -> str | None:
        """The message, if it is ours."""
        return self._verified("note", value)

    def _signed(self, purpose: str, text: str) -> str:
        payload = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        return f"{payload}.{self._mark(purpose, payload)}"

    def _verified(self, purpose: str, value: str | None) -> str | None:
        payload, _, mark = (value or "").partition(".")
        if not hmac.compare_digest(mark.encode(), self._mark(purpose, payload).encode()):
            return None
        try:
            return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None

    def _mark(self, purpose: str, payload: str) -> str:
        return hmac.new(self.secret, f"{purpose}:{payload}".encode(), hashlib.sha256).hexdigest()


def signing_secret(home: Path) -> bytes:
    """What is in `home/session.secret`, made at first use; several processes starting at once agree on one file.

    Raises Failed `session_secret_broken` where it is too short to be secret.
    """
    path = home / "session.secret"
    if not path.exists():
        private_files.make_once(path, secrets.token_hex(_SECRET_BYTES))
    secret = path.read_bytes()
    if len(secret) < _SECRET_BYTES:
        fix = "Remove it, and it is made anew; everybody signs in again."
        raise Failed("session_secret_broken", f"{path.name} is too short to be secret.", fix=fix)
    return secret
