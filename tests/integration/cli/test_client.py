"""Client commands against a running service: call a tool, publish a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.__main__ import main
from app.connectors.scripted import scripted
from app.registry.catalog import Catalog
from tests.support.processes import ROOT
from tests.support.published import COUNTER_ARGS, release
from tests.support.supervised import Supervised, service


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    with service(tmp_path_factory.mktemp("client") / "home") as running:
        database = running.database()
        release(Catalog(database, running.home / "published", scripted().catalog))
        database.close()
        yield running


@pytest.fixture(autouse=True)
def _beside_the_service(up: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell of somebody on the same machine: no URL and no key are named."""
    for name, value in up.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("TOOLMINT_URL", "TOOLMINT_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_a_call_prints_the_result_and_the_same_key_gives_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for _ in range(2):
        assert main(["call", "count_notes", json.dumps(COUNTER_ARGS), "--key", "once"]) == 0
        said.append(capsys.readouterr().out)
    assert json.loads(said[0]) == {"done": 1} and said[0] == said[1]


def test_arguments_that_do_not_fit_are_named_with_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "count_notes", '{"group": "g", "to": 7}']) == 2
    said = capsys.readouterr().err
    assert "(args_invalid)" in said and "$.to" in said


def test_a_dry_run_prints_its_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "count_notes", json.dumps(COUNTER_ARGS), "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_tool_that_is_not_there_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "nothing_here", "{}"]) == 2
    assert "(tool_not_found)" in capsys.readouterr().err


def test_a_folder_is_verified_and_waits_for_another_actor_if_it_has_effects(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", str(ROOT / "docs" / "example_tool")]) == 3
    said = capsys.readouterr().out
    assert "Verified. It has effects, so another actor than its author must approve it" in said


def test_a_folder_that_does_not_pass_is_refused_with_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(ROOT / "docs" / "example_tool", folder)
    (folder / "tool.py").write_text((folder / "tool.py").read_text() + "\nimport socket\n")
    assert main(["publish", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "FAILED" in said and "socket" in said


def test_a_folder_without_its_files_is_unusable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", str(tmp_path)]) == 2
    assert "(folder_incomplete)" in capsys.readouterr().err
