"""The catalog: what is published, in memory, and who may see it. The value that use cases of this room work on.

A tenant's entries are read once and kept until the change feed says `tools.changed`, or for a few seconds at most, since a line of
the feed may be missed. A spec is listed if signed evidence vouches for it, which is looked at once for each version.

It refuses to be: a search engine, or an authority on calls: whether a call is allowed is asked again when it comes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import ValidationError

from app.core.actor import Actor
from app.core.db import Database
from app.core.feed import Feed, Signal
from app.core.signing import Keyring
from app.registry import repository
from app.registry.entries import STABLE, Entry, Pointer, Refused, tool_shape
from app.registry.loading import Loader
from app.registry.models import Channel, Version
from app.registry.proof import Proof, told
from app.registry.vouching import Vouched
from app.spec.annotations import listed_annotations
from app.spec.catalog import ConnectorCatalog
from app.spec.model import ExecutionSpec

logger = logging.getLogger(__name__)
BELIEVED_MS = 5000
Entries = Mapping[str, Entry]


class Catalog:
    """One per process and database. `kinds` are the connectors and `keys` the keys of this installation, `load` makes Programs."""

    def __init__(self, database: Database, tools_dir: Path, kinds: ConnectorCatalog, keys: Keyring) -> None:
        self.database = database
        self.tools_dir = tools_dir
        self.kinds = kinds
        self.keys = keys
        self.load = Loader(database, tools_dir, keys)
        self._entries: dict[str, tuple[int, Entries]] = {}
        self._changes = 0
        self._guard = threading.Lock()

    def recall(self, tenant: str) -> Entries | None:
        """A tenant's entries by name, if they are in memory and fresh; never touches the database."""
        kept = self._entries.get(tenant)
        if kept is None or self.database.clock.monotonic() - kept[0] > BELIEVED_MS:
            return None
        return kept[1]

    def entries(self, tenant: str) -> Entries:
        """A tenant's entries by name, sorted."""
        while True:
            kept = self.recall(tenant)
            if kept is not None:
                return kept
            changes = self._changes
            read_at = self.database.clock.monotonic()
            found = self._read(tenant)
            with self._guard:
                if changes == self._changes:
                    self._entries[tenant] = (read_at, found)
                    return found

    async def entries_soon(self, tenant: str) -> Entries:
        """The same from asynchronous code: a thread is used only where the database must be asked."""
        kept = self.recall(tenant)
        return kept if kept is not None else await asyncio.to_thread(self.entries, tenant)

    def forget(self, tenant: str) -> None:
        """Read a tenant's entries again at the next occasion."""
        with self._guard:
            self._changes += 1
            self._entries.pop(tenant, None)

    def schema_of(self, name: str) -> Mapping[str, object] | None:
        """The input schema of a tool of any tenant that is in memory, for protocols that ask before they know the caller."""
        for _, entries in list(self._entries.values()):
            if name in entries:
                return entries[name].spec.inputs
        return None

    def _read(self, tenant: str) -> Entries:
        with self.database.reading() as session:
            rows = repository.channels_of(session, tenant)
        stable = {version.tool: version for channel, version in rows if channel.name == STABLE}
        channels: dict[str, list[Channel]] = {}
        for channel, _ in rows:
            channels.setdefault(channel.tool, []).append(channel)
        made = (self._entry(version, channels[name]) for name, version in sorted(stable.items()))
        return {entry.name: entry for entry in made if entry is not None}

    def _entry(self, version: Version, channels: list[Channel]) -> Entry | None:
        spec, proof, refused = self._spec(version)
        if spec is None:
            return None
        ordered = sorted(channels, key=lambda channel: (channel.name != STABLE, channel.name))
        pointers = tuple(Pointer(channel.name, channel.version, channel.weight) for channel in ordered)
        annotations = listed_annotations(spec, self.kinds, proof)
        shape = tool_shape(spec, pointers, annotations, told(proof), refused)
        return Entry(version.tenant, version.tool, pointers, version.digest, version.evidence_digest, spec, shape, refused)

    def _spec(self, version: Version) -> tuple[ExecutionSpec | None, Proof | None, Refused | None]:
        """Spec and proof that signed evidence vouches for; else the spec that is stored, for those who look after tools, and why."""
        known = self.load.vouched.outcome(version)
        if isinstance(known, Vouched):
            return known.spec, known.proof, None
        with self.database.reading() as session:
            stored = repository.files_of(session, version.digest).get("spec.json", "")
        try:
            return ExecutionSpec.parse(stored), None, Refused.of(known)
        except ValidationError:
            logger.error("%s/%s is not listed: %s, and its spec cannot be read", version.tool, version.version, known.code)
            return None, None, Refused.of(known)


def callable_tools(actor: Actor, entries: Entries) -> list[Entry]:
    """What this actor may call, by name; not what is refused, whose texts nobody vouches for."""
    return [entry for entry in entries.values() if entry.refused is None and entry.callable_by(actor)]


@asynccontextmanager
async def following(catalog: Catalog, feed: Feed) -> AsyncIterator[None]:
    """Forget what changes, as the change feed tells it, until the end of the block."""

    async def forget(signal: Signal) -> None:
        catalog.forget(signal.tenant)

    async with feed.told(lambda signal: signal.topic == "tools.changed", forget):
        yield
