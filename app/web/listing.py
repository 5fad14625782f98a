"""Lists: their address holds every filter and the cursor, so that a list can be shared, reloaded and gone back to.

It refuses to be: a query. Filters are passed on to the use case, which judges them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.web.addresses import address
from app.web.desk import Desk

PAGE = 50


@dataclass(frozen=True, slots=True)
class Listing:
    """The state of one list, as its templates use it. `loaded` counts the rows that the browser holds already."""

    path: str
    filters: Mapping[str, str]
    cursor: str
    loaded: int

    @property
    def filtered(self) -> bool:
        return any(self.filters.values())

    def given(self, name: str) -> str | None:
        """A filter for a use case: None where it is not set."""
        return self.filters[name] or None

    def more(self, cursor: str) -> str:
        """The address of the rows after `cursor`, under the same filters."""
        return address(self.path, **self.filters, cursor=cursor)

    def where(self, **changes: str) -> str:
        """The address of the same list with some filters changed, from its start."""
        return address(self.path, **{**self.filters, **changes})


def listing(desk: Desk, path: str, *filters: str) -> Listing:
    """Read the list's state from the address."""
    loaded = desk.query("loaded")
    return Listing(
        path,
        {name: desk.query(name)[:300] for name in filters},
        desk.query("cursor")[:500],
        int(loaded) if loaded.isdecimal() and len(loaded) < 7 else 0,
    )
