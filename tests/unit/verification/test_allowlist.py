"""The allow-list refuses what it should, by the right rule and line, and leaves ordinary tools alone."""

from __future__ import annotations

import textwrap
import time

import pytest

from app.verification.inside.allowlist import examine

GOOD = '''
"""Sends a note to each recipient."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from contract import Args, Result
from toolkit import Context, ToolError

ADDRESS = re.compile(r"^[^@\\s]+@[^@\\s]+$")
WORDS = ("a", "b")
CODES = {"bounced": "failed", "full": "retrying"}
LIMITS = MappingProxyType({"gold": Decimal("10.5")})
SAMPLE = 5
TOKEN_EXPIRED = "token_expired"
WEEK = timedelta(days=7)


class Unusable(ValueError):
    """An address that cannot be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Plan:
    to: str
    seen: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{type(self).__name__} to {self.to}"


def clean(raw: str) -> str:
    """Zürich, São Paulo and 東京 are fine in words."""
    if not ADDRESS.match(raw):
        raise Unusable("no_address")
    return raw.strip().lower()


def pages(ctx: Context) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = ctx.read("audience", cursor=cursor)
        found.extend(page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    left = 10
    while left > 0 and found:
        left -= 1
    while waiting := found[left:]:
        found = waiting[1:]
    queue = list(found)
    while queue:
        queue[0]["seen"] = queue.pop()
        queue += [{}][left:]
    while len(queue) < SAMPLE or not queue:
        queue.append({})
    while queue and queue[-1] is not None:
        queue.append(cursor)
    while len(queue) > 1:
        del queue[0]
    while queue:
        queue[:] = found[:0]
    return found


def run(args: Args, ctx: Context) -> Result:
    counts: Counter[str] = Counter()
    groups: dict[str, list[str]] = defaultdict(list)
    started = ctx.now()
    open = {"id": ctx.new_id(), "at": datetime(2026, 1, 1, tzinfo=UTC)}
    for id, outcome in enumerate(ctx.perform_each("send", [{"to": clean(r)} for r in args["recipients"]])):
        groups[outcome.status].append(str(id))
        counts[CODES.get(outcome.status, outcome.status)] += 1
        ctx.progress(id)
    try:
        json.dumps(open["id"])
    except ValueError:
        raise ToolError("unreadable", "The template is not readable.") from None
    ctx.log("finished", sent=counts["done"], seconds=(ctx.now() - started).total_seconds())
    return {"sent": counts["done"], "sample": sorted(groups)[:SAMPLE]}
'''

ENTRY = "from contract import Args, Result\nfrom toolkit import Context\n"
RUN = "def run(args: Args, ctx: Context) -> Result:\n"


def rules(source: str, file: str = "tool.py") -> list[tuple[str, int]]:
    rows, _ = examine(source, file)
    return [(str(row["rule"]), int(str(row["line"]))) for row in rows if row["severity"] == "error"]


def in_run(body: str) -> str:
    return ENTRY + RUN + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n    return {}\n"


def at_top(lines: str) -> str:
    return ENTRY + textwrap.dedent(lines).strip("\n") + "\n" + RUN + "    return {}\n"


def test_an_ordinary_tool_has_no_finding() -> None:
    assert examine(GOOD, "tool.py")[0] == []


def test_facts_name_every_effect_and_read_of_the_code() -> None:
    body = 'ctx.perform("send", {})\nctx.perform_each(NAME, [])\nctx.read_pages("audience")\nctx.perform(args["x"], {})'
    calls = examine('NAME = "send"\n' + in_run(body), "tool.py")[1]["calls"]
    assert [(call["method"], call["id"]) for call in calls] == [  # type: ignore[attr-defined]  # facts are JSON
        ("perform", "send"),
        ("perform_each", "send"),
        ("read_pages", "audience"),
        ("perform", None),
    ]


