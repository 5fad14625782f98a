"""The author's tests, run by pytest in the sandbox; each test's outcome is printed as JSON.

Reads nothing; expects `test_tool.py`, `tool.py`, `contract.py` and `spec.json` in the working folder. It refuses to be: forgiving. A test
that was collected and not reported is reported as lost, and a skipped one is no pass.
"""

from __future__ import annotations

import json
import os
import sys

import pytest

MOST_TEXT = 1500
_OPTIONS = [
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:junitxml",
    "-p",
    "no:pastebin",
    "-p",
    "no:faulthandler",
    "--rootdir=.",
    "--noconftest",
    "-o",
    "verbosity_assertions=2",
]


class Recorder:
    """Pytest's view of each test, by its node id."""

    def __init__(self) -> None:
        self.collected: list[str] = []
        self.tests: dict[str, dict[str, object]] = {}
        self.broken: list[dict[str, object]] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append({"message": str(report.longreprtext)[-MOST_TEXT:]})

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.collected = [item.nodeid for item in session.items]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        known = self.tests.get(report.nodeid)
        if known is not None and known["outcome"] != "passed":
            return
        if report.when == "call" or report.outcome != "passed":
            self.tests[report.nodeid] = _row(report)


def _row(report: pytest.TestReport) -> dict[str, object]:
    outcome = "skipped" if hasattr(report, "wasxfail") else report.outcome
    row: dict[str, object] = {"name": report.nodeid.split("::", 1)[-1], "outcome": outcome, "ms": round(report.duration * 1000)}
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        row["message"] = str(crash.message)[:MOST_TEXT]
        row["trace"] = str(report.longreprtext)[-MOST_TEXT:]
    row["line"] = _line_in_test(report)
    return row


def _line_in_test(report: pytest.TestReport) -> int:
    for entry in getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", ()):
        place = getattr(entry, "reprfileloc", None)
        if place is not None and str(place.path).endswith("test_tool.py"):
            return int(place.lineno)
    return int(report.location[1] or 0) + 1


def main() -> None:
    """Run the tests; pytest's own words go nowhere, the answer to the real standard output."""
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
    recorder = Recorder()
    status = int(pytest.main([*_OPTIONS, "test_tool.py"], plugins=[recorder]))
    lost = [{"name": name.split("::", 1)[-1], "outcome": "lost", "ms": 0} for name in recorder.collected if name not in recorder.tests]
    result = {"exit": status, "collected": len(recorder.collected), "tests": [*recorder.tests.values(), *lost], "broken": recorder.broken}
    with os.fdopen(answer, "w") as out:
        json.dump(result, out)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
