"""Parts of tools and of suites that stand in text files: a heading after `===` with a name and what goes with it, then the code.

It refuses to be: a parser of code. What the parts mean is for the tests that read them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def parts(path: Path) -> Iterator[tuple[list[str], str]]:
    """The words of each heading, split at ` | `, and the text below it."""
    for part in path.read_text(encoding="utf-8").split("=== ")[1:]:
        heading, _, code = part.partition("\n")
        yield heading.split(" | "), code.strip("\n") + "\n"
