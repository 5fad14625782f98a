"""The author's tests against mutants of the tool: pytest collects once, then each mutant is tried in a fork of its own.

Reads `{"token", "module", "path", "tests": [...], "most", "others", "seed"}`, and `options` for pytest: at most so many mutants, and so
many beside those that must be noticed. Prints `{"token", "baseline", "total", "tried", "coverage", "mutants", "decoys"}`, of each mutant
`{"kind", "must", "line", "what", "status"}`, of each decoy its status. One is `killed` by a test that fails, by a crash or by its time;
`survived` if every test that reaches its line passes; `uncovered` if none does. In a fork the live functions get the mutant's code, so that
names which tests have imported see it. Tests that killed on the same line are tried first, then those that killed most for their time.

It refuses to be: a measure of lines. A line that is run and not judged counts as nothing here.
"""

from __future__ import annotations
import __future__

import ast
import gc
import importlib
import json
import os
import random
import resource
import signal
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .decoys import DECOYS
from .mutants import DONE, Mutant, mutants

WORKERS = 2
MOST_CPU_S = 5
SLOWER = 20
"""A mutant may take this many times what its tests take on the tool itself, and a second."""
_KILLER = 2
"""A child's exit status is this and the place of the test that failed; 1 where no test was reached."""
_LEFT_OUT = ("cacheprovider", "xdist", "faulthandler", "logging", "unraisableexception", "threadexception")
_OPTIONS = ["-q", *(f"-pno:{name}" for name in _LEFT_OUT), "--capture=no", "--tb=no", "--assert=plain", "--noconftest", "-o", "addopts="]
"""Nobody reads what a test says of a mutant: without these each one costs half as much."""


@dataclass
class Timed:
    """One of the author's tests: its place among them, how long it takes on the tool itself, how many mutants it has killed."""

    place: int
    item: pytest.Item
    took: float
    kills: int = 0
    killed_at: Counter[int] = field(default_factory=Counter)

    def worth(self, line: int) -> tuple[int, float]:
        """How much trying it early on a mutant of this line promises."""
        return self.killed_at[line], (1 + self.kills) / self.took


@dataclass
class Trial:
    """Pytest's loop, taken over: a baseline that notes which test reaches which line, then the mutants."""

    module: str
    path: str
    most: int
    others: int
    seed: str
    channel: int
    """Where the answer goes, which no test has."""
    answer: dict[str, Any] = field(default_factory=lambda: {"baseline": "lost"})
    reached: dict[int, list[Timed]] = field(default_factory=dict)
    whole: list[Timed] = field(default_factory=list)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        tree = ast.parse(Path(self.path).read_text(encoding="utf-8"))
        live = importlib.import_module(self.module)
        if not session.items or not self._baseline(session):
            self.answer = {"baseline": "failed"}
            return True
        found = list(mutants(tree))
        gc.collect()
        gc.freeze()
        gc.disable()
        chosen = self._chosen(found)
        decoys = [Mutant(name, 0, name, partial(_changed, change, tree)) for name, change in DECOYS.items()]
        statuses = dict(self._tried(session, live, tree, [*(found[index] for index in chosen), *decoys]))
        rows = [
            {"kind": found[index].kind, "must": found[index].must, "line": found[index].line, "what": found[index].what, "status": status}
            for index, status in zip(chosen, (statuses[place] for place in range(len(chosen))), strict=True)
        ]
        told = {decoy.kind: statuses[place] for place, decoy in enumerate(decoys, len(chosen))}
        lines = _lines_of_functions(live)
        coverage = round(len(lines & self.reached.keys()) / len(lines), 3) if lines else 1.0
        counts = {"total": len(found), "tried": len(rows), "coverage": coverage}
        self.answer = {"baseline": "passed", **counts, "mutants": rows, "decoys": told}
        return True

    def _chosen(self, found: Sequence[Mutant]) -> list[int]:
        """All that must be noticed, and of the others a sample."""
        must = [index for index, mutant in enumerate(found) if mutant.must]
        rest = [index for index, mutant in enumerate(found) if not mutant.must]
        room = min(self.others, max(0, self.most - len(must)))
        if len(rest) > room:
            rest = random.Random(self.seed).sample(rest, room)  # noqa: S311 - a sample that can be drawn again
        return sorted(must[: self.most] + rest)

    def _baseline(self, session: pytest.Session) -> bool:
        for place, item in enumerate(session.items):
            lines: set[int] = set()

            def trace(frame: types.FrameType, _event: str, _argument: Any, lines: set[int] = lines) -> Any:
                if frame.f_code.co_filename != self.path:
                    return None
                lines.add(frame.f_lineno)
                return trace

            began = time.perf_counter()
            sys.settrace(trace)
            try:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            finally:
                sys.settrace(None)
            if session.testsfailed:
                return False
            self.whole.append(Timed(place, item, max(1e-4, time.perf_counter() - began)))
            for line in lines:
                self.reached.setdefault(line, []).append(self.whole[-1])
        return True

    def _tried(
        self, session: pytest.Session, live: types.ModuleType, tree: ast.Module, chosen: Sequence[Mutant]
    ) -> Iterator[tuple[int, str]]:
        inner = _lines_of_functions(live)
        under_way: dict[int, tuple[int, int]] = {}
        for place, mutant in enumerate(chosen):
            tests = self.reached.get(mutant.line, []) if mutant.line in inner else self.whole
            if not tests:
                yield place, "uncovered"
                continue
            if len(under_way) >= WORKERS:
                yield self._ended(under_way)
            ordered = sorted(tests, key=lambda test: test.worth(mutant.line), reverse=True)
            under_way[self._fork(session, live, tree, mutant, ordered)] = place, mutant.line
        while under_way:
            yield self._ended(under_way)

    def _ended(self, under_way: dict[int, tuple[int, int]]) -> tuple[int, str]:
        pid, status = os.wait()
        place, line = under_way.pop(pid)
        killer = os.waitstatus_to_exitcode(status) - _KILLER
        if 0 <= killer < len(self.whole):
            self.whole[killer].kills += 1
            self.whole[killer].killed_at[line] += 1
        return place, "survived" if status == 0 else "killed"

    def _fork(self, session: pytest.Session, live: types.ModuleType, tree: ast.Module, mutant: Mutant, tests: Sequence[Timed]) -> int:
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            os.close(self.channel)
            cpu_s = min(MOST_CPU_S, 1 + int(SLOWER * sum(test.took for test in tests)))
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
            signal.alarm(4 * cpu_s)
            part = _part(tree, mutant.line)
            mutant.apply()
            _swap(live, _compiled(part, tree, self.path), anew=part is tree)
            status = _first_failure(session, tests)
        except BaseException:  # noqa: BLE001 - whatever a mutant raises, it was noticed
            status = 1
        os._exit(status)


