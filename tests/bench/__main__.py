"""`python -m tests.bench`: start a service, an SMTP server and the peer, measure in turns, print the table."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.bench import calls, sends
from tests.bench.table import printed
from tests.support.releases import publish_campaign, publish_echo
from tests.support.service import whole_service
from tests.support.smtp import start_smtp


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="toolmint-bench-") as name:
        folder = Path(name)
        smtp = start_smtp(folder)
        try:
            with whole_service(folder / "home", TOOLMINT_SMTP_URL=smtp.url, TOOLMINT_SMTP_CONNECTIONS=str(sends.CONNECTIONS)) as started:
                print("==> Publishing the tools (verification included)", flush=True)
                publish_echo(started)
                publish_campaign(started)
                print("==> Calls of a trivial tool, in turns with FastMCP", flush=True)
                rows = asyncio.run(calls.measured(started, folder))
                print("==> Sends of a campaign, in turns with the bare pool", flush=True)
                rows += sends.measured(started, smtp)
        finally:
            smtp.stop()
    print(printed(rows), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
