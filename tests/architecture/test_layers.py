"""Imports go one way only: the contracts of pyproject.toml hold, and they would notice if they did not."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from importlinter import configuration
from importlinter.application.use_cases import lint_imports

from tests.architecture.sources import ROOT

configuration.configure()
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_every_import_contract_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint_imports(cache_dir=None, no_logo=True), capsys.readouterr().out


def test_a_broken_contract_is_noticed(tmp_path: Path) -> None:
    config = tmp_path / "contracts.toml"
    config.write_text(
        '[tool.importlinter]\nroot_packages = ["app"]\n'
        '[[tool.importlinter.contracts]]\nname = "turned around"\ntype = "layers"\nlayers = ["app.core", "app.access"]\n'
    )
    assert not lint_imports(config_filename=str(config), cache_dir=None, no_logo=True)


def test_every_room_has_its_layer_and_the_list_is_exhaustive() -> None:
    lifecycle = next(contract for contract in CONTRACTS if contract["id"] == "lifecycle")
    assert lifecycle["exhaustive"] is True
    named = {name.strip(" ()") for layer in lifecycle["layers"] for name in layer.split("|")}
    rooms = {path.stem for path in (ROOT / "app").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__"}
    assert rooms <= named


def test_every_room_that_is_no_front_door_is_kept_from_transports() -> None:
    transports = next(contract for contract in CONTRACTS if contract["id"] == "rooms-know-no-transport")
    rooms = {f"app.{path.name}" for path in (ROOT / "app").iterdir() if (path / "__init__.py").exists()}
    assert rooms - {"app.api", "app.cli", "app.mcp_server", "app.web"} <= set(transports["source_modules"])
