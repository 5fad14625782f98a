"""How values look on a page: times, durations, counts, digests, JSON. Jinja filters, all pure.

It refuses to be: markup. What a filter answers is text, escaped like any other.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

from app.core import clock

_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28,}\b")
_UNITS = ((60_000, 1000, "s"), (3_600_000, 60_000, "min"), (86_400_000, 3_600_000, "h"), (30 * 86_400_000, 86_400_000, "d"))
DASH = "\N{EN DASH}"


def instant(value: int | str | None) -> int | None:
    """Milliseconds of a time that a use case gave as ms or as RFC 3339 text."""
    return clock.from_iso(value) if isinstance(value, str) else value


def absolute(value: int | str | None) -> str:
    """`2026-03-01 09:00:00 UTC`."""
    at = instant(value)
    return DASH if at is None else f"{str(clock.iso(at))[:19].replace('T', ' ')} UTC"


def ago(value: int | str | None, now: int) -> str:
    """`3 min ago`, `in 20 s`, `just now`; from a month on the date."""
    at = instant(value)
    if at is None:
        return DASH
    distance = abs(now - at)
    if distance < 2000:
        return "just now"
    for limit, size, unit in _UNITS:
        if distance < limit:
            text = f"{distance // size} {unit}"
            return f"{text} ago" if at <= now else f"in {text}"
    return absolute(at)[:10]


def duration(ms: float | None) -> str:
    """`0.4 ms`, `128 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`."""
    if ms is None:
        return DASH
    if ms < 1000:
        return f"{ms:.0f} ms" if ms >= 10 or ms == int(ms) else f"{ms:.1f} ms"
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def count(value: float | None) -> str:
    """`12,345`."""
    return DASH if value is None else f"{value:,}"


def size(value: int | None) -> str:
    """`812 B`, `3.4 kB`, `1.2 MB`."""
    if value is None:
        return DASH
    if value < 1000:
        return f"{value} B"
    return f"{value / 1000:.1f} kB" if value < 1_000_000 else f"{value / 1_000_000:.1f} MB"


def short(value: str | None) -> str:
    """The first twelve characters of a digest or trace id."""
    return DASH if not value else value[:12]


def tail(value: str) -> str:
    """The end of an id, which tells ids of one time apart."""
    return value if len(value) <= 10 else f"\N{HORIZONTAL ELLIPSIS}{value[-8:]}"


def pretty(value: Any) -> str:
    """JSON with indentation; text that is JSON already is laid out anew."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
        return value
    return json.dumps(value, indent=2, ensure_ascii=False)


def compact(value: Any) -> str:
    """JSON on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def brief(value: Any) -> str:
    """The same with digests cut to twelve digits."""
    return _DIGEST.sub("\\1\N{HORIZONTAL ELLIPSIS}", compact(value))


def words(value: str) -> str:
    """`retry_wait` → `retry wait`."""
    return value.replace("_", " ")


def plural(number: int, one: str, many: str = "") -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


_CHOSEN = {
    "the only channel with weight": "answers every call of this tool",
    "pinned by the caller": "the caller asked for this version",
    "by weight, sticky by run key": "a share of the calls goes to this version; a call made again gets the same",
    "by weight, sticky by actor": "a share of the callers goes to this version; one caller always gets the same",
}


def chosen(reason: str) -> str:
    """Why this version answered a call, in words for somebody who has never heard of channels."""
    return _CHOSEN.get(reason, reason)


def said(value: Any, name: str = "") -> str:
    """A detail of the audit trail in words: times, truths, lists and absences; `name` is what it is called."""
    match value:
        case None:
            return "never" if name.endswith("_at") else "none"
        case bool():
            return "yes" if value else "no"
        case int() | str() if name.endswith("_at") and _is_time(value):
            return absolute(value)
        case list():
            return ", ".join(said(part) for part in value) or "none"
        case dict():
            return ", ".join(f"{words(str(key))} {said(part, str(key))}" for key, part in value.items()) or "none"
    return brief(value)


def receipt(value: Mapping[str, Any]) -> str:
    """What a receipt holds, without what another of its texts says already, as a server's reply does with its queue id."""
    texts = list(dict.fromkeys(compact(part) for part in value.values() if part is not None))
    return " · ".join(text for text in texts if not any(text in other for other in texts if other != text))


def _is_time(value: int | str) -> bool:
    try:
        return bool(instant(value))
    except ValueError:
        return False


FILTERS = {
    "absolute": absolute,
    "ago": ago,
    "brief": brief,
    "bytes": size,
    "chosen": chosen,
    "compact": compact,
    "count": count,
    "duration": duration,
    "instant": instant,
    "iso": lambda value: clock.iso(instant(value)),
    "plural": plural,
    "pretty": pretty,
    "receipt": receipt,
    "said": said,
    "short": short,
    "tail": tail,
    "words": words,
}
