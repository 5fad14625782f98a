"""The chain over audit events: what a link covers and how its hash is made, as values and pure functions.

A link covers the events that were sealed with it, source after source, each in the order of its ids. Its hash covers its
number, time, count, digest and the hash before, so that no event or link can be changed, added or taken away unseen. What
no chain shows by itself is the loss of its end: keep the head elsewhere.

It refuses to be: a reader of tables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

GENESIS = "0" * 64
_to_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class ChainSource:
    """A table whose rows are in the chain.

    It has an increasing integer primary key and a nullable integer column `link`. `columns` are covered, the key first.
    `body` and `body_digest` name an erasable JSON column and the covered digest of what it held, if the table has one.
    """

    name: str
    table: sa.Table
    columns: tuple[str, ...]
    body: str | None = None
    body_digest: str | None = None

    @property
    def key(self) -> sa.Column[Any]:
        return self.table.c[self.columns[0]]

    @property
    def link(self) -> sa.Column[Any]:
        return self.table.c["link"]


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain; `at` in ms."""

    seq: int
    at: int
    count: int
    digest: str
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where the chain does not hold.

    `what` is one of `altered_event`, `missing_event`, `added_event`, `altered_body`, `altered_link`, `missing_link`.
    """

    link: int
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a check of the whole chain found. `head` is the hash of the last link; keep it elsewhere to notice a lost end."""

    intact: bool
    links: int
    events: int
    unsealed: int
    erased_bodies: int
    head: str
    broken: Break | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Digest:
    """The digest over the events of one link, fed row by row."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self.count = 0

    def add(self, source: str, covered: Sequence[Any]) -> None:
        """One event: the name of its source and the covered columns, in order."""
        self._sha.update(_to_json([source, *covered]).encode() + b"\n")
        self.count += 1

    def text(self) -> str:
        return self._sha.hexdigest()


def link_of(seq: int, at: int, events: Digest, previous: str) -> Link:
    """The link that seals these events after the link whose hash is `previous`."""
    digest = events.text()
    return Link(seq, at, events.count, digest, previous, hash_of(seq, at, events.count, digest, previous))


def hash_of(seq: int, at: int, count: int, digest: str, previous: str) -> str:
    """SHA-256 over the five facts of a link, one a line."""
    return hashlib.sha256(f"{seq}\n{at}\n{count}\n{digest}\n{previous}".encode()).hexdigest()
