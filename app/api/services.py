"""What the routes need from the composition root, by name, and how a route gets at it.

It refuses to be: a container. It is the type of a value that is passed to `mount`.
"""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import Depends
from starlette.requests import Request

from app.connectors.port import Connectors
from app.core.db import Database
from app.core.feed import Feed
from app.core.settings import Settings
from app.invocation.desk import Calls
from app.registry.catalog import Catalog


class Services(Protocol):
    """The parts of the service that REST uses."""

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


def services_of(request: Request) -> Services:
    """The services that were passed to `mount`."""
    services: Services = request.app.state.api_services
    return services


House = Annotated[Services, Depends(services_of)]
