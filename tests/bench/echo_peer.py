"""The peer: FastMCP with one in-process echo tool. `python -m tests.bench.echo_peer PORT`."""

from __future__ import annotations

import sys

from fastmcp import FastMCP

server: FastMCP[None] = FastMCP("echo")


@server.tool
def echo(text: str) -> dict[str, str]:
    """The same text."""
    return {"text": text}


if __name__ == "__main__":
    server.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False, log_level="ERROR", stateless_http=True)
