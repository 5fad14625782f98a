"""The documents and the program agree: every command that a document shows exists."""

from __future__ import annotations

import argparse
import re
import shlex
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement

from app.cli.__main__ import parser
from app.connectors.vault import PREFIX as SECRETS
from app.core.settings import Settings
from tests.architecture.sources import ROOT, files, texts

DOCUMENTS = [path for path in files() if path.suffix == ".md" and path.parts[0] in {"README.md", "ARCHITECTURE.md", "docs"}]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def _shown(document: str, command: str) -> Iterator[str]:
    """Lines of code blocks, and inline code, that begin with `command` (assignments before it left out)."""
    blocks = re.findall(r"```\w*\n(.*?)```", document, re.S)
    for line in [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", document):
        words = line.strip().removeprefix("$ ").split("  #")[0].strip()
        words = re.sub(r"^([A-Z_]+=\S+\s+)+", "", words)
        if words.split(" ")[0] == command:
            yield words


def _verbs(parser_: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser_._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_every_command_in_a_document_exists(path: object) -> None:
    text = (ROOT / str(path)).read_text()
    for line in _shown(text, "make"):
        targets = [word for word in line.split()[1:] if "=" not in word and not word.startswith("-")]
        assert set(targets) <= _TARGETS, line
    for line in _shown(text, "toolmint"):
        at = parser()
        for word in shlex.split(line, comments=True)[1:]:
            if not (verbs := _verbs(at)) or word.startswith("-"):
                break
            assert word in verbs or word == "…", line
            at = verbs.get(word, at)


def test_every_setting_in_a_document_exists() -> None:
    known = {f"TOOLMINT_{name.upper()}" for name in Settings.model_fields} | {"TOOLMINT_URL", "TOOLMINT_KEY", "TOOLMINT_FAULTS"}
    named = {name for path in DOCUMENTS for name in re.findall(r"\bTOOLMINT_[A-Z_]+\b", (ROOT / path).read_text())}
    assert {name for name in named if not name.startswith(SECRETS)} <= known


def test_every_document_that_the_code_names_is_here() -> None:
    here = {path.name for path in files() if path.suffix == ".md"}
    named = {(path.as_posix(), name) for path, text in texts() for name in re.findall(r"\b[A-Z][A-Z_]+\.md\b", text)}
    assert {(path, name) for path, name in named if name not in here} == set()


def test_every_dependency_is_in_the_architecture_with_its_reason() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("## Dependencies")[2]
    declared = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    assert [name for name in (Requirement(text).name for text in declared) if name not in table] == []
