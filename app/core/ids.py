"""Ids that sort by time: a noun, an underscore, 26 characters of Crockford base 32 (48 bits of ms, 80 random bits).

It refuses to be: a source of secrets; those come from `secrets`.
"""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def new(noun: str, at: int | None = None) -> str:
    """A fresh id such as `run_01jq…`; `at` (ms) is the present unless given. Ids of one noun sort by time."""
    return _written(noun, ((_now() if at is None else at) << 80) | int.from_bytes(os.urandom(10), "big"))


def earliest(noun: str, ago: int) -> str:
    """The least id that can have been made `ago` ms before now: ids that are not less were made then or later."""
    return _written(noun, (_now() - ago) << 80)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _written(noun: str, value: int) -> str:
    return f"{noun}_" + "".join(_PAIRS[(value >> shift) & 1023] for shift in range(120, -10, -10))
