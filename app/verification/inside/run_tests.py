"""The author's tests, collected by pytest in the sandbox, each run in a process of its own; what became of each is printed as JSON.

Reads `{"token", "former"}`; expects `test_tool.py`, `tool.py`, `contract.py` and `spec.json` in the working folder. Prints `{"token",
"collected", "tests", "broken", "changed", "facts", "remembered"}`. A test's process has no way to the answer but one pipe; what it says
there counts only where it ended as it should, knew its own token and left tool and toolkit as they were. Tests that passed on this very
tool before (`former` facts) and say the same still (`remembered`) are not run again, so many are `remembered`.

It refuses to be: forgiving, or proof against code that reads this process's memory. What a suite may be written in is the allow-list's
matter, and whether it looks at what the tool does is told by mutants.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import secrets
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from .remembered import Passes, Texts
from .seals import Seal

WORKERS = 2
MOST_TEXT = 1500
MOST_ROW = 1 << 15
MOST_CPU_S = 20
TICK_S = 2.0
STILL = 4
"""A test waits that used next to nothing of the processor for so many ticks in a row, and was never kept from it."""
_LEFT_OUT = ("cacheprovider", "junitxml", "pastebin", "xdist", "faulthandler", "logging", "unraisableexception", "threadexception")
_OPTIONS = ["-q", *(f"-pno:{name}" for name in _LEFT_OUT), "--capture=no", "--rootdir=.", "--noconftest", "-o", "verbosity_assertions=2"]
_SEALED = ("tool", "contract", "toolkit")


@dataclass(frozen=True)
class _Child:
    """A test that is under way: its place among the tests, what only it was told, and where it is heard."""

    place: int
    item: pytest.Item
    token: str
    hear: int


class Recorder:
    """Pytest's loop, taken over: one process a test."""

    def __init__(self, answer: int, former: Passes) -> None:
        self.answer = answer
        self.former = former
        self.collected: list[str] = []
        self.tests: list[dict[str, Any]] = []
        self.broken: list[dict[str, object]] = []
        self.changed: list[str] = []
        self.reported: dict[str, Any] = {}
        self.seal = Seal(_SEALED)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append({"message": str(report.longreprtext)[-MOST_TEXT:]})

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.changed = self.seal.broken()
        self.collected = [item.nodeid for item in session.items]
        gc.collect()
        gc.freeze()
        gc.disable()  # what a collection would write to, every test's process would have to copy
        under_way: dict[int, _Child] = {}
        rows: dict[int, dict[str, Any]] = {}
        for place, item in enumerate(session.items):
            if (ms := self.former.passed(item.nodeid)) is not None:
                rows[place] = {**_known(item), "outcome": "passed", "ms": ms}
                continue
            if len(under_way) == WORKERS:
                rows.update([_ended(under_way)])
            self._begin(place, item, under_way)
        while under_way:
            rows.update([_ended(under_way)])
        self.tests = [rows[place] for place in range(len(session.items))]
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.reported.get("outcome", "passed") == "passed" and (report.when == "call" or report.outcome != "passed"):
            self.reported = _row(report)

    def _begin(self, place: int, item: pytest.Item, under_way: dict[int, _Child]) -> None:
        token = secrets.token_hex(8)
        hear, say = os.pipe()
        pid = os.fork()
        if pid == 0:
            for other in under_way.values():
                os.close(other.hear)
            self._be_the_test(item, token, say)
        os.close(say)
        under_way[pid] = _Child(place, item, token, hear)

    def _be_the_test(self, item: pytest.Item, token: str, say: int) -> NoReturn:
        status = 1
        try:
            os.close(self.answer)
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S if hard == resource.RLIM_INFINITY else min(MOST_CPU_S, hard - 1), hard))
            watch(end_waiting)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            changed = [name for name in self.seal.broken() if name not in self.changed]
            row = {**(self.reported or {"outcome": "lost"}), "changed": changed[:5], "token": token}
            os.write(say, json.dumps(row).encode()[:MOST_ROW])
            status = 0
        finally:
            os._exit(status)


def watch(act: Callable[[], None], tick_s: float = TICK_S) -> None:
    """Call `act` once this process has done nothing but wait for STILL ticks."""
    last, still = resource.getrusage(resource.RUSAGE_SELF), 0

    def tick(*_: object) -> None:
        nonlocal last, still
        now = resource.getrusage(resource.RUSAGE_SELF)
        worked = now.ru_utime + now.ru_stime - last.ru_utime - last.ru_stime > tick_s / 100 or now.ru_nivcsw > last.ru_nivcsw
        last, still = now, 0 if worked else still + 1
        if still == STILL:
            still = 0
            act()

    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, tick_s, tick_s)


def refuse_waiting() -> None:
    raise TimeoutError("Importing the tests waits; nothing that they import takes its time.")


def end_waiting() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGALRM)


def _ended(under_way: dict[int, _Child]) -> tuple[int, dict[str, Any]]:
    """The place and the row of the next test that ends."""
    pid, status = os.wait()
    child = under_way.pop(pid)
    os.set_blocking(child.hear, False)  # what it left behind may hold the other end
    try:
        said = os.read(child.hear, MOST_ROW)
    except BlockingIOError:
        said = b""
    os.close(child.hear)
    return child.place, _believed(said, child.token, os.waitstatus_to_exitcode(status), child.item)


def _believed(said: bytes, token: str, status: int, item: pytest.Item) -> dict[str, Any]:
    """The row that a test's process gave; `ended` where it said nothing, or something that is not this runner's."""
    known = _known(item)
    try:
        row = json.loads(said)
    except ValueError:
        row = None
    if status != 0 or not isinstance(row, dict) or row.pop("token", None) != token:
        return {**known, "outcome": "ended", "status": status}
    return {**known, **row}


def _known(item: pytest.Item) -> dict[str, Any]:
    return {"name": item.nodeid.split("::", 1)[-1], "line": int(item.location[1] or 0) + 1, "ms": 0}


def _row(report: pytest.TestReport) -> dict[str, object]:
    outcome = "skipped" if hasattr(report, "wasxfail") else report.outcome
    row: dict[str, object] = {"outcome": outcome, "ms": round(report.duration * 1000)}
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
    request = json.load(sys.stdin)
    texts = Texts.of(Path("test_tool.py").read_bytes())
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    for name in ("tool", "toolkit.testing"):
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001, S112 - whatever a tool raises at import is told where its tests import it
            continue
    recorder = Recorder(answer, Passes.read(request.get("former"), texts))
    watch(refuse_waiting)
    pytest.main([*_OPTIONS, "test_tool.py"], plugins=[recorder])
    result = {
        "token": request["token"],
        "collected": len(recorder.collected),
        "tests": recorder.tests,
        "broken": recorder.broken,
        "changed": recorder.changed[:5],
        "facts": Passes.told(texts, zip(recorder.collected, recorder.tests, strict=False)),
        "remembered": sum(recorder.former.passed(name) is not None for name in recorder.collected),
    }
    with os.fdopen(answer, "w") as out:
        json.dump(result, out)


if __name__ == "__main__":
    main()
