"""Canonical JSON (RFC 8785) and its digest: the identity of specs, arguments and effects.

It refuses to be: a serialiser for reading. Canonical text sorts its keys and drops its spaces.
"""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785


def canonical_bytes(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value.

    Raises ValueError for what JSON cannot say exactly: NaN, integers beyond 2**53 - 1, lone surrogates, keys that are no text.
    """
    return rfc8785.dumps(value)


def digest(value: Any) -> str:
    """SHA-256 of the canonical bytes, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()