def _changed(change: Callable[[ast.Module], None], tree: ast.Module) -> Callable[[], None]:
    change(tree)
    return lambda: None  # the fork that it was made in is thrown away


def _first_failure(session: pytest.Session, tests: Sequence[Timed]) -> int:
    """The exit status that tells the parent which test failed first; 0 where none did."""
    session.testsfailed = 0
    for test in tests:
        test.item.config.hook.pytest_runtest_protocol(item=test.item, nextitem=None)
        if session.testsfailed:
            return min(_KILLER + test.place, 255)
    return 0


def _part(tree: ast.Module, line: int) -> ast.Module:
    """The function or class alone that holds a line, since the rest need not be compiled again; else the module."""
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.lineno <= line <= (statement.end_lineno or 0):
            return ast.Module([statement], [])
    return tree


def _compiled(part: ast.Module, tree: ast.Module, path: str) -> types.CodeType:
    flags = 0
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            for name in statement.names:
                flags |= getattr(__future__, name.name).compiler_flag
    code: types.CodeType = compile(ast.fix_missing_locations(part), path, "exec", flags, dont_inherit=True)
    return code


def _swap(live: types.ModuleType, code: types.CodeType, *, anew: bool) -> None:
    """Give the live module the mutant's code: functions keep their identity, containers too, other values are set anew.

    `anew`: the code is that of the whole module; else it is run among the names that the module has.
    """
    fresh = types.ModuleType(live.__name__)
    fresh.__dict__.update({"__file__": live.__file__} if anew else vars(live))
    if _uses(code, DONE):
        fresh.__dict__[DONE] = importlib.import_module("toolkit").Outcome("done")
    sys.modules[live.__name__] = fresh
    try:
        exec(code, fresh.__dict__)  # noqa: S102 - the tool with one change
    finally:
        sys.modules[live.__name__] = live
    functions = _functions(fresh)
    for name, function in _functions(live).items():
        if name in functions:
            function.__code__ = functions[name].__code__
            function.__defaults__, function.__kwdefaults__ = functions[name].__defaults__, functions[name].__kwdefaults__
    for name, value in vars(fresh).items():
        if name.startswith("__") or isinstance(value, types.FunctionType | type | types.ModuleType):
            continue
        known = getattr(live, name, None)
        if known is value:
            continue
        if isinstance(known, dict) and isinstance(value, dict):
            known.clear()
            known.update(value)
        else:
            setattr(live, name, value)


def _uses(code: types.CodeType, name: str) -> bool:
    return name in code.co_names or any(isinstance(part, types.CodeType) and _uses(part, name) for part in code.co_consts)


def _functions(module: types.ModuleType) -> dict[str, types.FunctionType]:
    found: dict[str, types.FunctionType] = {}
    for value in vars(module).values():
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
            found[value.__qualname__] = value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for member in vars(value).values():
                function = getattr(member, "__func__", getattr(member, "fget", member))
                if isinstance(function, types.FunctionType) and function.__module__ == module.__name__:
                    found[function.__qualname__] = function
    return found


def _lines_of_functions(module: types.ModuleType) -> set[int]:
    """Lines that run only when a function is called."""
    found: set[int] = set()
    waiting = [function.__code__ for function in _functions(module).values()]
    while waiting:
        code = waiting.pop()
        found |= {line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno}
        waiting += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return found


def main() -> None:
    """Try the mutants; pytest's own words go nowhere, the answer to the real standard output."""
    request = json.load(sys.stdin)
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    most, others = request["most"], request.get("others", request["most"])
    trial = Trial(request["module"], str(Path(request["path"]).resolve()), most, others, request["seed"], answer)
    importlib.import_module(request["module"])
    pytest.main([*_OPTIONS, *request.get("options", ()), *request["tests"]], plugins=[trial])
    with os.fdopen(answer, "w") as out:
        json.dump({"token": request.get("token"), **trial.answer}, out)


if __name__ == "__main__":
    main()
