"""Client commands against a running service: call a tool, publish a folder."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.__main__ import main
from app.connectors.scripted import scripted
from app.core.signing import Keyring
from app.registry.catalog import Catalog
from tests.support.http_server import http_server
from tests.support.processes import ROOT
from tests.support.published import COUNTER_ARGS, release
from tests.support.supervised import Supervised, service


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    with service(tmp_path_factory.mktemp("client") / "home") as running:
        database = running.database()
        release(Catalog(database, running.home / "published", scripted().catalog, Keyring(running.home)))
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
    said = capsys.readouterr()
    assert json.loads(said.out) == [] and said.err.startswith("0 effects; dry run run_")


def test_a_run_is_replayed_and_the_status_says_what_came_of_it(up: Supervised, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "count_notes", '{"group": "replayed", "to": ["a@example.com"]}']) == 0
    database = up.database()
    with database.reading() as session:
        run = str(session.connection().exec_driver_sql("SELECT max(id) FROM run").scalar_one())
    capsys.readouterr()
    assert main(["replay", run]) == 0
    assert "The same: requests, keys and end." in capsys.readouterr().out
    assert main(["replay", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "same"
    with database.writing() as session:
        altered = f"UPDATE payload SET body = '{{\"done\":7}}' WHERE digest = (SELECT result FROM run WHERE id = '{run}')"
        session.connection().exec_driver_sql(altered)
    assert main(["replay", run]) == 1
    said = capsys.readouterr().out
    assert "IT DIFFERS at the end of the run" in said and 'recorded  result {"done":7}' in said and 'now       result {"done":1}' in said
    with database.writing() as session:
        session.connection().exec_driver_sql(f"UPDATE run SET kept = 'nothing' WHERE id = '{run}'")
    assert main(["replay", run]) == 2 and "(journal_pruned)" in capsys.readouterr().err
    assert main(["replay", "run_none"]) == 2 and "(run_not_found)" in capsys.readouterr().err
    database.close()


def test_tools_are_listed_by_their_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools"]) == 0
    assert [line.split("  ")[:2] for line in capsys.readouterr().out.splitlines() if line.startswith("count_notes")] == [
        ["count_notes", "version 1"]
    ]
    assert main(["tools", "count_notes", "--json"]) == 0
    (tool,) = json.loads(capsys.readouterr().out)
    assert tool["name"] == "count_notes" and "input_schema" in tool
    assert main(["tools", "no", "such&tool"]) == 0
    assert capsys.readouterr().out.startswith("No tool that you may know of has 'no such&tool' in its texts.")


def test_a_tool_that_is_not_there_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "nothing_here", "{}"]) == 2
    assert "(tool_not_found)" in capsys.readouterr().err
    assert main(["call", "count_notes/versions/1", "{}"]) == 2
    assert "(route_not_found)" in capsys.readouterr().err


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


def test_connections_are_named_listed_and_tested_and_a_secret_is_no_argument(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_server() as server:
        settings = {"base_url": server.url, "private_addresses": True, "plain_http": True, "test_path": "/status/200"}
        monkeypatch.setattr("sys.stdin", io.StringIO("Bearer s3cr3t\n"))  # what is typed
        assert main(["connections", "create", "shop_api", "http", json.dumps(settings), "--secret"]) == 0
        assert json.loads(capsys.readouterr().out)["secret"] == "sealed"
        assert main(["connections", "test", "shop_api"]) == 0
        assert "works after" in capsys.readouterr().out
        assert server.heard[0].headers["authorization"] == "Bearer s3cr3t"
    assert main(["connections", "test", "shop_api"]) == 1
    assert "FAILS" in capsys.readouterr().out
    assert main(["connections", "list"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("shop_api  http  secret sealed  FAILS") and "s3cr3t" not in said
    assert main(["connections", "create", "x", "http", "no json"]) == 2
    assert "(args_invalid)" in capsys.readouterr().err
