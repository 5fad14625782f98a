"""How the worker and the relay speak to Redis: JSON instead of pickles, and settings that fail fast.

It refuses to be: a place for state. A message is a job's name and one id.
"""

from __future__ import annotations

import json
from typing import Any

from arq.connections import RedisSettings


def dumps(message: dict[str, Any]) -> bytes:
    """A message as JSON. An exception among the values, as arq puts into results, becomes its text."""
    return json.dumps(message, default=str, separators=(",", ":")).encode()


def loads(message: bytes) -> dict[str, Any]:
    """The reverse of `dumps`. Raises ValueError."""
    value: dict[str, Any] = json.loads(message)
    return value


def redis_settings(url: str) -> RedisSettings:
    """arq's settings for a `redis://`, `rediss://` or `unix://` URL. It tries once: who calls has a loop and a fall-back."""
    settings = RedisSettings.from_dsn(url)
    settings.conn_retries = 0
    return settings
