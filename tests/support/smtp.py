"""Starting `smtp_server` for a test, and reading its log."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import Child, start_module
from tests.support.waiting import until

_PORT = re.compile(r"listening on 127\.0\.0\.1 port (\d+)")


@dataclass(eq=False)
class SmtpProcess:
    """A running server. `accepted()` is what it has taken, in order."""

    child: Child
    port: int
    log: Path
    rules: Path

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def accepted(self) -> list[dict[str, Any]]:
        """One entry per accepted message: `{"at", "queue_id", "message_id", "from", "to", "subject"}`."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def stop(self) -> None:
        self.child.kill()


def start_smtp(folder: Path, *options: str, port: int = 0) -> SmtpProcess:
    """Start a server whose log and rules are in `folder`; `options` are its command line's."""
    log, rules = folder / "smtp.jsonl", folder / "smtp-rules.json"
    arguments = ["--port", str(port), "--log", str(log), "--rules", str(rules), *options]
    output = folder / f"smtp-{len(list(folder.glob('smtp-*.out')))}.out"
    child = start_module("tests.support.smtp_server", *arguments, output=output)
    until(lambda: _PORT.search(child.text()) or not child.alive, 20, "the SMTP server listens")
    found = _PORT.search(child.text())
    if found is None:
        raise RuntimeError(f"the SMTP server ended: {child.text()[-1000:]}")
    return SmtpProcess(child, int(found.group(1)), log, rules)
