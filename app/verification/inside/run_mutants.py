"""The author's tests against mutants of the tool: each mutant in a process of its own, which imports it in the tool's place.

Reads `{"token", "module", "path", "tests": [...], "most", "others", "seed"}`, `former` facts (`remembered`), and `options` for pytest and
modules that are `ready` before the tests are. Prints `{"token", "baseline", "total", "must", "tried", "coverage", "mutants", "decoys",
"facts", "remembered"}`, of each mutant `{"kind", "must", "line", "what", "status"}`, of each decoy its status. One is `killed` by a test
that fails, by a crash or by its time; `survived` if every test that reaches its line passes; `uncovered` if none does. `remembered`: of
so many mutants it was known before. `baseline`: `passed`, `failed`, or `too_many` to be noticed, more than `most`.

This process imports neither tool nor tests, so that nothing they do to theirs changes what is tried and counted; the tool itself, mutants
and decoys are run alike. It refuses to be: a measure of lines. A line that is run and not judged counts as nothing here.
"""

from __future__ import annotations
import __future__

import ast
import gc
import importlib
import importlib.util
import json
import os
import resource
import signal
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NoReturn

import pytest

from .decoys import DECOYS
from .mutants import Mutant, chosen, mutants
from .remembered import Facts, Texts

WORKERS = 2
MOST_CPU_S = 5
BASELINE_CPU_S = 60
MOST_WALL_S = 60
"""Far above what the processor's time amounts to on a machine that has other things to do."""
SLOWER = 20
"""A mutant may take this many times what its tests take on the tool itself, and a second."""
_KILLER = 2
"""A child's exit status is this and the place of the test that failed; 1 where no test was reached, or none that can be told."""
_MOST_TOLD = 256
_LEFT_OUT = ("cacheprovider", "xdist", "faulthandler", "logging", "unraisableexception", "threadexception")
_OPTIONS = ["-q", *(f"-pno:{name}" for name in _LEFT_OUT), "--capture=no", "--tb=no", "--assert=plain", "--noconftest", "-o", "addopts="]
"""Nobody reads what a test says of a mutant: without these each one costs half as much."""


@dataclass
class Timed:
    """One of the author's tests: its place among them, how long it takes on the tool itself, how many mutants it has killed."""

    place: int
    name: str
    took: float
    kills: int = 0
    killed_at: Counter[int] = field(default_factory=Counter)

    def worth(self, line: int) -> tuple[int, float]:
        """How much trying it early on a mutant of this line promises."""
        return self.killed_at[line], (1 + self.kills) / self.took


@dataclass(frozen=True)
class Baseline:
    """What the tests do on the tool itself: which reaches which line, and which lines run as tool and tests are imported."""

    tests: Sequence[Timed]
    reached: dict[int, list[Timed]]
    imported: frozenset[int]

    def of(self, line: int, called: frozenset[int]) -> Sequence[Timed]:
        """The tests that could notice a change of a line: those that reach it where it runs in a call alone, else all."""
        return self.reached.get(line, []) if line in called - self.imported else self.tests


@dataclass
class Tool:
    """The module under test, as text that has been read and not run."""

    module: str
    path: str
    tree: ast.Module
    flags: int = field(init=False)
    parts: list[types.CodeType] = field(init=False)
    """Each statement by itself, so that of a mutant only the one that holds the change is compiled again."""

    def __post_init__(self) -> None:
        futures = [part for part in self.tree.body if isinstance(part, ast.ImportFrom) and part.module == "__future__"]
        self.flags = sum(getattr(__future__, name.name).compiler_flag for part in futures for name in part.names)
        self.parts = [self._compiled(statement) for statement in self.tree.body]

    def enter(self, changed: Mutant | None = None) -> None:
        """Import it, as it stands in the tree by now, for the process that this is called in."""
        spec = importlib.util.spec_from_file_location(self.module, self.path)
        if spec is None:
            raise ImportError(self.path)
        live = importlib.util.module_from_spec(spec)
        sys.modules[self.module] = live
        package, _, name = self.module.rpartition(".")
        if package:
            setattr(importlib.import_module(package), name, live)
        for statement, code in zip(self.tree.body, self.parts, strict=True):
            anew = changed is not None and (not changed.line or statement.lineno <= changed.line <= (statement.end_lineno or 0))
            exec(self._compiled(statement) if anew else code, live.__dict__)  # noqa: S102 - the tool with one change

    def _compiled(self, statement: ast.stmt) -> types.CodeType:
        part = ast.Module([ast.fix_missing_locations(statement)], [])
        code: types.CodeType = compile(part, self.path, "exec", self.flags, dont_inherit=True)
        return code

    def called(self) -> frozenset[int]:
        """The lines of its functions."""
        found: set[int] = set()
        waiting = [inner for part in self.parts for inner in part.co_consts if isinstance(inner, types.CodeType)]
        while waiting:
            code = waiting.pop()
            found |= {line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno}
            waiting += [part for part in code.co_consts if isinstance(part, types.CodeType)]
        return frozenset(found)


