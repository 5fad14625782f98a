"""What tests said of this very tool and of its mutants before, where they say the same still.

A test is told from others by the text of its function; all else in the file is their context, and so is the head of a function that runs
something of the file when it is defined. In an unchanged context a test says of a mutant what it said before, after the same tests in the
same process: a mutant is `killed` again where its killer and all that ran before it are unchanged, and of one that `survived` only the
tests that did not run then are asked.

Facts are `{"context", "tests": [[name, digest]], "mutants": [[place, killed, [place of a test in "tests"]]]}`; `place` counts the mutants
of the tool, the tests of one stand in the order in which they ran. It refuses to be: a guess. What is not certain is tried again.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_OF_A_MARK = (ast.Call, ast.keyword, ast.Attribute, ast.Name, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.UnaryOp)
_OF_A_TYPE = (ast.Name, ast.Attribute, ast.Constant, ast.Subscript, ast.Tuple, ast.List, ast.BinOp)
_QUIET = frozenset({"pytest.mark.parametrize", "pytest.param"})
_BUILT_IN = frozenset(vars(builtins))


@dataclass(frozen=True)
class Texts:
    """A file of tests: the digest of each test that stands by itself, and of all the rest."""

    context: str
    digests: Mapping[str, str]

    @classmethod
    def of(cls, source: bytes) -> Texts | None:
        """None where it cannot be read, or nests too deep to be written down."""
        context, digests = hashlib.sha256(), dict[str, str]()
        try:
            tree = ast.parse(source)
            alone = dict(_alone(tree))
            for statement in tree.body:
                text = ast.dump(statement)
                if isinstance(statement, ast.FunctionDef) and statement.name in alone:
                    digests[statement.name] = hashlib.sha256(text.encode()).hexdigest()
                    statement.body = []
                    text = "" if alone[statement.name] else ast.dump(statement)
                context.update(text.encode() + b"\n" if text else b"")
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # all that a parser makes of hostile text
            return None
        return cls(context.hexdigest(), digests)

    def digest(self, test: str) -> str:
        """Of a test by pytest's name for it, with its file and its case; empty for one that is part of the context."""
        return self.digests.get(test.partition("::")[2].partition("[")[0], "")


@dataclass(frozen=True)
class Passes:
    """Tests that passed on this very tool, each in a process of its own, and how many milliseconds they took.

    As JSON `{"context", "passed": [[name, digest, ms]]}`.
    """

    took: Mapping[str, int]

    @classmethod
    def read(cls, former: Mapping[str, Any] | None, texts: Texts | None) -> Passes:
        """Those of the last time that are unchanged, in an unchanged context."""
        if former is None or texts is None or former["context"] != texts.context:
            return cls({})
        return cls({name: ms for name, digest, ms in former["passed"] if texts.digest(name) == digest})

    @staticmethod
    def told(texts: Texts | None, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any] | None:
        """To be read the next time: tests by pytest's name for them, with what became of them."""
        if texts is None:
            return None
        passed = [[name, texts.digest(name), row["ms"]] for name, row in rows if row["outcome"] == "passed"]
        return {"context": texts.context, "passed": passed}

    def passed(self, test: str) -> int | None:
        """How long it took when it passed; None where it has to be run."""
        return self.took.get(test)


@dataclass(frozen=True)
class Facts:
    """What is certain of mutants by their place among all of the tool: whether it was killed, and the tests that ran, in their order."""

    texts: Texts | None
    known: dict[int, tuple[bool, Sequence[str]]] = field(default_factory=dict)
    killers: dict[int, str] = field(default_factory=dict)
    """Tests that may well kill again: they are unchanged, and not all that ran before them is."""

    @classmethod
    def read(cls, former: Mapping[str, Any] | None, texts: Texts | None) -> Facts:
        """Of what was said the last time, all that holds with these tests."""
        facts = cls(texts)
        if former is None or texts is None or former["context"] != texts.context:
            return facts
        same = {place: name for place, (name, digest) in enumerate(former["tests"]) if texts.digest(name) == digest}
        for place, killed, tests in former["mutants"]:
            if not killed:
                facts.known[place] = False, [same[test] for test in tests if test in same]
            elif same.keys() >= set(tests):
                facts.known[place] = True, [same[test] for test in tests]
            elif tests[-1] in same:
                facts.killers[place] = same[tests[-1]]
        return facts

    def as_json(self) -> dict[str, Any] | None:
        """To be read the next time; None where nothing can be told from anything."""
        if self.texts is None:
            return None
        names = sorted({name for _, tests in self.known.values() for name in tests})
        places = {name: place for place, name in enumerate(names)}
        rows = [[place, killed, [places[name] for name in tests]] for place, (killed, tests) in sorted(self.known.items())]
        return {"context": self.texts.context, "tests": [[name, self.texts.digest(name)] for name in names], "mutants": rows}


def _alone(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Tests that nobody names, so that what they do is theirs alone; and whether defining them runs nothing of this file either."""
    nodes = list(ast.walk(tree))
    named = Counter(name for node in nodes for name in _names(node))
    imported = {(node.asname or node.name).partition(".")[0] for node in nodes if isinstance(node, ast.alias)}
    outer = (imported | _BUILT_IN) - _bound(nodes)
    for function in (statement for statement in tree.body if isinstance(statement, ast.FunctionDef)):
        once = named[function.name] == 1  # its own definition
        if once and function.name.startswith("test") and all(map(_is_of_cases, function.decorator_list)):
            yield function.name, _inert(function, outer)


def _is_of_cases(mark: ast.expr) -> bool:
    """Whether a decorator gives a test its cases; another could make something else of it, such as a fixture."""
    return isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.parametrize"


def _names(node: ast.AST) -> Iterator[str]:
    """What a node of the tree calls by name; texts count, since some of them may be names to somebody."""
    for name in ("id", "attr", "name", "asname", "arg", "rest", "module"):
        if isinstance(text := getattr(node, name, None), str):
            yield text
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    if isinstance(node, ast.Global | ast.Nonlocal):
        yield from node.names


def _bound(nodes: Sequence[ast.AST]) -> set[str]:
    """Names that the file gives a meaning of its own."""
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    return stored | {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _inert(function: ast.FunctionDef, outer: set[str]) -> bool:
    arguments = function.args
    if arguments.defaults or any(arguments.kw_defaults):
        return False
    types = [part.annotation for part in ast.walk(arguments) if isinstance(part, ast.arg) and part.annotation]
    types += [function.returns] if function.returns else []
    marks = [node for mark in function.decorator_list for node in ast.walk(mark)]
    calls = [ast.unparse(node.func) for node in marks if isinstance(node, ast.Call)]
    dotted = [ast.unparse(node) for node in marks if isinstance(node, ast.Attribute)]
    nodes = [node for each in types for node in ast.walk(each)]
    return (
        all(call in _QUIET for call in calls)
        and all(text in _QUIET | {"pytest.mark"} for text in dotted)
        and all(isinstance(node, (*_OF_A_MARK, ast.expr_context, ast.unaryop)) for node in marks)
        and all(isinstance(node, (*_OF_A_TYPE, ast.expr_context, ast.operator)) for node in nodes)
        and {node.id for node in (*marks, *nodes) if isinstance(node, ast.Name)} <= outer
    )
