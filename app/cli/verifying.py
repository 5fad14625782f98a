"""`toolmint verify DIR`: every gate on a folder, without a server, and how a report looks to people.

It refuses to be: a release. A server verifies again what it is to publish.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.cli.output import say, show
from app.core.settings import Settings
from app.verification.findings import GateResult
from app.verification.line import SILENT, Watcher
from app.verification.local import exit_status, verify_folder

_SIGNS = {"passed": "ok     ", "failed": "FAILED "}


def verify(settings: Settings, folder: Path, *, as_json: bool, fresh: bool = False) -> int:
    """Print each gate as it ends, then the rubric; or the whole report as JSON. Raises what `verify_folder` raises.

    `fresh`: nothing is taken from what passed before.
    """
    watcher = SILENT if as_json else Watcher(SILENT.started, _told)
    report = asyncio.run(verify_folder(folder, settings, watcher=watcher, fresh=fresh))
    if as_json:
        show(report)
        return exit_status(report)
    _end(report)
    say("Publishable." if report["publishable"] else "Refused.")
    return exit_status(report)


def explain(report: Mapping[str, Any]) -> None:
    """The gates with what they found, and the rubric."""
    for gate in report["gates"]:
        _gate(gate)
    _end(report)


def _end(report: Mapping[str, Any]) -> None:
    """What comes after the gates: those that did not run on one line, else the scores, which mean nothing without them."""
    left_out = [gate["gate"] for gate in report["gates"] if gate["status"] == "skipped"]
    if left_out:
        say(f"not run  {', '.join(left_out)}: mend what failed, then verify again")
        return
    for row in report.get("rubric", []):
        bar = f"{row['score']:.2f} of at least {row['threshold']:.2f}"
        say(f"{'ok     ' if row['passed'] else 'FAILED '}  {row['dimension']:<15} {bar}")


async def _told(result: GateResult) -> None:
    _gate(result.as_dict())


def _gate(gate: Mapping[str, Any]) -> None:
    if gate["status"] == "skipped":
        return
    kept = f", kept from {gate['kept']['at']}" if gate.get("kept") else ""
    say(f"{_SIGNS.get(gate['status'], gate['status'])}  {gate['gate']:<15} {gate['duration_ms']} ms{kept}")
    for finding in gate["findings"]:
        place = ":".join(str(finding[name]) for name in ("file", "line") if finding.get(name))
        say(f"           {f'{place} ' if place else ''}{finding['message'].rstrip('.')}. {finding.get('fix') or ''}".rstrip())
