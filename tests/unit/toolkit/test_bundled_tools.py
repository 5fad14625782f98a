"""The bundled tools, laid out as inside the sandbox: their specs pass the lint, their own tests and all examples hold."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.connectors import record_kinds
from app.connectors.email_kind import email_kind
from app.spec.catalog import ConnectorCatalog
from app.spec.checking import check
from app.spec.contract import contract_text

ROOT = Path(__file__).resolve().parents[3]
TOOLS = sorted(path.parent for path in (ROOT / "generated_tools").glob("*/*/spec.json") if path.parts[-3] != "published")
CATALOG = ConnectorCatalog.of([email_kind(local=False), record_kinds.GET, record_kinds.QUERY, record_kinds.PUT, record_kinds.PUT_MANY])
EXAMPLES = """
import json, pathlib, pytest
from tool import run
from toolkit.testing import trial

SPEC = json.loads(pathlib.Path("spec.json").read_text())

@pytest.mark.parametrize("example", SPEC["examples"], ids=lambda example: example["name"])
def test_an_example_holds_as_it_stands(example):
    t = trial(run, example["args"], world=example.get("world"), now=example.get("now", "2026-03-01T09:00:00Z"))
    assert t.result == example.get("result")
    assert (t.error or {}).get("code") == (example.get("error") or {}).get("code")
    expected = example.get("effects", [])
    assert [(e["effect"], e["status"]) for e in t.effects] == [(e["id"], e.get("status", "done")) for e in expected]
    for got, wanted in zip(t.effects, expected):
        assert {name: got["item"].get(name) for name in wanted["item"]}.keys() == wanted["item"].keys()
        for name, value in wanted["item"].items():
            assert got["item"][name] == value
"""


def laid_out(tool: Path, folder: Path) -> dict[str, str]:
    """The tool's files with its generated contract in a flat folder; returns the environment to run them in."""
    for name in ("spec.json", "tool.py", "test_tool.py"):
        shutil.copyfile(tool / name, folder / name)
    spec = asyncio.run(check(json.loads((tool / "spec.json").read_text(encoding="utf-8")), CATALOG))
    assert spec.name == tool.name
    (folder / "contract.py").write_text(contract_text(spec, CATALOG), encoding="utf-8")
    (folder / "test_examples.py").write_text(EXAMPLES, encoding="utf-8")
    (folder / "toolkit").symlink_to(ROOT / "generated_tools" / "toolkit")
    return {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder), "MYPYPATH": str(folder)}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_bundled_tool_has_exactly_its_three_files(tool: Path) -> None:
    assert sorted(path.name for path in tool.iterdir() if path.name != "__pycache__") == ["spec.json", "test_tool.py", "tool.py"]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_bundled_tool_passes_its_own_tests_and_all_its_examples(tool: Path, tmp_path: Path) -> None:
    environment = laid_out(tool, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_tool.py", "test_examples.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_mypy_strict_accepts_a_bundled_tool_against_its_contract(tool: Path, tmp_path: Path) -> None:
    environment = laid_out(tool, tmp_path)
    strict = ["--strict", "--warn-unreachable", "--enable-error-code", "possibly-undefined", "--cache-dir=/dev/null"]
    command = [sys.executable, "-m", "mypy", *strict, "tool.py", "test_tool.py", "contract.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout


def test_a_tool_for_messages_and_one_for_records_come_along() -> None:
    assert [tool.name for tool in TOOLS] == ["repair_customer_records", "campaign_send_bulk"]
