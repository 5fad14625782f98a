"""A watched page: what it complained about, and what axe finds on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Page, Request

from tests.dashboard.site import Site

AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],  # what is right is told by its first element alone
}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}, "resultTypes": ["violations"]}
"""Those of RULES that look at colours."""
_VIOLATIONS = "async (rules) => (await axe.run(document, rules)).violations"
"""The findings alone leave the browser: everything that axe looked at is a third of a megabyte a page."""


@dataclass
class Watched:
    """A page and its complaints. `expected` holds statuses of answers that this test asks for, e.g. 422."""

    page: Page
    site: Site
    complaints: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)

    def problems(self) -> list[str]:
        """Complaints, without those about statuses that were asked for."""
        return [text for text in self.complaints if not any(f"status of {status}" in text for status in self.expected)]

    def open(self, path: str) -> None:
        self.page.goto(self.site.url + path)

    def text(self, selector: str = "main") -> str:
        return self.page.inner_text(selector)

    def axe(self, rules: dict[str, Any] = RULES) -> list[dict[str, Any]]:
        """What axe finds, by default by WCAG 2.2 AA and its best practices: `[{"id", "targets"}]`."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = self.page.evaluate(_VIOLATIONS, rules)
        return [
            {"id": one["id"], "targets": [(node["target"], node.get("failureSummary", "")) for node in one["nodes"]][:3]} for one in found
        ]


def watch(page: Page, site: Site) -> Watched:
    """Listen to everything that a page may complain about."""
    watched = Watched(page, site)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            watched.complaints.append(f"{message.type}: {message.text} at {message.location.get('url')}")

    def on_failed(request: Request) -> None:
        if "net::ERR_ABORTED" not in (request.failure or ""):  # a closed page cancels its event stream
            watched.complaints.append(f"request failed: {request.url} {request.failure}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: watched.complaints.append(f"page error: {error}"))
    page.on("requestfailed", on_failed)
    return watched
