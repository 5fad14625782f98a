"""Vendored files are what their lists say they are."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTS = (ROOT / "app/web/static/vendor/VENDOR.md", ROOT / "tests/dashboard/vendor/VENDOR.md")
ROW = re.compile(r"^\| `([^`]+)` \| (\S+) \| (\S+) \| (\S+) \| ([0-9a-f]{64}) \|$", re.MULTILINE)


@pytest.mark.parametrize("listed", LISTS, ids=["product", "tests"])
def test_every_vendored_script_is_listed_with_the_digest_it_has(listed: Path) -> None:
    rows = {name: digest for name, _package, _version, _licence, digest in ROW.findall(listed.read_text(encoding="utf-8"))}
    found = {str(path.relative_to(listed.parent)): hashlib.sha256(path.read_bytes()).hexdigest() for path in listed.parent.rglob("*.js")}
    assert rows
    assert found == rows


def test_our_own_script_stays_short_and_knows_nothing_of_the_product() -> None:
    script = (ROOT / "app/web/static/app.js").read_text(encoding="utf-8")
    assert len(script.splitlines()) <= 100
    assert not re.search(r"\b(tool|candidate|ledger|effect|verdict|campaign|/runs|/keys)\b", script.replace("Toolmint", ""))


def test_no_template_holds_a_script_or_a_style_or_an_event_handler() -> None:
    for path in (ROOT / "templates").rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:|hx-vals=.js:", text), path
        assert len(text.splitlines()) < 120, path


def test_only_icons_are_marked_safe_in_templates() -> None:
    marked = {path.name for path in (ROOT / "templates").rglob("*.html") if "| safe" in path.read_text(encoding="utf-8")}
    assert marked == {"_icons.html"}
