"""The `toolmint` command: arguments, dispatch, exit status.

It refuses to be: where a command does its work; each has a module, imported when it runs.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version

from app.cli import commands
from app.cli.output import EXIT_CODES, UNUSABLE, complain
from app.core.errors import ToolmintError
from app.core.settings import Settings
from app.observability.traces import tracing

_EPILOG = f"""\
The service is set up by environment variables (TOOLMINT_HOME, TOOLMINT_PORT, …), see README.md.
Client commands speak to the service at TOOLMINT_URL with the key TOOLMINT_KEY; beside a service on this machine
neither is needed: they use its address and the admin key in its home.

{EXIT_CODES}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. An error of ours is one line and its fix, never a traceback."""
    options = parser().parse_args(arguments)
    try:
        settings = Settings.from_env()
        troubles = logging.StreamHandler()
        troubles.setLevel(logging.WARNING)
        logging.basicConfig(handlers=[troubles], format="%(levelname)s %(name)s: %(message)s")
        with tracing():
            status: int = options.command(settings, options)
    except ToolmintError as error:
        complain(error)
        return UNUSABLE
    except KeyboardInterrupt:
        return 130
    return status


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    whole = argparse.ArgumentParser(
        prog="toolmint",
        description="Agents write a tool once; Toolmint verifies it, publishes it over MCP and runs it safely.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"toolmint {version('toolmint')}")
    verbs = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in commands.ALL:
        add(verbs)
    return whole


if __name__ == "__main__":
    sys.exit(main())
