"""mypy, ruff and the formatter agree with the whole repository; warnings are errors."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.processes import ROOT


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.timeout(300)
def test_mypy_finds_nothing_in_strict_mode() -> None:
    done = _run("mypy", "--no-error-summary", "app", "jobs", "generated_tools", "tests", "alembic")
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing() -> None:
    done = _run("ruff", "check", "--quiet", ".")
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_is_formatted() -> None:
    done = _run("ruff", "format", "--check", "--quiet", ".")
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_would_notice_an_untyped_function(tmp_path: Path) -> None:
    (tmp_path / "loose.py").write_text("def f(x):\n    return x\n")
    done = _run("mypy", "--no-incremental", "--config-file", str(ROOT / "pyproject.toml"), str(tmp_path / "loose.py"))
    assert done.returncode == 1 and "untyped" in done.stdout


def test_warnings_are_errors_and_each_exception_names_its_source() -> None:
    filters = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["filterwarnings"]
    assert filters[0] == "error"
    for entry in filters[1:]:
        action, message, category, module = [*entry.split(":"), "", "", ""][:4]
        assert action == "ignore" and (message or module) and category, entry
