"""Signatures of one installation (Ed25519): its key under HOME (`evidence.key`, mode 0600), and the keys whose signatures it believes.

The key is made where it is first needed, as a rule at the first start, and by one process alone. `evidence.trusted`
holds more public keys, one a line: those that this installation signed with before, and those that an operator trusts. Both files are
read at each use, so that a change holds from the next one on; what a process concluded before, it does not ask again. They lie outside
of the database on purpose: whoever can write there cannot make it believed. A backup holds them, and its restoration brings them back.

It refuses to be: a directory. A key is believed because an operator put it here, never because a signature names it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.core import private_files
from app.core.errors import Conflict, Failed, Invalid

KEY_FILE = "evidence.key"
TRUSTED_FILE = "evidence.trusted"
_FIRST = "evidence.key.first"
_LOCK = "evidence.lock"
_FIRST_LOCK = "evidence.first.lock"
_PUBLIC = re.compile(r"[0-9a-f]{64}")
_VALUE = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Signature:
    """`public_key` (64 digits) and `value` (128) in lower-case hexadecimal: each signature has one spelling."""

    public_key: str
    value: str

    @property
    def key_id(self) -> str:
        return key_id(self.public_key)


def key_id(public_key: str) -> str:
    """What people call a key by: the first 16 digits of the SHA-256 of its text. Nothing is decided by it."""
    return hashlib.sha256(public_key.encode()).hexdigest()[:16]


def holds(signature: Signature, message: bytes) -> bool:
    """Whether the key that the signature names signed this message."""
    if not (_PUBLIC.fullmatch(signature.public_key) and _VALUE.fullmatch(signature.value)):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.public_key)).verify(bytes.fromhex(signature.value), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def checked_public_key(text: str) -> str:
    """The key as it is compared. Raises Invalid `public_key_invalid`."""
    key = text.strip()
    if not _PUBLIC.fullmatch(key):
        fix = "Give the 64 digits that `toolmint evidence key` prints, or a file that holds them."
        raise Invalid("public_key_invalid", "This is no public key.", fix=fix)
    return key


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of one installation, which all its processes share."""

    home: Path

    @property
    def made(self) -> bool:
        """Whether this installation has a key."""
        return (self.home / KEY_FILE).exists()

    def sign(self, message: bytes) -> Signature:
        """Sign with this installation's key, made where there is none. Raises Failed `evidence_key_exposed`, `evidence_key_broken`."""
        self.make()
        return _signed(self.home / KEY_FILE, message)

    def make(self) -> None:
        """Make the key where there is none. For whoever signs in a transaction, before it begins: in the block of `first` others write."""
        if not self.made:
            with self.first():
                pass  # or another process's, whose block has ended by now

    def public_key(self) -> str | None:
        """This installation's public key; None before its first start. Raises as `sign`."""
        path = self.home / KEY_FILE
        return _public(_private(path)) if path.exists() else None

    def trusted(self) -> tuple[str, ...]:
        """The public keys that are believed here, this installation's first. Raises as `sign`."""
        own = self.public_key()
        others = _kept(self.home / TRUSTED_FILE)
        return tuple(dict.fromkeys([*([own] if own else []), *others]))

    def trust(self, public_key: str) -> bool:
        """Believe another key as well; False: it was believed already. Raises Invalid `public_key_invalid`."""
        key = checked_public_key(public_key)
        with self._alone():
            if key in self.trusted():
                return False
            self._keep(key)
        return True

    def rotate(self) -> tuple[str, str]:
        """Sign with a new key from now on; the former one is forgotten, but what it signed is believed: `(former, new)`.

        Raises Conflict `evidence_key_missing` where there is none yet.
        """
        with self._alone():
            former = self.public_key()
            if former is None:
                raise Conflict("evidence_key_missing", "There is no key to replace.", fix="It is made at the first start of the service.")
            if former not in _kept(self.home / TRUSTED_FILE):
                self._keep(former)
            private_files.replace(self.home / KEY_FILE, _fresh())
            (self.home / _FIRST).unlink(missing_ok=True)  # a copy of the former one, where a process died at the first start
            return former, str(self.public_key())

    @contextmanager
    def first(self) -> Iterator[FirstKey | None]:
        """A key that becomes this installation's at the end of the block; None where there is one, which may just have been made.

        Other processes that need one wait for the end of the block. One that dies in it leaves its key to the next, which goes on with it.
        """
        with self._alone(_FIRST_LOCK):
            if self.made:
                yield None
                return
            path = self.home / _FIRST
            private_files.make_once(path, _fresh())
            yield FirstKey(path)
            os.link(path, self.home / KEY_FILE)
            path.unlink(missing_ok=True)  # replaced already, by `rotate`

    def _keep(self, key: str) -> None:
        kept = [*_kept(self.home / TRUSTED_FILE), key]
        private_files.replace(self.home / TRUSTED_FILE, "".join(f"{one}\n" for one in kept))

    @contextmanager
    def _alone(self, lock: str = _LOCK) -> Iterator[None]:
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.home / lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class FirstKey:
    """The key of an installation that is about to get its first one."""

    path: Path

    def sign(self, message: bytes) -> Signature:
        """As `Keyring.sign`."""
        return _signed(self.path, message)

    def public_key(self) -> str:
        """Its public part."""
        return _public(_private(self.path))


def _fresh() -> str:
    return Ed25519PrivateKey.generate().private_bytes_raw().hex() + "\n"


def _signed(path: Path, message: bytes) -> Signature:
    key = _private(path)
    return Signature(_public(key), key.sign(message).hex())


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def _private(path: Path) -> Ed25519PrivateKey:
    try:
        if private_files.exposed(path):
            fix = f"chmod 600 {path.name}; if somebody may have read it: `toolmint evidence rotate`."
            raise Failed("evidence_key_exposed", f"Others may read {path.name}.", fix=fix)
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text(encoding="ascii").strip()))
    except (ValueError, OSError):
        raise Failed("evidence_key_broken", f"{path.name} holds no key that can be read.", fix="Restore it from a backup.") from None


def _kept(path: Path) -> list[str]:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o022:
            raise Failed("evidence_key_exposed", f"Others may write {path.name}.", fix=f"Read it through, then chmod 600 {path.name}.")
        lines = path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []
    except (ValueError, OSError):
        lines = [""]
    if not all(_PUBLIC.fullmatch(line) for line in lines):
        raise Failed("evidence_key_broken", f"{path.name} holds something else than public keys.", fix="One key of 64 digits a line.")
    return lines