@pytest.mark.parametrize(
    ("top", "rule"),
    [
        ("import os", "import"),
        ("import os.path as p", "import"),
        ("from subprocess import run as go", "import"),
        ("import httpx", "import"),
        ("import time", "import"),
        ("import random", "import"),
        ("from io import open", "member"),
        ("import io\nX = io.open", "member"),
        ("import io as x\nX = x.FileIO", "member"),
        ("import types\nX = types.FunctionType", "member"),
        ("from types import new_class", "member"),
        ("from . import x", "import"),
        ("from json import *", "import"),
        ("import toolkit.guest", "import"),
        ("from functools import lru_cache", "module_state"),
        ("from typing import TYPE_CHECKING", "checked_is_run"),
        ("from operator import attrgetter", "dynamic_access"),
        ("from uuid import uuid4", "randomness"),
        ("CACHE = {}", "module_state"),
        ("SEEN: set[str] = set()", "module_state"),
        ("from collections import defaultdict\nD = defaultdict(list)", "module_state"),
        ("import itertools\nIDS = itertools.count()", "module_state"),
        ("LINES = (x for x in 'ab')", "module_state"),
        ("class Box:\n    items = []", "module_state"),
        ("def f(x=[]):\n    return x", "module_state"),
        ("class M(metaclass=type):\n    pass", "metaclass"),
        ("class M:\n    def __getattr__(self, n):\n        return n", "special_method"),
        ("print('hello')", "work_at_import"),
        ("if True:\n    X = 1", "work_at_import"),
        ("for i in (1, 2):\n    X = i", "work_at_import"),
        ("try:\n    import json\nexcept ImportError:\n    X = 1", "work_at_import"),
        ("PASSWORD = 'hunter2hunter2'", "secret_literal"),
        ("KEY = 'sk-ant-REDACTED'", "secret_literal"),
        ("URL = 'postgresql://app:pa55word@db/x'", "secret_literal"),
        ("async def f() -> None:\n    pass", "synchronous"),
        ("X = 1  # type: ignore", "check_switched_off"),
        ("X = 1  # noqa: S105", "check_switched_off"),
        ("# mypy: ignore-errors", "check_switched_off"),
        ("pay\u0440al = 1", "look_alike"),
        ("X = 'admin\u202e'", "invisible_character"),
        ("X = 'a\u200bb'", "invisible_character"),
        (f"X = {'9' * 60}", "literal_bounds"),
        (f"X = '{'a' * 20_000}'", "literal_bounds"),
        (f"X = [{'1,' * 3000}]", "literal_bounds"),
        ("from datetime import datetime as d\nclock = d\nNOW = clock.now", "clock"),
    ],
)
def test_a_defect_at_the_top_level_is_refused_by_its_rule(top: str, rule: str) -> None:
    assert rule in [name for name, _ in rules(at_top(top))]


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("eval('1')", "dynamic_access"),
        ("getattr(ctx, 'perform')", "dynamic_access"),
        ("().__class__.__bases__", "escape"),
        ("run.__globals__", "escape"),
        ("'{0.__class__}'.format(ctx)", "escape"),
        ("ctx._exchange.send({})", "escape"),
        ("__builtins__", "escape"),
        ("open('/etc/passwd')", "builtin"),
        ("print(args)", "builtin"),
        ("id(args)", "builtin"),
        ("from datetime import datetime\nx = datetime.now()", "clock"),
        ("import datetime as dt\nx = dt.datetime.utcnow()", "clock"),
        ("import datetime\nx = datetime.date.today()", "clock"),
        ("import uuid\nx = uuid.uuid4()", "randomness"),
        ("global COUNT\nCOUNT = 1", "module_state"),
        ("run.calls = 1", "module_state"),
        ("Result['x'] = 1" if False else "assert args", "assert"),
        ("send = ctx.perform\nsend('x', {})", "indirect_effect"),
        ("x = list(map(ctx.perform_many, [], []))", "indirect_effect"),
        ("while True:\n    ctx.progress(1)", "unbounded_loop"),
        ("while args:\n    pass", "unbounded_loop"),
        ("held = [1]\nwhile held:\n    held.append(2)", "unbounded_loop"),
        ("held = [1]\nwhile len(held) > 0 and bool(args):\n    held += [2]", "unbounded_loop"),
        ("held = {0: 1}\nwhile held:\n    held[len(held)] = 2", "unbounded_loop"),
        ("n = 3\nwhile n > 0:\n    m = n", "unbounded_loop"),
        ("while True:\n    for x in args:\n        break", "unbounded_loop"),
        ("import itertools\nfor i in itertools.count():\n    x = i", "unbounded_loop"),
        ("try:\n    pass\nexcept:\n    pass", "swallows_cancellation"),
        ("try:\n    pass\nexcept BaseException as e:\n    x = e", "swallows_cancellation"),
    ],
)
def test_a_defect_inside_a_function_is_refused_by_its_rule(body: str, rule: str) -> None:
    assert rule in [name for name, _ in rules(in_run(body))]


def test_reads_through_a_context_of_another_name_are_facts_too() -> None:
    source = ENTRY + "def help_with(c: Context) -> None:\n    c.read('other')\n" + RUN + "    return {}\n"
    assert examine(source, "tool.py")[1]["calls"] == [{"method": "read", "id": "other", "line": 4}]


def test_what_is_done_on_something_else_than_the_context_is_no_fact() -> None:
    source = ENTRY + "class Shown:\n    def perform(self, name: str) -> None: ...\n" + RUN + "    Shown().perform('a')\n    return {}\n"
    assert examine(source, "tool.py")[1]["calls"] == []


def test_comprehensions_in_comprehensions_take_no_longer_than_their_length() -> None:
    began = time.process_time()
    assert rules(in_run("x = " + "[x for x in " * 18 + "[1]" + "]" * 18)) == []
    assert time.process_time() - began < 0.5


