"""Code on pages: lines with colours, and what changed between two texts. Pygments and difflib, on the server.

Only what Pygments made may stand unescaped on a page. Long texts and long lines are shown plain: they are written by models, and
a page must not wait for them.

It refuses to be: a judge of code. Nothing here runs or parses it as a program.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from markupsafe import Markup, escape
from pygments import highlight as pygmentize
from pygments.formatters import HtmlFormatter
from pygments.lexers import JsonLexer, PythonLexer

MOST_CHARACTERS = 130_000
MOST_LINE = 1000
MOST_COMPARED = 4000
MOST_PAIRS = 400_000
"""How many pairs of equal lines are looked at: each costs time, and a file of one line repeated has millions."""
CONTEXT = 4
_LEXERS = {"py": PythonLexer(stripnl=False, ensurenl=False), "json": JsonLexer(stripnl=False, ensurenl=False)}
_FORMATTER = HtmlFormatter(nowrap=True)


@lru_cache(maxsize=64)
def lines(text: str, path: str) -> tuple[Markup, ...]:
    """Each line of a file as markup; `path` decides the language. Files of an artifact never change, so answers are kept."""
    plain = _plain(text)
    lexer = _LEXERS.get(path.rpartition(".")[2])
    if lexer is None or len(text) > MOST_CHARACTERS or any(len(line) > MOST_LINE for line in plain):
        return tuple(escape(line) for line in plain)
    coloured = pygmentize(text.removesuffix("\n"), lexer, _FORMATTER).removesuffix("\n").split("\n")
    # Pygments closes its marks at line ends, so a line stands alone; were that to change, plain text is right and colour is not.
    return tuple(Markup(line) for line in coloured) if len(coloured) == len(plain) else tuple(escape(line) for line in plain)  # noqa: S704  # made by Pygments, which escapes


def _plain(text: str) -> list[str]:
    """Lines as editors count them: `splitlines` would also cut at form feeds and U+2028."""
    return text.removesuffix("\n").split("\n")


def laid_out(path: str, text: str) -> str:
    """A file as people read it: JSON with indentation."""
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False) if path.endswith(".json") and text else text


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a comparison; `kind` is `same`, `added`, `removed` or `folded` (`folded` counts the lines left out)."""

    kind: str
    before: int | None
    after: int | None
    text: Markup
    folded: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed in one file. `added` and `removed` count lines; `changes` is empty for equal texts."""

    path: str
    added: int
    removed: int
    changes: Sequence[Change]
    too_long: bool = False


@lru_cache(maxsize=64)
def compare(before: str, after: str, path: str) -> Comparison:
    """Compare two texts line by line; runs of equal lines are folded to a few around each change."""
    old, new = _plain(before), _plain(after)
    if old == new:
        return Comparison(path, 0, 0, ())
    if max(len(old), len(new)) > MOST_COMPARED or _pairs(old, new) > MOST_PAIRS:
        return Comparison(path, 0, 0, (), too_long=True)
    changes = list(_changes(old, new, lines(before, path), lines(after, path)))
    count = {kind: sum(change.kind == kind for change in changes) for kind in ("added", "removed")}
    return Comparison(path, count["added"], count["removed"], changes)


def _pairs(old: list[str], new: list[str]) -> int:
    counts = Counter(old)
    return sum(counts[line] for line in new)


def _changes(old: list[str], new: list[str], shown_old: Sequence[Markup], shown_new: Sequence[Markup]) -> Iterator[Change]:
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from _folded(i1, i2, j1, shown_new, first=i1 == 0, last=i2 == len(old) and j2 == len(new))
            continue
        yield from (Change("removed", i + 1, None, shown_old[i]) for i in range(i1, i2))
        yield from (Change("added", None, j + 1, shown_new[j]) for j in range(j1, j2))


def _folded(i1: int, i2: int, j1: int, shown: Sequence[Markup], *, first: bool, last: bool) -> Iterator[Change]:
    size = i2 - i1
    head, tail = (0 if first else CONTEXT), (0 if last else CONTEXT)
    left_out = size - head - tail
    for step in range(size):
        if left_out > 1 and head <= step < size - tail:
            if step == head:
                yield Change("folded", None, None, Markup(""), left_out)
            continue
        yield Change("same", i1 + step + 1, j1 + step + 1, shown[j1 + step])
