"""A second web process of a test's site: the same application on the same home and database, in a process of its own.

`python -m tests.protocol.second HOME` prints its port and serves until its standard input ends.
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import uvicorn

from tests.protocol.site import build


def main(home: Path) -> None:
    """Serve; the test that started us closes our input."""
    app, _ = build(home)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, http="httptools", loop="uvloop"))

    def wait() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=wait, daemon=True).start()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    server.run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