def test_a_constant_table_that_a_function_changes_is_state() -> None:
    source = at_top("SEEN = {'a': 1}\ndef note(x: str) -> None:\n    SEEN[x] = 1\n    SEEN.update(b=2)\n    del SEEN['a']")
    assert rules(source) == [("module_state", 5), ("module_state", 6), ("module_state", 7)]


def test_a_local_name_that_hides_a_constant_is_no_state() -> None:
    assert rules(at_top("SEEN = {'a': 1}\ndef note() -> None:\n    SEEN = {'b': 1}\n    SEEN['c'] = 1")) == []


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def run(args): return {}",
        "def run(args, ctx, more=1): return {}",
        "def run(args, *, ctx): return {}",
        "def run(args, ctx):\n    yield 1",
        "import json\n@json.dumps\ndef run(args, ctx): return {}",
        "def run(args, ctx): return {}\ndef run(args, ctx): return {}",
        "run = lambda args, ctx: {}",
    ],
)
def test_the_entry_point_must_be_run_of_args_and_ctx(source: str) -> None:
    assert "run_signature" in [name for name, _ in rules(source)]


def test_what_python_cannot_read_is_one_finding_with_its_line() -> None:
    assert rules("x = 1\ndef run(:\n") == [("syntax", 2)]
    assert rules("x = '\0'")[-1][0] == "syntax"
    assert ("syntax", 1) in rules("def f(a, a): pass")
    assert rules("(" * 500 + ")" * 500)[0][0] == "syntax"


@pytest.mark.parametrize("source", ["x = " + "-" * 5000 + "1", "x = " + " + ".join(["1"] * 9000), "x = " + "not " * 5000 + "1"])
def test_what_is_too_deep_for_python_is_told_in_words(source: str) -> None:
    (row,) = [row for row in examine(source, "tool.py")[0] if row["rule"] == "syntax"]
    assert "nests too deep or is too long" in str(row["message"]) and str(row["fix"]).startswith("Name parts of it")


def test_nesting_and_size_are_bounded() -> None:
    deep = "x = " + "-" * 80 + "1\n"
    assert "too_deep" in [name for name, _ in rules(deep + RUN + "    return {}\n")]
    assert "too_large" in [name for name, _ in rules("# " + "x" * 70_000 + "\n")]


def test_every_finding_says_how_to_mend_it() -> None:
    rows, _ = examine(at_top("import os\nCACHE = {}\nX = eval('1')"), "tool.py")
    assert rows and all(str(row["fix"]) and str(row["message"]).endswith((".", "!")) for row in rows)


def test_a_test_may_assert_use_pytest_and_seeded_randomness() -> None:
    source = """
        import random
        import pytest
        from tool import run
        from toolkit.testing import trial

        CASES = []

        @pytest.mark.parametrize("n", [1, 2])
        def test_sends(n: int) -> None:
            t = trial(run, {"n": random.Random(n).random()})
            print(t.result)
            assert t.result == {}
    """
    assert rules(textwrap.dedent(source), "test_tool.py") == []


def test_a_test_may_not_reach_the_system() -> None:
    assert rules("import os\nimport socket\nx = eval('1')\n", "test_tool.py") == [("import", 1), ("import", 2), ("dynamic_access", 3)]


@pytest.mark.parametrize("line", ["import os", "import pathlib", "import attrs", "from datetime import date\nX = date.today()"])
def test_a_test_is_told_what_a_test_does_instead(line: str) -> None:
    (told,) = examine(f"{line}\n", "test_tool.py")[0]
    assert "ctx" not in str(told["fix"]) and ("pytest" in str(told["fix"])) is ("attrs" in line)


def test_a_test_cannot_import_by_way_of_pytest() -> None:
    assert rules("import pytest\n\nos = pytest.importorskip('os')\n", "test_tool.py") == [("import", 3)]


def test_the_hosts_that_items_name_are_told_and_links_in_texts_are_not() -> None:
    source = """
        API = "https://api.example.com/v1"
        BY_COUNTRY = (("NL", "http://nl.example.com:8080/x"), ("DE", "/orders"))


        def item(country: str, path: str) -> dict[str, object]:
            one = {"method": "POST", "url": f"{API}/{path}", "json": {"link": "https://shop.example.com/"}}
            two = {"method": "POST", "url": "https://other.example.com" if country else dict(BY_COUNTRY)[country]}
            three = {"method": "POST", "url": f"https://api.{country}.example.com/orders"}
            return {"url": "https://picture.example.com", "items": [one, two, three]}
    """
    hosts = examine(textwrap.dedent(source), "tool.py")[1]["hosts"]
    assert hosts == [
        {"host": "api.example.com", "whole": True, "line": 7},
        {"host": "other.example.com", "whole": False, "line": 8},
        {"host": "nl.example.com:8080", "whole": True, "line": 8},
        {"host": "api.", "whole": False, "line": 9},
    ]
