"""All SQL of the observability room. Private to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from app.core.indexes import aside, in_index
from app.observability.chain import ChainSource, Link
from app.observability.models import NOT_DONE, AuditEvent, AuditLink

EVENT_ID = col(AuditEvent.id)
_SEALER = 7_140_012  # the advisory lock that keeps a second sealer away, on PostgreSQL


def take_turn(session: Session) -> bool:
    """Whether this transaction may seal. On SQLite a writing session is alone anyway."""
    if session.get_bind().dialect.name == "sqlite":
        return True
    return bool(session.connection().exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({_SEALER})").scalar_one())


def one_snapshot(session: Session) -> None:
    """Let every statement of this transaction see the same moment; on SQLite it does."""
    if session.get_bind().dialect.name != "sqlite":
        session.connection().exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def head(session: Session) -> Link | None:
    row = session.exec(select(AuditLink).order_by(col(AuditLink.seq).desc()).limit(1)).one_or_none()
    return _link(row) if row else None


def add_link(session: Session, link: Link) -> None:
    session.add(AuditLink(seq=link.seq, at=link.at, count=link.count, digest=link.digest, previous=link.previous, hash=link.hash))


def seal(session: Session, source: ChainSource, seq: int, limit: int) -> list[tuple[Any, ...]]:
    """Put the oldest events without a link into link `seq`; returns their covered columns in the order of their keys.

    It is one statement, so that exactly the events that it marks are the ones that it returns, also those with low ids
    that were committed late.
    """
    oldest = sa.select(source.key).where(source.link.is_(None)).order_by(source.key).limit(limit)
    covered = [source.table.c[name] for name in source.columns]
    marked = sa.update(source.table).where(source.key.in_(oldest)).values(link=seq).returning(*covered)
    return sorted(tuple(row) for row in session.connection().execute(marked))


def oldest(session: Session, source: ChainSource, limit: int) -> list[tuple[Any, ...]]:
    """The covered columns of the oldest events without a link, in the order of their keys."""
    covered = sa.select(*(source.table.c[name] for name in source.columns)).where(source.link.is_(None))
    return [tuple(row) for row in session.connection().execute(covered.order_by(source.key).limit(limit))]


def mark(session: Session, source: ChainSource, seq: int, first: int, last: int) -> int:
    """Put every event without a link whose key is from `first` to `last` into link `seq`; returns how many those are."""
    marked = sa.update(source.table).where(source.link.is_(None), source.key.between(first, last)).values(link=seq)
    return session.connection().execute(marked).rowcount


def waiting(session: Session, source: ChainSource) -> bool:
    """Whether any event has no link."""
    found = session.connection().execute(sa.select(source.key).where(source.link.is_(None)).limit(1)).first()
    return found is not None


def unsealed(session: Session, source: ChainSource) -> int:
    return session.connection().execute(sa.select(sa.func.count()).select_from(source.table).where(source.link.is_(None))).scalar_one()


def links(session: Session, after: int, limit: int) -> list[Link]:
    """Links in order, after the one numbered `after`."""
    query = select(AuditLink).where(col(AuditLink.seq) > after).order_by(col(AuditLink.seq)).limit(limit)
    return [_link(row) for row in session.exec(query)]


def sealed(session: Session, source: ChainSource, first: int, last: int) -> dict[int, list[Mapping[str, Any]]]:
    """The events of a source in links `first` to `last`, by link, in the order of their keys."""
    names = [*source.columns, *([source.body] if source.body else [])]
    query = sa.select(source.link.label("link"), *(source.table.c[name] for name in names)).where(source.link.between(first, last))
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in session.connection().execute(query.order_by(source.link, source.key)).mappings():
        found.setdefault(row["link"], []).append(dict(row))
    return found


def stray(session: Session, source: ChainSource, last: int) -> int | None:
    """A link number that events of this source bear though the chain, which ends with `last`, has no such link."""
    beyond = sa.or_(source.link > last, source.link < 1)
    found: int | None = session.connection().execute(sa.select(sa.func.min(source.link)).where(beyond)).scalar_one()
    return found


def events(tenant: str, wanted: Mapping[str, Any]) -> Any:
    """The query of a tenant's events. `wanted` maps a column to its value; `since` is a time in ms.

    A target has few events, and few have another outcome than `done`: with one of these, no other index fits the query.
    """
    query = select(AuditEvent).where(AuditEvent.tenant == tenant)
    rare = "target" if "target" in wanted else "outcome" if wanted.get("outcome", "done") != "done" else None
    for name, value in wanted.items():
        if name == "since":
            query = query.where(col(AuditEvent.at) >= value)
        else:
            column = getattr(AuditEvent, name)
            query = query.where((column if rare in (None, name) else aside(column)) == value)
    return query.where(in_index("audit_event", NOT_DONE)) if rare == "outcome" else query


def actions_of(session: Session, noun: str) -> list[str]:
    """Which actions of a noun were ever recorded. The index is read from one action to the next, whatever the database sorts by."""
    action = col(AuditEvent.action)
    names = sa.select(sa.func.min(action).label("action")).cte("names", recursive=True)
    following = sa.select(sa.func.min(action)).where(action > names.c.action).scalar_subquery()
    names = names.union_all(sa.select(following).where(names.c.action.is_not(None)))
    found = session.connection().execute(sa.select(names.c.action).where(names.c.action.is_not(None))).scalars()
    return [name for name in found if name.startswith(f"{noun}.")]


def _link(row: AuditLink) -> Link:
    return Link(row.seq, row.at, row.count, row.digest, row.previous, row.hash)
