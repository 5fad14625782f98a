"""Records cut into chunks by their keys, so that snapshots of a collection share what has not changed.

Where a chunk ends is decided by the key of its last record alone (about every 256th ends one), not by counting: a record that is added
or changed makes one chunk differ, and none of the others.

It refuses to be: storage. It turns rows into bytes and bytes into rows.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

MOST_RECORDS = 2000
MOST_BYTES = 1 << 20
_EVERY = 256
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Row = tuple[str, int, str]
"""Key, version, body text."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some records in order. `digest` is of their text, `content` the text compressed."""

    last_key: str
    digest: str
    count: int
    size: int
    content: bytes = field(repr=False)


def chunked(rows: Iterable[Row]) -> Iterator[Chunk]:
    """The chunks of rows that come in byte order of their keys."""
    lines: list[str] = []
    size = 0
    last = ""
    for last, version, text in rows:
        lines.append(f'{{"key":{_ENCODE(last)},"version":{version},"body":{text}}}')
        size += len(text)
        if len(lines) >= MOST_RECORDS or size >= MOST_BYTES or zlib.crc32(last.encode()) % _EVERY == 0:
            yield _chunk(lines, last)
            lines, size = [], 0
    if lines:
        yield _chunk(lines, last)


def records_in(content: bytes) -> Iterator[dict[str, Any]]:
    """The records of a chunk: `{"key", "version", "body"}` each."""
    for line in zlib.decompress(content).decode().split("\n"):
        yield json.loads(line)


def snapshot_id(collection: str, digests: Iterable[str]) -> str:
    """What names a snapshot: it follows from the collection and everything that is in it."""
    whole = hashlib.sha256(collection.encode())
    for digest in digests:
        whole.update(b"\n" + digest.encode())
    return f"snap_{whole.hexdigest()[:40]}"


def _chunk(lines: list[str], last_key: str) -> Chunk:
    text = "\n".join(lines).encode()
    return Chunk(last_key, hashlib.sha256(text).hexdigest(), len(lines), len(text), zlib.compress(text, 1))
