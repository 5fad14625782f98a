"""The stage: a service on a database of its own, an SMTP server as a process of its own, keys for an agent and an operator."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.processes import ROOT
from tests.support.service import Rest, Service, start_service
from tests.support.smtp import SmtpProcess, start_smtp

HOME = ROOT / ".toolmint" / "demo"
TOOL = ROOT / "generated_tools" / "messaging" / "campaign_send_bulk"
SMTP_DELAY_MS = 10
"""A slow server on purpose: a kill has to find sends in flight."""

AGENT = ("specs:write", "candidates:submit", "tools:publish", "tools:call", "campaigns:send", "records:read", "records:write")
OPERATOR = ("candidates:approve", "tools:rollback", "tools:publish", "effects:resolve", "records:read", "audit:read")


@dataclass(frozen=True)
class Stage:
    """Everything that the story plays on."""

    service: Service
    smtp: SmtpProcess
    agent_key: str
    operator: Rest

    def accepted(self, subject: str = "") -> list[dict[str, Any]]:
        """What the SMTP server's own log says that it accepted, of messages whose subject begins so."""
        return [line for line in self.smtp.accepted() if line["subject"].startswith(subject)]


def sources() -> dict[str, str]:
    """The bundled tool's files by name without `.py`."""
    return {name: (TOOL / f"{name}.py").read_text() for name in ("tool", "test_tool")}


def files(**changed: str) -> list[dict[str, str]]:
    """The candidate's two files, as the agent would write them; `changed` replaces one by its name."""
    return [{"path": f"{name}.py", "content": content} for name, content in (sources() | changed).items()]


def spec() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TOOL / "spec.json").read_text())
    return found


@contextmanager
def stage(port: int | None) -> Iterator[Stage]:
    """Set the stage; everything on it is stopped at the end."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    smtp = start_smtp(HOME, "--delay-ms", str(SMTP_DELAY_MS))
    try:
        service = start_service(HOME, port, TOOLMINT_SMTP_URL=smtp.url)
        try:
            agent = service.new_key("agent", *AGENT)
            operator = service.new_key("operator", *OPERATOR)
            yield Stage(service, smtp, agent.key, operator)
        finally:
            service.stop()
    finally:
        smtp.stop()
