"""How a route gets at the services that were passed to `mount`.

It refuses to be: a container.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.invocation.parts import Services


def services_of(request: Request) -> Services:
    """The services that were passed to `mount`."""
    services: Services = request.app.state.api_services
    return services


House = Annotated[Services, Depends(services_of)]
