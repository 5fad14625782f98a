"""What a front door is given, by name: the parts of a process that REST, MCP and the dashboard use.

It refuses to be: a container. It is the type of a value that the composition root builds and passes in.
"""

from __future__ import annotations

from typing import Protocol

from app.connectors.port import Connectors
from app.core.db import Database
from app.core.feed import Feed
from app.core.settings import Settings
from app.invocation.desk import Calls
from app.registry.catalog import Catalog


class Services(Protocol):
    """The parts of the service that front doors use."""

    @property
    def settings(self) -> Settings: ...

    @property
    def database(self) -> Database: ...

    @property
    def feed(self) -> Feed: ...

    @property
    def connectors(self) -> Connectors: ...

    @property
    def catalog(self) -> Catalog: ...

    @property
    def calls(self) -> Calls: ...
