"""`python -m tests.bench [--full] [--promises]`: start a service, SMTP servers and the peers, measure in turns, print the table.

`--full` sends campaigns of up to 1,000,000 recipients instead of 30,000; that takes a while. With `--promises` the status is 1 where one
was not kept, which means something on an idle machine alone.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from tests.bench import again, calls, mails, peers, scale, sends, verifying
from tests.bench.table import Row, broken_promises, printed
from tests.support.releases import import_customers, publish_campaign, publish_echo
from tests.support.service import Service, whole_service
from tests.support.smtp import SmtpProcess, start_smtp

SLOW_MS = (5, 20)
SLOW_RECIPIENTS = 4_000


def main() -> int:
    options = _options()
    sizes = scale.FULL if options.full else scale.BOUNDED
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
        for slow_ms in SLOW_MS:
            rows += _slow_sends(folder / f"slow-{slow_ms}", slow_ms)
        print("==> Verifications of the campaign tool", flush=True)
        rows += verifying.measured(folder / "verifying")
    print(printed(rows), flush=True)
    broken = broken_promises(rows)
    print("\n".join(f"BROKEN  {promise}" for promise in broken) or "Every promise was kept.", flush=True)
    return 1 if broken and options.promises else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--full", action="store_true", help="campaigns of up to 1,000,000 recipients")
    parser.add_argument("--promises", action="store_true", help="status 1 where a promise was not kept")
    return parser.parse_args()


def _sends(started: Service, smtp: SmtpProcess, folder: Path) -> list[Row]:
    print("==> Sends of a campaign, in turns with the bare pool", flush=True)
    import_customers(started, sends.RECIPIENTS)
    rows = sends.measured(started, smtp, sends.RECIPIENTS, "a server that answers at once")
    print("==> The same sends as DBOS steps", flush=True)
    rows += peers.measured(folder, smtp, rows[0].ours)
    print("==> What is done already", flush=True)
    return [*rows, *again.measured(started, folder)]


def _slow_sends(folder: Path, slow_ms: int) -> list[Row]:
    """On a service of its own: a mail server is named when a service starts."""
    print(f"==> Sends to a server that takes {slow_ms} ms a mail", flush=True)
    folder.mkdir()
    slow = _server(folder / "smtp", "--delay-ms", str(slow_ms))
    try:
        with _service(folder / "home", slow) as started:
            publish_campaign(started)
            import_customers(started, SLOW_RECIPIENTS)
            return sends.measured(started, slow, SLOW_RECIPIENTS, f"a server that takes {slow_ms} ms")
    finally:
        slow.stop()


def _server(folder: Path, *options: str) -> SmtpProcess:
    folder.mkdir()
    return start_smtp(folder, *options)


def _service(home: Path, smtp: SmtpProcess) -> AbstractContextManager[Service]:
    return whole_service(home, TOOLMINT_SMTP_URL=smtp.url, TOOLMINT_SMTP_CONNECTIONS=str(mails.CONNECTIONS))


if __name__ == "__main__":
    sys.exit(main())
