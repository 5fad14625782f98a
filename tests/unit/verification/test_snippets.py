"""Parts of tools as authors write them: the honest ones pass, the dangerous ones are refused by name, with their line and what to write.

The parts stand in `snippets/`: a heading with the name (and the rule), the module's top level, after `--- run` the body of `run`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.verification.inside.allowlist import examine
from tests.support.snippets import parts

HEAD = "from contract import Args, Result\nfrom toolkit import Context, ToolError\n"
RUN = "def run(args: Args, ctx: Context) -> Result:\n"


def module(top: str, body: str = "") -> str:
    """A tool with these parts; the top level begins in line 3."""
    return HEAD + f"{top}\n" + RUN + textwrap.indent(body.rstrip("\n"), "    ") + "\n    return {}\n"


def tools(name: str) -> Iterator[tuple[list[str], str, str]]:
    """Heading, top level and body of each part of a file."""
    for heading, code in parts(Path(__file__).with_name("snippets") / name):
        top, _, body = code.partition("--- run\n")
        yield heading, top.strip("\n"), body


HONEST = [(name, top, body) for (name,), top, body in tools("honest.txt")]
DANGEROUS = [(name, rule, top, body) for (name, rule), top, body in tools("dangerous.txt")]
UNREADABLE = [
    ("a name in letters of another width", "dynamic_access", "", "\uff45val('1')"),
    ("such a name in an f-string", "dynamic_access", "", "x = f\"{\uff45val('1')}\""),
    ("such an attribute", "escape", "", "x = ctx.__\uff43lass__"),
    ("such an attribute in a pattern", "escape", "", "match run:\n    case object(__\uff47lobals__=g):\n        x = g"),
    ("letters that look alike", "look_alike", "pay\u0440al = 1", ""),
    ("letters of another script", "look_alike", "\u03b1 = 1", ""),
    ("such letters in an f-string", "look_alike", "", 'x = f"{\u0430rgs}"'),
    ("such letters as a parameter", "look_alike", "def f(*, \u0430: int) -> int:\n    return 1", ""),
    ("text that runs backwards", "invisible_character", "X = 'admin\u202e'", ""),
    ("a line that runs backwards", "invisible_character", "# \u2067 return\u2066", ""),
    ("invisible characters", "invisible_character", "X = 'a\u200bb'", ""),
    ("a letter that shows nothing", "invisible_character", "X = '\u3164'", ""),
    ("a blank that is no space", "invisible_character", "X = '\u2800'", ""),
    ("letters that are hidden in an emoji", "invisible_character", "X = '\U0001f642\U000e0141'", ""),
    ("a mark that joins", "invisible_character", "# a\u034fb", ""),
    ("a control character among letters", "invisible_character", "X = 'é\x1b[2J'", ""),
    ("a zero byte", "syntax", "X = 'a\0b'", ""),
    ("a form feed", "invisible_character", "X = 1\f", ""),
    ("half a character", "syntax", "X = '\ud800'", ""),
    ("a long number", "literal_bounds", f"X = {'9' * 60}", ""),
    ("a long text", "literal_bounds", f"X = '{'a' * 20_000}'", ""),
    ("many elements", "literal_bounds", f"X = [{'1,' * 3000}]", ""),
    ("a power of a power", "literal_bounds", "X = 9**9**9", ""),
    ("a text many times", "literal_bounds", "X = 'a' * 10**9", ""),
    ("nesting", "too_deep", "x = " + "-" * 80 + "1", ""),
    ("nesting that ends the parser", "syntax", "x = " + "(" * 500 + ")" * 500, ""),
    ("blocks in blocks", "syntax", "".join(" " * n + "if 1:\n" for n in range(120)) + " " * 120 + "x = 1", ""),
    ("a sum that ends the compiler", "syntax", "x = " + " + ".join(["1"] * 9000), ""),
    ("calls upon calls", "too_deep", "x = " + "f(" * 70 + ")" * 70, ""),
    ("f-strings in f-strings", "syntax", "x = " + "f'{" * 3 + "}'" * 3, ""),
    ("a flood of names", "too_large", "x = 1\n" * 8000, ""),
]


@pytest.mark.parametrize(("name", "top", "body"), HONEST, ids=[part[0] for part in HONEST])
def test_what_an_honest_author_writes_passes(name: str, top: str, body: str) -> None:
    assert examine(module(top, body), "tool.py")[0] == []


@pytest.mark.parametrize(("name", "rule", "top", "body"), [*DANGEROUS, *UNREADABLE], ids=[part[0] for part in [*DANGEROUS, *UNREADABLE]])
def test_what_is_dangerous_is_refused_by_its_rule_and_line_with_what_to_do(name: str, rule: str, top: str, body: str) -> None:
    source = module(top, body)
    rows = [row for row in examine(source, "tool.py")[0] if row["rule"] == rule]
    assert rows, examine(source, "tool.py")[0]
    for row in rows:
        assert 1 <= int(str(row["line"])) <= source.count("\n") + 1
        assert str(row["message"]).endswith((".", "!")) and str(row["fix"]).endswith(".")
    if rule not in ("syntax", "too_deep", "too_large"):
        assert any(int(str(row["line"])) >= 3 for row in rows), rows


def test_there_are_enough_of_both() -> None:
    assert len(HONEST) >= 40 and len({name for name, *_ in HONEST}) == len(HONEST)
    assert len(DANGEROUS) + len(UNREADABLE) >= 100
