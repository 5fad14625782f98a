"""The files of a candidate as a value: exactly `tool.py` and `test_tool.py`, plain UTF-8 text that reads as what it is.

Text that an editor and an interpreter would understand differently is refused: carriage returns, NUL, other line separators,
bidirectional overrides, a byte order mark, an encoding of its own.

It refuses to be: a judge of the code. Nothing is parsed here; gates do that inside the sandbox.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.errors import Invalid, Problem
from app.spec.canonical import digest

MOST_BYTES = {"tool.py": 60 * 1024, "test_tool.py": 120 * 1024}
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_COOKIE = re.compile(r"^[ \t]*#.*?coding[:=][ \t]*([-\w.]+)")
_MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its name in the artifact, its text, the SHA-256 of its UTF-8 bytes."""

    path: str
    content: str
    digest: str


def checked_files(files: Sequence[Mapping[str, Any]]) -> tuple[SourceFile, ...]:
    """The two files of a submission, in a fixed order. Raises Invalid `candidate_files_invalid` with a problem for each place."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for index, entry in enumerate(files):
        where = f"$.files[{index}]"
        if index > 16:
            problems.append(Problem("$.files", "has far more than two entries", "Send tool.py and test_tool.py only."))
            break
        if not isinstance(entry, Mapping) or set(entry) != {"path", "content"} or not all(isinstance(part, str) for part in entry.values()):
            problems.append(Problem(where, "is not an object of two texts, path and content", 'Send {"path": "tool.py", "content": "…"}.'))
            continue
        path, content = entry["path"], entry["content"]
        if path not in MOST_BYTES:
            problems.append(Problem(f"{where}.path", f"{path[:80]!r} is not accepted", "Name the files exactly tool.py and test_tool.py."))
        elif path in found:
            problems.append(Problem(f"{where}.path", f"{path} comes twice", "Send each file once."))
        else:
            found[path] = content
            problems += _problems_of(path, content, f"{where}.content")
    problems += [Problem("$.files", f"lacks {path}", f"Add {path}.") for path in MOST_BYTES if path not in found]
    if problems:
        raise Invalid(
            "candidate_files_invalid",
            f"The files cannot be accepted: {problems[0].path} {problems[0].message}.",
            fix="A candidate is exactly two files, tool.py and test_tool.py, in plain UTF-8.",
            problems=problems[:_MOST_PROBLEMS],
        )
    return tuple(source_file(path, found[path]) for path in MOST_BYTES)


def source_file(path: str, content: str) -> SourceFile:
    """The value of one file, with the digest of what it holds now."""
    return SourceFile(path, content, hashlib.sha256(content.encode()).hexdigest())


def candidate_digest(spec_digest: str, files: Sequence[SourceFile]) -> str:
    """The identity of code for a contract: SHA-256 over the spec's digest and each file's name and digest."""
    return digest({"spec": spec_digest, "files": {file.path: file.digest for file in files}})


def _problems_of(path: str, content: str, where: str) -> list[Problem]:
    try:
        size = len(content.encode())
    except UnicodeEncodeError:
        return [Problem(where, "holds half of a surrogate pair", "Send valid Unicode.")]
    problems = []
    if size > MOST_BYTES[path]:
        problems.append(Problem(where, f"has {size} bytes; {MOST_BYTES[path]} are allowed", "Shorten it; data belongs in collections."))
    if not content.strip():
        problems.append(Problem(where, "is empty", f"Write {path}."))
    odd = _ODD.search(content)
    if odd is not None:
        line = content.count("\n", 0, odd.start()) + 1
        problems.append(
            Problem(where, f"has the control character U+{ord(odd.group()):04X} in line {line}", "End lines with LF; escape others.")
        )
    for line_of_text in content.split("\n", 2)[:2]:
        cookie = _COOKIE.match(line_of_text)
        if cookie and cookie.group(1).lower().replace("_", "-") not in ("utf-8", "utf8"):
            problems.append(Problem(where, "declares an encoding of its own", "Leave the coding comment out; files are UTF-8."))
    return problems
