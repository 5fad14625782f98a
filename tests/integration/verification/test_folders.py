"""`toolmint verify DIR` without a server, and the bundled tools, which must pass like any other."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.__main__ import main
from app.core.errors import Invalid
from app.core.settings import Settings
from app.verification.local import PUBLISHABLE, REFUSED, exit_status, verify_folder
from tests.support.specimens import SPEC, TESTS, TOOL, changed

BUNDLED = sorted(path.parent for path in (Path(__file__).parents[3] / "generated_tools").glob("*/*/spec.json"))


def verified(folder: Path, home: Path) -> dict[str, Any]:
    return asyncio.run(verify_folder(folder, Settings(home=home)))


def write(folder: Path, tool: str = TOOL, spec: str | None = None) -> Path:
    (folder / "spec.json").write_text(json.dumps(SPEC) if spec is None else spec)
    (folder / "tool.py").write_text(tool)
    (folder / "test_tool.py").write_text(TESTS)
    return folder


@pytest.mark.parametrize("folder", BUNDLED, ids=lambda path: path.name)
def test_a_bundled_tool_is_publishable(folder: Path, tmp_path: Path) -> None:
    report = verified(folder, tmp_path)
    assert exit_status(report) == PUBLISHABLE, [gate["findings"] for gate in report["gates"]]
    assert not [finding for gate in report["gates"] for finding in gate["findings"]]


def test_there_are_bundled_tools_to_look_at() -> None:
    assert len(BUNDLED) >= 2


def test_a_folder_with_a_defect_is_refused_with_a_full_report(tmp_path: Path) -> None:
    tool = changed(TOOL, '"to": to,', '"to": "z" + to,')
    (tmp_path / "tool").mkdir()
    report = verified(write(tmp_path / "tool", tool), tmp_path)
    assert exit_status(report) == REFUSED
    found = {gate["gate"]: gate["status"] for gate in report["gates"]}
    assert found["examples"] == "failed" and found["tests"] == "failed" and found["policy"] == "passed"


@pytest.mark.parametrize(
    ("spec", "words"),
    [("{", "line 1 column 2"), ("[]", "object"), ('{"a": 1, "a": 2}', "the name 'a' twice"), ('{"spec_version": "1"}', "field required")],
)
def test_a_folder_without_a_readable_spec_is_unusable(tmp_path: Path, spec: str, words: str) -> None:
    with pytest.raises(Invalid) as refusal:
        verified(write(tmp_path, spec=spec), tmp_path)
    assert refusal.value.code == "folder_unusable" and any(words in problem.message for problem in refusal.value.problems)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "test_tool.py").unlink()
    with pytest.raises(Invalid) as refusal:
        verified(tmp_path, tmp_path)
    assert [problem.path for problem in refusal.value.problems] == ["test_tool.py"]


def test_the_command_prints_each_gate_and_what_to_mend_and_ends_with_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOOLMINT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "tool"
    folder.mkdir()
    assert main(["verify", str(folder)]) == 2
    told = capsys.readouterr()
    assert "folder_unusable" in told.err and "spec.json" in told.err and not told.out

    write(folder, changed(TOOL, "from contract import", "import os\n\nfrom contract import"))
    assert main(["verify", str(folder)]) == REFUSED
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ok       spec ") for line in lines) and any(line.startswith("FAILED   imports ") for line in lines)
    assert any(line.strip().startswith("tool.py:5 ") and "`os`" in line for line in lines), lines
    assert "examples" in lines[-2] and lines[-2].startswith("not run ") and lines[-1] == "Refused."

    assert main(["verify", str(folder), "--json"]) == REFUSED
    assert json.loads(capsys.readouterr().out)["publishable"] is False
