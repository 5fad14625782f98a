"""What a spec may know of connectors: a value that the connectors' room builds and passes in.

It refuses to be: a connector. It holds names, roles and schemas; nothing here opens a connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Role = Literal["read", "effect"]


@dataclass(frozen=True, slots=True)
class ConnectorKind:
    """One kind of connector.

    `item_schema` describes what the guest passes: the query of a read, the item of an effect. `local` kinds commit in our
    own database and are never unknown. `canonical_fields` are the item's fields that the connector rewrites before keys
    are computed (an address, a phone number). `key_fields` are fields of the item that every key must hold, since two items that
    differ in them are never one effect.
    """

    name: str
    role: Role
    config_schema: Mapping[str, Any]
    item_schema: Mapping[str, Any]
    local: bool = False
    canonical_fields: tuple[str, ...] = ()
    key_fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectorCatalog:
    """All kinds that this installation knows, by name."""

    kinds: Mapping[str, ConnectorKind] = field(default_factory=dict)

    @classmethod
    def of(cls, kinds: Iterable[ConnectorKind]) -> ConnectorCatalog:
        return cls({kind.name: kind for kind in kinds})

    def get(self, name: str) -> ConnectorKind | None:
        return self.kinds.get(name)

    def names(self, role: Role) -> list[str]:
        return sorted(kind.name for kind in self.kinds.values() if kind.role == role)

    def as_json(self) -> list[dict[str, Any]]:
        """The form in which a catalog crosses to a child process; `from_json` reads it."""
        return [asdict(kind) for _, kind in sorted(self.kinds.items())]

    @classmethod
    def from_json(cls, rows: Iterable[Mapping[str, Any]]) -> ConnectorCatalog:
        names = ("canonical_fields", "key_fields")
        return cls.of(ConnectorKind(**{**row, **{name: tuple(row[name]) for name in names}}) for row in rows)
