"""Starting `smtp_server` for a test, and reading its log."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import Child, start_module
from tests.support.supervised import free_port
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
        whole = self.log.read_text().rpartition("\n")[0] if self.log.exists() else ""  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines()]

    def rule(self, *rules: dict[str, Any]) -> None:
        """From now on these rules hold: the server, which may be at work, sees all of them or none."""
        fresh = self.rules.with_suffix(".new")
        fresh.write_text(json.dumps(rules))
        fresh.replace(self.rules)

    def stop(self) -> None:
        self.child.kill()


def start_smtp(folder: Path, *options: str, port: int | None = None) -> SmtpProcess:
    """Start a server whose log and rules are in `folder`; `options` are its command line's."""
    log, rules = folder / "smtp.jsonl", folder / "smtp-rules.json"
    arguments = ["--port", str(port or free_port()), "--log", str(log), "--rules", str(rules), *options]
    output = folder / f"smtp-{len(list(folder.glob('smtp-*.out')))}.out"
    child = start_module("tests.support.smtp_server", *arguments, output=output)
    until(lambda: _PORT.search(child.text()) or not child.alive, 60, "the SMTP server listens")
    found = _PORT.search(child.text())
    if found is None:
        raise RuntimeError(f"the SMTP server ended: {child.text()[-1000:]}")
    return SmtpProcess(child, int(found.group(1)), log, rules)
