"""`python -m tests.chaos`: processes killed, stopped and woken while a service sends campaigns; status 1 if a promise is broken."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.judge import Findings
from tests.chaos.scenarios import LONG, SHORT
from tests.chaos.show import perform
from tests.chaos.table import printed

SEED = 20261122
MINUTES = 10.0
BLOWS_SHARE = 0.75  # of a scenario's time; the campaigns must end in the rest
LEAST_KILLS, LEAST_RECIPIENTS = 40, 60_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help=f"draws whom each blow hits and when ({SEED} unless given)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no blow falls so late that the whole takes longer")
    parser.add_argument("--short", action="store_true", help="the short form of `make test`")
    parser.add_argument("--only", default="", metavar="NAME", help="one scenario: " + ", ".join(each.name for each in (*LONG, *SHORT)))
    options = parser.parse_args()
    began = time.monotonic()
    print(f"==> Seed {options.seed}; at most {options.minutes:g} minutes", flush=True)
    chosen = [each for each in (*LONG, *SHORT) if each.name == options.only] if options.only else SHORT if options.short else LONG
    results = {}
    for number, scenario in enumerate(chosen):
        left = options.minutes * 60 - (time.monotonic() - began)
        deadline = time.monotonic() + left / (len(chosen) - number) * BLOWS_SHARE
        with tempfile.TemporaryDirectory(prefix="toolmint-chaos-") as folder:
            results[scenario.name] = perform(Path(folder), scenario, options.seed, deadline)
    print(printed(results), flush=True)
    load = f"{os.getloadavg()[1]:.1f} on {os.cpu_count()} processors"
    print(f"\nIn {time.monotonic() - began:.0f} s, seed {options.seed}, load of the last five minutes {load}", flush=True)
    broken = [f"{name}: {promise}" for name, found in results.items() for promise in found.broken]
    if chosen is LONG:
        broken += _too_little(list(results.values()))
    print("\n".join(f"BROKEN  {line}" for line in broken) or "Every promise was kept.", flush=True)
    return 1 if broken else 0


def _too_little(results: list[Findings]) -> list[str]:
    """What the long form owes by its name."""
    effective, recipients = sum(found.effective for found in results), sum(found.recipients.total() for found in results)
    enough = effective >= LEAST_KILLS and recipients >= LEAST_RECIPIENTS
    return [] if enough else [f"only {effective} kills counted, only {recipients} recipients"]


if __name__ == "__main__":
    sys.exit(main())
