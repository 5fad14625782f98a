"""All SQL of the registry. Private to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from app.core import ids
from app.core.db import insert_missing, now
from app.registry.artifact import Artifact
from app.registry.models import ArtifactFile, Channel, ChannelMove, EvidenceBundle, Tool, Version

_TOOLS = SQLModel.metadata.tables[str(Tool.__tablename__)]
_FILES = SQLModel.metadata.tables[str(ArtifactFile.__tablename__)]
_BUNDLES = SQLModel.metadata.tables[str(EvidenceBundle.__tablename__)]
_NUMBERS = 1 << 31


def held_tool(session: Session, tenant: str, name: str) -> Tool:
    """The tool's row, made if it is new, locked until the end of the transaction: publications of one tool take turns."""
    at = now(session)
    insert_missing(session, _TOOLS, [{"tenant": tenant, "name": name, "created_at": at, "updated_at": at}])
    return session.exec(select(Tool).where(Tool.tenant == tenant, Tool.name == name).with_for_update()).one()


def tool(session: Session, tenant: str, name: str) -> Tool | None:
    return session.get(Tool, (tenant, name))


def version(session: Session, tenant: str, name: str, number: int) -> Version | None:
    """One version; None too for a number that no column could hold."""
    return session.get(Version, (tenant, name, number)) if 0 < number < _NUMBERS else None


def versions_of(session: Session, tenant: str, name: str) -> list[Version]:
    """Newest first."""
    query = select(Version).where(Version.tenant == tenant, Version.tool == name)
    return list(session.exec(query.order_by(col(Version.version).desc())))


def by_candidate(session: Session, candidate_id: str) -> Version | None:
    return session.exec(select(Version).where(Version.candidate_id == candidate_id)).first()


def newest_version(session: Session, tenant: str, name: str) -> int:
    """The highest number of a tool; 0 if it has none."""
    return session.exec(select(sa.func.max(col(Version.version))).where(Version.tenant == tenant, Version.tool == name)).one() or 0


def add(session: Session, rows: Sequence[Version | ChannelMove]) -> None:
    session.add_all(rows)
    session.flush()


def store_files(session: Session, artifact: Artifact) -> None:
    """Keep the files, each once for all versions with the same content."""
    rows = [{"digest": artifact.digest, "path": path, "content": text} for path, text in sorted(artifact.files.items())]
    insert_missing(session, _FILES, rows)


def files_of(session: Session, digest: str) -> dict[str, str]:
    return {row.path: row.content for row in session.exec(select(ArtifactFile).where(ArtifactFile.digest == digest))}


def store_bundle(session: Session, row: Version, public_key: str, digest: str, content: str) -> bool:
    """Keep the bundle of a version, unless there is one by this key; says whether it was new."""
    key = {"tenant": row.tenant, "tool": row.tool, "version": row.version, "public_key": public_key}
    return insert_missing(session, _BUNDLES, [{**key, "digest": digest, "content": content, "created_at": now(session)}]) == 1


def bundles_of(session: Session, row: Version) -> dict[str, EvidenceBundle]:
    """The bundles of a version by the public keys under which they are kept."""
    query = select(EvidenceBundle).where(
        EvidenceBundle.tenant == row.tenant, EvidenceBundle.tool == row.tool, EvidenceBundle.version == row.version
    )
    return {bundle.public_key: bundle for bundle in session.exec(query)}


def bundles_but(session: Session, public_key: str) -> bool:
    """Whether this database holds a bundle that another key signed."""
    return session.exec(select(EvidenceBundle.version).where(EvidenceBundle.public_key != public_key).limit(1)).first() is not None


def all_versions(session: Session) -> list[Version]:
    """Every version of every tenant."""
    return list(session.exec(select(Version).order_by(col(Version.tenant), col(Version.tool), col(Version.version))))


def channel(session: Session, tenant: str, name: str, channel_name: str) -> Channel | None:
    return session.get(Channel, (tenant, name, channel_name))


def move(session: Session, tenant: str, name: str, channel_name: str, after: int, verb: str, reason: str, actor: str) -> ChannelMove:
    """Point the channel to another version, and remember it."""
    at = now(session)
    row = channel(session, tenant, name, channel_name)
    before = row.version if row is not None else None
    if row is None:
        row = Channel(tenant=tenant, tool=name, name=channel_name, version=after, updated_at=at)
    row.version, row.updated_at = after, at
    session.add(row)
    step = ChannelMove(
        id=ids.new("move"),
        tenant=tenant,
        tool=name,
        channel=channel_name,
        before=before,
        after=after,
        verb=verb,
        reason=reason,
        actor=actor,
        at=at,
    )
    add(session, [step])
    return step


def moves_of(session: Session, tenant: str, name: str, channel_name: str | None = None, limit: int = 200) -> list[ChannelMove]:
    """Newest first."""
    query = select(ChannelMove).where(ChannelMove.tenant == tenant, ChannelMove.tool == name)
    if channel_name is not None:
        query = query.where(ChannelMove.channel == channel_name)
    return list(session.exec(query.order_by(col(ChannelMove.id).desc()).limit(limit)))


def channels_of(session: Session, tenant: str) -> list[tuple[Channel, Version]]:
    """Every channel of a tenant with the version that it points to, by tool and channel."""
    same: Any = sa.and_(
        col(Version.tenant) == col(Channel.tenant), col(Version.tool) == col(Channel.tool), col(Version.version) == col(Channel.version)
    )
    query = select(Channel, Version).join(Version, same).where(Channel.tenant == tenant)
    return list(session.exec(query.order_by(col(Channel.tool), col(Channel.name))).all())
