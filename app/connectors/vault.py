"""Secrets at rest: sealed with a key that lies under HOME (`connections.key`, mode 0600), or kept elsewhere and named.

A sealed text is AES-256-GCM, bound to the tenant and the connection that it belongs to: moved to another row it does not open. A
reference is `env:NAME` (an environment variable whose name begins with TOOLMINT_SECRET_) or `file:NAME` (a file of that name in
HOME/secrets or /run/secrets), read each time that it is needed, so that a rotated secret is found.

It refuses to be: a keeper of other people's variables. Names outside those places are not read, whoever asks.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.core import private_files
from app.core.errors import Failed, Invalid, Problem

KEY_FILE = "connections.key"
PREFIX = "TOOLMINT_SECRET_"
MOST_SECRET = 4096
_SEALED = "sealed:1:"
_ENV = re.compile(rf"env:({PREFIX}[A-Z0-9_]{{1,64}})")
_FILE = re.compile(r"file:([A-Za-z0-9][A-Za-z0-9_.-]{0,63})")
_NONCE = 12


@dataclass(frozen=True, slots=True)
class Vault:
    """Seals and opens the secrets of one installation."""

    home: Path

    def seal(self, text: str, belongs_to: str) -> str:
        """The text as it may be stored. Raises Failed `vault_key_exposed` or `vault_key_broken`."""
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(self._key(make=True)).encrypt(nonce, text.encode(), belongs_to.encode())
        return _SEALED + base64.b64encode(nonce + sealed).decode()

    def open(self, stored: str, belongs_to: str) -> str:
        """The secret behind what is stored. Raises Failed `secret_unreadable`, without a word of it."""
        if not stored.startswith(_SEALED):
            return self._look_up(stored)
        try:
            raw = base64.b64decode(stored.removeprefix(_SEALED), validate=True)
            return AESGCM(self._key(make=False)).decrypt(raw[:_NONCE], raw[_NONCE:], belongs_to.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise _unreadable("it was sealed with another key, or altered", "Enter the secret of this connection again.") from None

    def mark(self, content: bytes) -> bytes:
        """What tells two contents apart and lets nobody without the key guess at either."""
        return hmac.digest(self._key(make=True), content, "sha256")

    def _look_up(self, reference: str) -> str:
        if match := _ENV.fullmatch(reference):
            text = os.environ.get(match[1], "")
            return _usable(text, f"the environment variable {match[1]} is not set")
        if match := _FILE.fullmatch(reference):
            for folder in (self.home / "secrets", Path("/run/secrets")):
                with suppress(FileNotFoundError, UnicodeDecodeError, PermissionError):
                    return _usable((folder / match[1]).read_text(encoding="utf-8").strip("\r\n"), f"the file {match[1]} is empty")
            raise _unreadable(f"there is no file {match[1]} that can be read", "Put it into HOME/secrets or /run/secrets.")
        raise _unreadable("what is stored is neither sealed nor a reference", "Enter the secret of this connection again.")

    def _key(self, *, make: bool) -> bytes:
        path = self.home / KEY_FILE
        if make and not path.exists():
            private_files.make_once(path, os.urandom(32).hex() + "\n")
        try:
            if private_files.exposed(path):
                raise Failed("vault_key_exposed", f"Others may read {KEY_FILE}.", fix=f"chmod 600 {KEY_FILE}, and change what it sealed.")
            key = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except FileNotFoundError:
            raise _unreadable(f"{KEY_FILE} is gone from HOME", "Restore it from a backup, or enter the secret again.") from None
        except (ValueError, PermissionError):
            key = b""
        if len(key) != 32:
            raise Failed("vault_key_broken", f"{KEY_FILE} holds no key.", fix="Restore it from a backup.")
        return key


def check_reference(reference: str) -> None:
    """Raise Invalid `secret_reference_invalid` unless this is the form of a reference."""
    if not (_ENV.fullmatch(reference) or _FILE.fullmatch(reference)):
        fix = f"Write env:{PREFIX}NAME, or file:NAME for a file in HOME/secrets or /run/secrets."
        problem = Problem("$.secret_ref", "is no reference to a secret", fix)
        raise Invalid("secret_reference_invalid", "This is no reference to a secret.", fix=fix, problems=[problem])


def is_reference(stored: str) -> bool:
    """Whether what is stored only says where the secret is."""
    return not stored.startswith(_SEALED)


def _usable(text: str, otherwise: str) -> str:
    if not text or len(text) > MOST_SECRET or any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise _unreadable(otherwise if not text else "it is no single line of text", "Set it where the service can read it.")
    return text


def _unreadable(why: str, fix: str) -> Failed:
    return Failed("secret_unreadable", f"The secret cannot be read: {why}.", fix=fix)