class Read(MetaPathFinder, Loader):
    """Finds the tests as they were read and compiled, once for all processes that import them."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = {Path(path).stem: str(Path(path).resolve()) for path in paths}
        self.codes = {name: compile(Path(path).read_bytes(), path, "exec", dont_inherit=True) for name, path in self.paths.items()}

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> ModuleSpec | None:
        path = self.paths.get(fullname)
        return importlib.util.spec_from_file_location(fullname, path, loader=self) if path else None

    def exec_module(self, module: types.ModuleType) -> None:
        exec(self.codes[module.__name__], module.__dict__)  # noqa: S102 - what an import does


class Unopened:
    """Pytest without a collection and a loop of its own: what to do instead is called once it is ready."""

    def __init__(self, instead: Callable[[pytest.Session], bool]) -> None:
        self.pytest_runtestloop = instead

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> bool:
        return True


def try_all(session: pytest.Session, tool: Tool, texts: Texts | None, request: dict[str, Any], answer: int) -> dict[str, Any]:
    """Baseline, mutants and decoys; children are without `answer`, the way to whoever asked."""
    found = list(mutants(tool.tree))
    counts = {"total": len(found), "must": sum(mutant.must for mutant in found)}
    most = request["most"]
    if counts["must"] > most:
        return {"baseline": "too_many", **counts}
    gc.collect()
    gc.freeze()
    gc.disable()
    baseline = _baseline(session, tool, answer)
    if baseline is None:
        return {"baseline": "failed"}
    picked = chosen(found, tool.tree, request.get("others", most), request["seed"])
    decoys = {-place: Mutant(name, 0, name, partial(_changed, change, tool.tree)) for place, (name, change) in enumerate(DECOYS.items(), 1)}
    called = tool.called()
    trial = Trial(session, tool, baseline, called, Facts.read(request.get("former"), texts), answer, Facts(texts))
    statuses = trial.statuses({**picked, **decoys})
    rows = [
        {"kind": mutant.kind, "must": mutant.must, "line": mutant.line, "what": mutant.what, "status": statuses[place]}
        for place, mutant in picked.items()
    ]
    told = {decoy.kind: statuses[place] for place, decoy in decoys.items()}
    inner = called - baseline.imported
    coverage = round(len(inner & baseline.reached.keys()) / len(inner), 3) if inner else 1.0
    said = {"baseline": "passed", **counts, "tried": len(rows), "coverage": coverage, "mutants": rows, "decoys": told}
    return {**said, "facts": trial.facts.as_json(), "remembered": trial.remembered}


def _baseline(session: pytest.Session, tool: Tool, answer: int) -> Baseline | None:
    """What a process that runs all tests on the tool itself says of them; None where one fails or there is none."""
    hear, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be(lambda: _observe(session, tool, say), BASELINE_CPU_S, (answer, hear))
    os.close(say)
    with os.fdopen(hear, "rb") as heard:
        said = heard.read()
    _, status = os.waitpid(pid, 0)
    rows = json.loads(said) if status == 0 else {}
    if not rows.get("tests"):
        return None
    tests = [Timed(place, row["name"], max(1e-4, row["took"])) for place, row in enumerate(rows["tests"])]
    reached: dict[int, list[Timed]] = {}
    for test, row in zip(tests, rows["tests"], strict=True):
        for line in row["lines"]:
            reached.setdefault(line, []).append(test)
    return Baseline(tests, reached, frozenset(rows["imported"]))


def _observe(session: pytest.Session, tool: Tool, say: int) -> int:
    """Run all tests and tell what each reaches; the exit status."""
    imported: set[int] = set()
    with Traced(tool.path, imported):
        tool.enter()
        items = session.perform_collect()
    tests = []
    for item in items:
        lines: set[int] = set()
        began = time.perf_counter()
        with Traced(tool.path, lines):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        tests.append({"name": item.nodeid, "took": time.perf_counter() - began, "lines": sorted(lines)})
    if session.testsfailed > 0:
        return 1
    with os.fdopen(say, "w") as out:
        json.dump({"imported": sorted(imported), "tests": tests}, out)
    return 0


class Traced:
    """Notes the lines of a file that run."""

    def __init__(self, path: str, lines: set[int]) -> None:
        def trace(frame: types.FrameType, _event: str, _argument: Any) -> Any:
            if frame.f_code.co_filename != path:
                return None
            lines.add(frame.f_lineno)
            return trace

        self._trace = trace

    def __enter__(self) -> None:
        sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)


@dataclass(frozen=True)
class UnderWay:
    """A mutant in its process: the tests that run there, and those that it is known to have survived before."""

    place: int
    line: int
    tests: Sequence[Timed]
    survived: Sequence[str]


@dataclass
class Trial:
    """Mutants and decoys before the tests, two at a time; `facts` are what is certain of them, now or from before."""

    session: pytest.Session
    tool: Tool
    baseline: Baseline
    called: frozenset[int]
    former: Facts
    answer: int
    facts: Facts
    remembered: int = 0
    under_way: dict[int, UnderWay] = field(default_factory=dict)

    def statuses(self, changes: Mapping[int, Mutant]) -> dict[int, str]:
        """The status of each by its place. Those of decoys are below zero, and nothing is known of them."""
        found: dict[int, str] = {}
        for place, mutant in changes.items():
            tests = self.baseline.of(mutant.line, self.called)
            killed, ran = self.former.known.get(place, (False, ()))
            left = [] if killed else [test for test in tests if test.name not in ran]
            if not tests:
                found[place] = "uncovered"
            elif not left:
                found[place] = "killed" if killed else "survived"
                self.facts.known[place] = killed, ran
                self.remembered += 1
            else:
                if len(self.under_way) >= WORKERS:
                    found.update([self._ended()])
                self._begin(place, mutant, left, ran)
        while self.under_way:
            found.update([self._ended()])
        return found

    def _begin(self, place: int, mutant: Mutant, tests: Sequence[Timed], survived: Sequence[str]) -> None:
        killer = self.former.killers.get(place)
        ordered = sorted(tests, key=lambda test: (test.name == killer, *test.worth(mutant.line)), reverse=True)
        pid = os.fork()
        if pid == 0:
            cpu_s = min(MOST_CPU_S, 1 + int(SLOWER * sum(test.took for test in tests)))
            known = len(self.baseline.tests)
            _be(partial(_first_failure, self.session, self.tool, mutant, ordered, survived, known), cpu_s, (self.answer,))
        self.under_way[pid] = UnderWay(place, mutant.line, ordered, survived)

    def _ended(self) -> tuple[int, str]:
        pid, status = os.wait()
        mutant = self.under_way.pop(pid)
        names = [test.name for test in mutant.tests]
        killer = next((test for test in mutant.tests if test.place + _KILLER == os.waitstatus_to_exitcode(status)), None)
        if killer is not None:
            killer.kills += 1
            killer.killed_at[mutant.line] += 1
        if mutant.place >= 0 and status == 0:
            self.facts.known[mutant.place] = False, [*mutant.survived, *names]
        elif mutant.place >= 0 and killer is not None:
            self.facts.known[mutant.place] = True, names[: names.index(killer.name) + 1]
        return mutant.place, "survived" if status == 0 else "killed"


def _be(act: Callable[[], int], cpu_s: int, closed: Sequence[int]) -> NoReturn:
    """What a child does: something that gives its exit status, within its time."""
    try:
        for channel in closed:
            os.close(channel)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        cpu_s = cpu_s if hard == resource.RLIM_INFINITY else min(cpu_s, hard)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
        signal.alarm(max(MOST_WALL_S, 2 * cpu_s))
        status = act()
    except BaseException:  # noqa: BLE001 - whatever a mutant raises, it was noticed
        status = 1
    os._exit(status)


def _first_failure(session: pytest.Session, tool: Tool, mutant: Mutant, tests: Sequence[Timed], survived: Sequence[str], known: int) -> int:
    """The exit status that tells the parent which test failed first; 0 where none did.

    Where the change gives other cases than the tool itself has, all that there are now are run.
    """
    mutant.apply()
    tool.enter(mutant)
    items = {item.nodeid: item for item in session.perform_collect()}
    if session.testsfailed > 0:
        return 1
    places = {test.name: test.place for test in tests}
    wanted = [test.name for test in tests]
    if len(items) != known or not items.keys() >= {*wanted, *survived}:
        wanted += [name for name in items if name not in places]
    for name in wanted:
        if name not in items:
            continue
        items[name].config.hook.pytest_runtest_protocol(item=items[name], nextitem=None)
        if session.testsfailed > 0:
            told = _KILLER + places.get(name, _MOST_TOLD)
            return told if told < _MOST_TOLD else 1
    return 0


def _changed(change: Callable[[ast.Module], None], tree: ast.Module) -> Callable[[], None]:
    change(tree)
    return lambda: None  # the fork that it was made in is thrown away


def main() -> None:
    """Try the mutants; pytest's own words go nowhere, the answer to the real standard output."""
    request = json.load(sys.stdin)
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    for name in request.get("ready", ("toolkit.testing", "contract")):
        importlib.import_module(name)
    path = Path(request["path"]).resolve()
    tool = Tool(request["module"], str(path), ast.parse(path.read_text(encoding="utf-8")))
    sys.meta_path.insert(0, Read(request["tests"]))
    texts = Texts.of(Path(request["tests"][0]).read_bytes()) if len(request["tests"]) == 1 else None
    said: dict[str, Any] = {"baseline": "failed"}

    def instead(session: pytest.Session) -> bool:
        said.update(try_all(session, tool, texts, request, answer))
        return True

    pytest.main([*_OPTIONS, *request.get("options", ()), *request["tests"]], plugins=[Unopened(instead)])
    with os.fdopen(answer, "w") as out:
        json.dump({"token": request.get("token"), **said}, out)


if __name__ == "__main__":
    main()
