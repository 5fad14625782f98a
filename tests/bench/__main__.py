"""`python -m tests.bench [--full]`: start a service, SMTP servers and the peers, measure in turns, print the table.

`--full` sends campaigns of up to 1,000,000 recipients instead of 30,000; that takes a while.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from tests.bench import again, calls, mails, peers, scale, sends, verifying
from tests.bench.table import Row, printed
from tests.support.releases import import_customers, publish_campaign, publish_echo
from tests.support.service import Service, whole_service
from tests.support.smtp import SmtpProcess, start_smtp

SLOW_MS = 5
SLOW_RECIPIENTS = 4_000


def main() -> int:
    sizes = scale.FULL if "--full" in sys.argv[1:] else scale.BOUNDED
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="toolmint-bench-") as name:
        folder = Path(name)
        smtp = _server(folder / "smtp")
        try:
            with _service(folder / "home", smtp) as started:
                print("==> Publishing the tools (verification included)", flush=True)
                publish_echo(started)
                publish_campaign(started)
                print("==> Calls of a trivial tool, in turns with FastMCP", flush=True)
                rows += asyncio.run(calls.measured(started, folder))
                rows += _sends(started, smtp, folder)
                print(f"==> Campaigns of {', '.join(f'{size:,}' for size in sizes)} recipients by reference", flush=True)
                rows += scale.measured(started, sizes)
        finally:
            smtp.stop()
        rows += _slow_sends(folder)
        print("==> Verifications of the campaign tool", flush=True)
        rows += verifying.measured(folder / "verifying")
    print(printed(rows), flush=True)
    return 0


def _sends(started: Service, smtp: SmtpProcess, folder: Path) -> list[Row]:
    print("==> Sends of a campaign, in turns with the bare pool", flush=True)
    import_customers(started, sends.RECIPIENTS)
    rows = sends.measured(started, smtp, sends.RECIPIENTS, "a server that answers at once")
    print("==> The same sends as DBOS steps", flush=True)
    rows += peers.measured(folder, smtp, rows[0].ours)
    print("==> What is done already", flush=True)
    return [*rows, *again.measured(started, folder)]


def _slow_sends(folder: Path) -> list[Row]:
    """On a service of its own: a mail server is named when a service starts."""
    print(f"==> Sends to a server that takes {SLOW_MS} ms a mail", flush=True)
    slow = _server(folder / "slow-smtp", "--delay-ms", str(SLOW_MS))
    try:
        with _service(folder / "slow-home", slow) as started:
            publish_campaign(started)
            import_customers(started, SLOW_RECIPIENTS)
            return sends.measured(started, slow, SLOW_RECIPIENTS, f"a server that takes {SLOW_MS} ms")
    finally:
        slow.stop()


def _server(folder: Path, *options: str) -> SmtpProcess:
    folder.mkdir()
    return start_smtp(folder, *options)


def _service(home: Path, smtp: SmtpProcess) -> AbstractContextManager[Service]:
    return whole_service(home, TOOLMINT_SMTP_URL=smtp.url, TOOLMINT_SMTP_CONNECTIONS=str(mails.CONNECTIONS))


if __name__ == "__main__":
    sys.exit(main())
