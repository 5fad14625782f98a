"""Addresses of pages: parts of paths and parameters, quoted once and here.

It refuses to be: routing.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode


def address(path: str, /, **parameters: Any) -> str:
    """`path?name=value&…` without the empty ones; the parts of `path` are quoted already (`segment`)."""
    given = {name: value for name, value in parameters.items() if value not in ("", None)}
    return f"{path}?{urlencode(given)}" if given else path


def segment(text: str) -> str:
    """One part of a path."""
    return quote(text, safe="")
