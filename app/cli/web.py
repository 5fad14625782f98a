"""`toolmint web`: uvicorn on `app.main:app`, started by name.

It refuses to be: a place for settings of its own. Under the supervisor it serves the socket that it was handed.
"""

from __future__ import annotations

import os
import socket

import uvicorn

from app.cli.premises import LISTEN_FD, address_of_our_own
from app.composition import start_logging
from app.core.settings import Settings

GRACE_S = 2
"""How long an open answer may go on after SIGTERM: an event stream would otherwise never let the process end."""


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT."""
    start_logging(settings)
    handed = os.environ.pop(LISTEN_FD, "")
    if handed:
        with socket.socket(fileno=int(handed)) as listener:
            _server(settings).run(sockets=[listener])
        return 0
    with address_of_our_own(settings) as listener:
        _server(settings).run(sockets=[listener])
    return 0


def _server(settings: Settings) -> uvicorn.Server:
    config = uvicorn.Config(
        "app.main:app",
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=GRACE_S,
    )
    return uvicorn.Server(config)
