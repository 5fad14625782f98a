"""The chain over audit and effect events: sealed in order, and any change to it is found and named."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from app.core.actor import SYSTEM
from app.core.clock import ScriptedClock
from app.core.db import Database
from app.observability import audit, sealing
from app.observability.chain import GENESIS, ChainSource, hash_of
from app.observability.models import AuditEvent, AuditLink
from app.runtime.models import EffectEvent

EFFECT_EVENTS = ChainSource(
    "effect_event",
    SQLModel.metadata.tables[str(EffectEvent.__tablename__)],
    ("seq", "effect_id", "before", "after", "at", "fence", "actor", "detail"),
)
SOURCES = (sealing.AUDIT_EVENTS, EFFECT_EVENTS)


def happen(database: Database, count: int) -> None:
    with database.writing() as session:
        for number in range(count):
            audit.record(session, SYSTEM, "thing.done", f"t{number}", "done", number=number)
            session.add(
                EffectEvent(effect_seq=number, effect_id=f"e{number}", before="planned", after="claimed", at=number, fence=1, actor="run_1")
            )


@pytest.fixture
def chained(database: Database, clock: ScriptedClock) -> Database:
    """Ten links over fifty events."""
    happen(database, 25)
    assert sealing.seal(database, SOURCES, batch=5) == 50
    return database


def test_all_events_are_linked_once_in_batches(database: Database) -> None:
    happen(database, 25)
    before = sealing.verify_chain(database, SOURCES)
    assert (before.intact, before.links, before.unsealed, before.head) == (True, 0, 50, GENESIS)
    assert sealing.seal(database, SOURCES, batch=20) == 50
    report = sealing.verify_chain(database, SOURCES)
    assert (report.intact, report.links, report.events, report.unsealed) == (True, 3, 50, 0)
    assert sealing.seal(database, SOURCES, batch=20) == 0
    assert sealing.verify_chain(database, SOURCES) == report
    with database.reading() as session:
        assert session.exec(select(AuditLink.count).order_by(col(AuditLink.seq))).all() == [20, 20, 10]


def test_an_idle_service_seals_nothing(database: Database) -> None:
    assert sealing.seal(database, SOURCES) == 0
    assert sealing.verify_chain(database, SOURCES).as_dict()["links"] == 0


def test_an_event_committed_late_with_a_low_id_gets_the_next_link(database: Database) -> None:
    with database.writing() as session:  # as PostgreSQL shows it: 7 was drawn first and is committed last
        audit.record(session, SYSTEM, "thing.done", "late", "done")
        session.flush()
        early = session.exec(select(AuditEvent)).one()
        early.id = 700
    sealing.seal(database, SOURCES)
    with database.writing() as session:
        audit.record(session, SYSTEM, "thing.done", "low", "done")
        session.flush()
        low = session.exec(select(AuditEvent).where(AuditEvent.target == "low")).one()
        low.id = 7
    assert sealing.seal(database, SOURCES) == 1
    with database.reading() as session:
        assert session.exec(select(AuditEvent.id, AuditEvent.link).order_by(col(AuditEvent.id))).all() == [(7, 2), (700, 1)]
    assert sealing.verify_chain(database, SOURCES).intact


def test_two_sealers_at_once_do_no_harm(database: Database) -> None:
    happen(database, 200)
    totals: list[int] = []
    threads = [threading.Thread(target=lambda: totals.append(sealing.seal(database, SOURCES, batch=16))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    totals.append(sealing.seal(database, SOURCES))
    report = sealing.verify_chain(database, SOURCES)
    assert (sum(totals), report.intact, report.events) == (400, True, 400)


def drop(table: Any, condition: Any) -> Callable[[Session], Any]:
    return lambda session: session.connection().execute(sa.delete(table).where(condition))


def change(table: Any, condition: Any, **values: Any) -> Callable[[Session], Any]:
    return lambda session: session.connection().execute(sa.update(table).where(condition).values(**values))


def forge(session: Session) -> None:
    session.add(EffectEvent(effect_seq=1, effect_id="e", before="planned", after="done", at=1, fence=1, actor="x", link=4))


EVENT, EFFECT, LINK = col(AuditEvent.target) == "t12", col(EffectEvent.effect_id) == "e12", col(AuditLink.seq) == 4


@pytest.mark.parametrize(
    ("tampering", "what", "link"),
    [  # audit events t10 to t14 are in link 3, effect events e10 to e14 in link 8
        (change(AuditEvent, EVENT, actor="somebody"), "altered_event", 3),
        (change(AuditEvent, EVENT, outcome="refused"), "altered_event", 3),
        (change(AuditEvent, EVENT, body={"number": 99}), "altered_body", 3),
        (change(AuditEvent, EVENT, link=None), "missing_event", 3),
        (change(AuditEvent, EVENT, link=4), "missing_event", 3),
        (drop(AuditEvent, EVENT), "missing_event", 3),
        (change(EffectEvent, EFFECT, after="failed"), "altered_event", 8),
        (drop(EffectEvent, EFFECT), "missing_event", 8),
        (forge, "added_event", 4),
        (change(AuditLink, LINK, at=5), "altered_link", 4),
        (change(AuditLink, LINK, digest="0" * 64), "altered_link", 4),
        (change(AuditLink, LINK, previous="0" * 64), "altered_link", 4),
        (drop(AuditLink, LINK), "missing_link", 4),
        (drop(AuditLink, col(AuditLink.seq) == 10), "missing_link", 10),
        (change(EffectEvent, EFFECT, link=77), "missing_event", 8),
    ],
)
def test_tampering_is_found_at_its_link_and_named(chained: Database, tampering: Callable[[Session], Any], what: str, link: int) -> None:
    with chained.writing() as session:
        tampering(session)
    report = sealing.verify_chain(chained, SOURCES)
    assert not report.intact and report.broken is not None
    assert (report.broken.what, report.broken.link) == (what, link)
    assert report.links == link - 1


def test_a_forged_link_over_a_forged_event_breaks_the_next_one(chained: Database) -> None:
    report = sealing.verify_chain(chained, SOURCES)
    with chained.writing() as session:
        row = session.get_one(AuditLink, 3)
        row.digest = "f" * 64
        row.hash = hash_of(row.seq, row.at, row.count, row.digest, row.previous)
        session.exec(select(AuditEvent).where(EVENT)).one().actor = "somebody"
    broken = sealing.verify_chain(chained, SOURCES)
    assert report.intact and not broken.intact and broken.broken is not None and broken.broken.link == 3


def test_a_body_may_be_erased_and_is_counted(chained: Database) -> None:
    with chained.writing() as session:
        session.connection().execute(sa.update(AuditEvent).where(EVENT).values(body=sa.null()))
    report = sealing.verify_chain(chained, SOURCES)
    assert (report.intact, report.erased_bodies) == (True, 1)


def test_a_head_kept_elsewhere_shows_that_the_end_was_cut_off(chained: Database) -> None:
    head = sealing.verify_chain(chained, SOURCES).head
    happen(chained, 3)
    sealing.seal(chained, SOURCES)
    assert sealing.verify_chain(chained, SOURCES, known_head=head).intact
    with chained.writing() as session:
        session.connection().execute(sa.delete(AuditEvent).where(col(AuditEvent.link) >= 10))
        session.connection().execute(sa.delete(EffectEvent).where(col(EffectEvent.link) >= 10))
        session.connection().execute(sa.delete(AuditLink).where(col(AuditLink.seq) >= 10))
    assert sealing.verify_chain(chained, SOURCES).intact
    report = sealing.verify_chain(chained, SOURCES, known_head=head)
    assert not report.intact and report.broken is not None and report.broken.what == "missing_link"
