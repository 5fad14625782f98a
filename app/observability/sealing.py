"""The sealer: links what is not linked yet, in order, in batches; and the check of the whole chain.

Which tables are in the chain is passed in, since rooms above this one have some. Two sealers do no harm: one wins.

It refuses to be: a thread of its own. The process that owns it calls `seal` every second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlmodel import Session, SQLModel

from app.core.db import Database, now
from app.observability import repository
from app.observability.audit import digest_of
from app.observability.chain import GENESIS, Break, ChainReport, ChainSource, Digest, Link, hash_of, link_of
from app.observability.models import AuditEvent

BATCH = 1000
"""Of events in one transaction: others who write wait for it, a few ms."""
_MOST_AT_ONCE = 5000
_Events = tuple[ChainSource, list[Mapping[str, Any]]]
_COVERED = ("id", "at", "tenant", "actor", "action", "target", "outcome", "trace_id", "body_digest")
AUDIT_EVENTS = ChainSource(
    "audit_event", SQLModel.metadata.tables[str(AuditEvent.__tablename__)], _COVERED, body="body", body_digest="body_digest"
)


def seal(database: Database, sources: Sequence[ChainSource], batch: int = BATCH) -> int:
    """Link every event that waits; returns how many. Each batch is a short transaction of its own and one link."""
    if not _anything_waits(database, sources):
        return 0
    total = 0
    while True:
        sealed = _seal_batch(database, sources, batch)
        total += sealed
        if sealed < batch:
            return total


def _seal_batch(database: Database, sources: Sequence[ChainSource], batch: int) -> int:
    with suppress(_Others):
        return _seal_what_was_read(database, sources, batch)
    with database.writing() as session:
        if not repository.take_turn(session):
            return 0
        last = repository.head(session)
        seq, events = (last.seq if last else 0) + 1, Digest()
        for source in sources:
            room = batch - events.count
            for covered in repository.seal(session, source, seq, room) if room else ():
                events.add(source.name, covered)
        if events.count:
            repository.add_link(session, link_of(seq, now(session), events, last.hash if last else GENESIS))
    return events.count


class _Others(Exception):
    """Others than what was read wait now: another sealer was faster, or events with low ids were committed late."""


def _seal_what_was_read(database: Database, sources: Sequence[ChainSource], batch: int) -> int:
    """Read and digest events before the writers' lock is taken, which is held for a fifth of the time then. Raises _Others."""
    events, found = Digest(), []
    with database.reading() as session:
        for source in sources:
            rows = repository.oldest(session, source, batch - events.count) if events.count < batch else []
            for covered in rows:
                events.add(source.name, covered)
            if rows:
                found.append((source, rows[0][0], rows[-1][0], len(rows)))
    if not found:
        return 0
    with database.writing() as session:
        if not repository.take_turn(session):
            return 0
        last = repository.head(session)
        link = link_of((last.seq if last else 0) + 1, now(session), events, last.hash if last else GENESIS)
        for source, first, until, count in found:
            if repository.mark(session, source, link.seq, first, until) != count:
                raise _Others
        repository.add_link(session, link)
    return events.count


def _anything_waits(database: Database, sources: Sequence[ChainSource]) -> bool:
    """A look before the writers' lock is taken: an idle service seals nothing and disturbs nobody."""
    with database.reading() as session:
        return any(repository.waiting(session, source) for source in sources)


def verify_chain(database: Database, sources: Sequence[ChainSource], known_head: str | None = None) -> ChainReport:
    """Check every link against its events and against the link before, up to the first break.

    `known_head`, a head kept elsewhere, must be the hash of some link: else the end of the chain was cut off.
    """
    with database.reading() as session:
        repository.one_snapshot(session)
        waiting = sum(repository.unsealed(session, source) for source in sources)
        return _Check(session, sources).run(waiting, known_head)


class _Check:
    """One walk along the chain."""

    def __init__(self, session: Session, sources: Sequence[ChainSource]) -> None:
        self._session = session
        self._sources = sources
        self.links = self.events = self.erased = 0
        self.head = GENESIS

    def run(self, unsealed: int, known_head: str | None) -> ChainReport:
        seen = known_head in (None, GENESIS)
        broken: Break | None = None
        for link, events in self._walk():
            broken = self._broken_link(link) or self._broken_events(link, events)
            if broken:
                break
            self.links, self.events, self.head = self.links + 1, self.events + link.count, link.hash
            seen = seen or link.hash == known_head
        if broken is None:
            broken = self._beyond_the_end()
        if broken is None and not seen:
            broken = Break(self.links + 1, "missing_link", "the head that was kept elsewhere is not in the chain")
        return ChainReport(broken is None, self.links, self.events, unsealed, self.erased, self.head, broken)

    def _walk(self) -> Iterator[tuple[Link, list[_Events]]]:
        """Each link with its events, source by source; as many links at a time as hold about 5,000 events."""
        after, size = 0, 1
        while links := repository.links(self._session, after, size):
            first, last = links[0].seq, links[-1].seq
            found = [(source, repository.sealed(self._session, source, first, last)) for source in self._sources]
            for link in links:
                yield link, [(source, events.get(link.seq, [])) for source, events in found]
            after = last
            size = max(1, min(_MOST_AT_ONCE, _MOST_AT_ONCE * len(links) // max(1, sum(link.count for link in links))))

    def _broken_link(self, link: Link) -> Break | None:
        if link.seq != self.links + 1:
            return Break(self.links + 1, "missing_link", f"link {link.seq} follows link {self.links}")
        if link.previous != self.head or link.hash != hash_of(link.seq, link.at, link.count, link.digest, link.previous):
            return Break(link.seq, "altered_link", "its hash is not that of its facts and the link before")
        return None

    def _broken_events(self, link: Link, found: list[_Events]) -> Break | None:
        events = Digest()
        for source, rows in found:
            for row in rows:
                events.add(source.name, [row[column] for column in source.columns])
                broken = self._broken_body(link.seq, source, row)
                if broken:
                    return broken
        if events.count != link.count:
            what = "missing_event" if events.count < link.count else "added_event"
            return Break(link.seq, what, f"{events.count} events where {link.count} were sealed")
        if events.text() != link.digest:
            return Break(link.seq, "altered_event", f"one of its {link.count} events is not as it was sealed")
        return None

    def _broken_body(self, seq: int, source: ChainSource, row: Mapping[str, Any]) -> Break | None:
        if source.body is None or source.body_digest is None:
            return None
        if row[source.body] is None:
            self.erased += 1
        elif digest_of(row[source.body]) != row[source.body_digest]:
            return Break(seq, "altered_body", f"{source.name} {row[source.columns[0]]} does not hold what its digest says")
        return None

    def _beyond_the_end(self) -> Break | None:
        for source in self._sources:
            stray = repository.stray(self._session, source, self.links)
            if stray is not None:
                return Break(stray, "missing_link", f"{source.name} has events of link {stray}, which is not there")
        return None
