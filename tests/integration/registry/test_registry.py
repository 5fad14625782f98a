"""From a candidate that passed to versions that are chosen, loaded, rolled back, and that refuse to load once altered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlmodel import col, select

from app.connectors.scripted import scripted
from app.core import faults, feed
from app.core.actor import Actor
from app.core.db import Database
from app.core.errors import ToolmintError
from app.core.signing import Keyring
from app.observability.models import AuditEvent
from app.registry.catalog import Catalog, callable_tools
from app.registry.channels import choose, roll_back
from app.registry.models import Channel
from app.registry.publishing import publish
from app.registry.reading import list_tools, read_tool, read_version
from tests.support.published import AUTHOR, CALLER, OPERATOR, counter_spec, pass_candidate, release
from tests.support.worlds import PURE, SENDER, sender_spec

FILES = {"spec.json", "tool.py", "test_tool.py", "contract.py", "manifest.json"}


@pytest.fixture
def catalog(database: Database, tmp_path: Path) -> Catalog:
    return Catalog(database, tmp_path / "tools", scripted().catalog, Keyring(tmp_path))


@pytest.fixture
def shelf_of(tmp_path: Path) -> Callable[[int], Path]:
    return lambda version: tmp_path / "tools" / "count_notes" / str(version)


def code_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(ToolmintError) as caught:
        attempt()
    return caught.value.code


def events(database: Database, action: str) -> list[tuple[str, str, str]]:
    with database.reading() as session:
        rows = session.exec(select(AuditEvent).where(AuditEvent.action == action).order_by(col(AuditEvent.id))).all()
    return [(row.actor, row.target, row.outcome) for row in rows]


def test_publishing_makes_the_next_version_writes_it_read_only_and_tells(catalog: Catalog, shelf_of: Callable[[int], Path]) -> None:
    first = release(catalog)
    second = release(catalog, source=PURE + "\n# another\n")
    assert (first["tool"], first["version"], second["version"], second["channel"]) == ("count_notes", 1, 2, "stable")
    assert first["digest"] != second["digest"]
    for version in (1, 2):
        folder = shelf_of(version)
        assert {path.name for path in folder.iterdir()} == FILES
        assert not folder.stat().st_mode & 0o222 and not any(path.stat().st_mode & 0o222 for path in folder.iterdir())
    manifest = json.loads((shelf_of(1) / "manifest.json").read_text())
    assert set(manifest["files"]) == FILES - {"manifest.json"} and manifest["python"].startswith("3.") and len(manifest["toolkit"]) == 64
    signals = [line for line in feed.since(catalog.database, 0) if line.topic == "tools.changed"]
    assert [(line.subject, line.data["version"]) for line in signals] == [("count_notes", 1), ("count_notes", 2)]
    assert [event[1:] for event in events(catalog.database, "version.published")] == [("count_notes/1", "done"), ("count_notes/2", "done")]


def test_a_process_that_dies_right_after_writing_the_files_has_published(catalog: Catalog, shelf_of: Callable[[int], Path]) -> None:
    candidate = pass_candidate(catalog.database, counter_spec())
    faults.arm("publish.files.after=raise")
    try:
        with pytest.raises(faults.FaultInjected):
            publish(OPERATOR, catalog, candidate)
    finally:
        faults.arm("")
    assert {path.name for path in shelf_of(1).iterdir()} == FILES
    assert catalog.load("default", "count_notes", 1).version == 1
    assert code_of(lambda: publish(OPERATOR, catalog, candidate)) == "already_published"
    assert release(catalog, source=PURE + "\n# another\n")["version"] == 2


def test_a_tool_with_effects_needs_another_actors_approval(catalog: Catalog) -> None:
    waiting = pass_candidate(catalog.database, sender_spec(), SENDER, approve=False)
    assert code_of(lambda: publish(OPERATOR, catalog, waiting)) == "approval_required"
    assert events(catalog.database, "version.published") == [(OPERATOR.id, waiting, "refused")]
    done = pass_candidate(catalog.database, sender_spec(), SENDER + "\n# second\n")
    assert publish(OPERATOR, catalog, done)["version"] == 1
    assert code_of(lambda: publish(OPERATOR, catalog, done)) == "already_published"


def test_what_cannot_be_published_is_named(catalog: Catalog) -> None:
    candidate = pass_candidate(catalog.database, counter_spec())
    assert code_of(lambda: publish(CALLER, catalog, candidate)) == "permission_denied"
    assert code_of(lambda: publish(OPERATOR, catalog, "cand_none")) == "candidate_not_found"
    assert code_of(lambda: publish(OPERATOR, catalog, candidate, "canary")) == "channel_invalid"
    assert code_of(lambda: publish(OPERATOR, catalog, candidate, tool="other")) == "candidate_of_other_tool"
    stranger = Actor("key_stranger", "stranger", "elsewhere", frozenset({"*"}))
    assert code_of(lambda: publish(stranger, catalog, candidate)) == "candidate_not_found"
    assert list_tools(OPERATOR, catalog)["items"] == []


def test_a_loaded_version_stays_in_memory_until_its_folder_moves(catalog: Catalog) -> None:
    release(catalog)
    program = catalog.load("default", "count_notes", 1)
    assert catalog.load("default", "count_notes", 1) is program and program.spec.name == "count_notes"
    assert set(program.files) == {"tool.py", "contract.py", "spec.json"}
    assert code_of(lambda: catalog.load("default", "count_notes", 2)) == "version_not_found"
    assert code_of(lambda: catalog.load("elsewhere", "count_notes", 1)) == "version_not_found"


@pytest.mark.parametrize("change", ["edit", "remove", "add", "manifest", "link", "file"])
def test_an_altered_artifact_refuses_to_load_and_is_audited_once(catalog: Catalog, shelf_of: Callable[[int], Path], change: str) -> None:
    release(catalog)
    catalog.load.look_again_ms = 0
    catalog.load("default", "count_notes", 1)
    folder = shelf_of(1)
    folder.chmod(0o755)
    tool = folder / "tool.py"
    match change:
        case "edit":
            tool.chmod(0o644)
            tool.write_text(tool.read_text().replace("len", "-len"))
        case "remove":
            tool.unlink()
        case "add":
            (folder / "extra.py").write_text("x = 1\n")
        case "link":
            tool.rename(folder.parent / "elsewhere.py")
            tool.symlink_to(folder.parent / "elsewhere.py")
        case "file":
            folder.rename(folder.parent / "moved")
            folder.write_text("a file where a folder was")
        case _:
            (folder / "manifest.json").chmod(0o644)
            (folder / "manifest.json").write_text("{}")
    for _ in range(3):
        assert code_of(lambda: catalog.load("default", "count_notes", 1)) == "artifact_altered"
    assert events(catalog.database, "artifact.loaded") == [("system", "count_notes/1", "refused")]
    folder.unlink() if folder.is_file() else shutil.rmtree(folder)
    assert catalog.load("default", "count_notes", 1).files["tool.py"] == PURE


def test_a_second_machine_writes_the_folder_from_the_database(catalog: Catalog, tmp_path: Path) -> None:
    release(catalog)
    there = Catalog(catalog.database, tmp_path / "second", scripted().catalog, catalog.keys)
    assert there.load("default", "count_notes", 1).digest == catalog.load("default", "count_notes", 1).digest
    assert {path.name for path in (tmp_path / "second" / "count_notes" / "1").iterdir()} == FILES


def test_rolling_back_goes_to_the_version_before_and_twice_goes_back_twice(catalog: Catalog) -> None:
    for mark in "abc":
        release(catalog, source=f"{PURE}\n# {mark}\n")
    assert roll_back(OPERATOR, catalog, "count_notes", "wrong numbers") == {
        "tool": "count_notes",
        "channel": "stable",
        "version": 2,
        "before": 3,
        "reason": "wrong numbers",
    }
    assert roll_back(OPERATOR, catalog, "count_notes", "still wrong")["version"] == 1
    assert code_of(lambda: roll_back(OPERATOR, catalog, "count_notes", "again")) == "nothing_to_roll_back"
    assert roll_back(OPERATOR, catalog, "count_notes", "mended elsewhere", version=3)["version"] == 3
    assert code_of(lambda: roll_back(OPERATOR, catalog, "count_notes", "no such", version=9)) == "version_not_found"
    assert code_of(lambda: roll_back(OPERATOR, catalog, "nothing", "no such")) == "tool_not_found"
    assert code_of(lambda: roll_back(OPERATOR, catalog, "count_notes", " ")) == "reason_invalid"
    outcomes = [event[2] for event in events(catalog.database, "tool.rolled_back")]
    assert outcomes == ["done", "done", "refused", "done", "refused"]
    moves = read_tool(OPERATOR, catalog, "count_notes")["moves"]
    assert [(move["before"], move["after"], move["verb"]) for move in moves[:3]] == [
        (1, 3, "roll_back"),
        (2, 1, "roll_back"),
        (3, 2, "roll_back"),
    ]
    assert release(catalog, source=f"{PURE}\n# d\n")["version"] == 4
    assert roll_back(OPERATOR, catalog, "count_notes", "back")["version"] == 3


def test_channels_share_calls_by_weight_and_stick_to_the_run_key_or_the_actor(catalog: Catalog) -> None:
    release(catalog)
    release(catalog, source=PURE + "\n# two\n")
    with catalog.database.writing() as session:
        stable = session.get(Channel, ("default", "count_notes", "stable"))
        assert stable is not None
        stable.version, stable.weight = 1, 80
        session.add(Channel(tenant="default", tool="count_notes", name="canary", version=2, weight=20, updated_at=0))
    catalog.forget("default")
    entry = catalog.entries("default")["count_notes"]
    chosen = [choose(entry, CALLER, f"run-{number}") for number in range(1000)]
    assert 120 < sum(choice.version == 2 for choice in chosen) < 280
    assert {(choice.channel, choice.version) for choice in chosen} == {("stable", 1), ("canary", 2)}
    assert chosen == [choose(entry, AUTHOR, f"run-{number}") for number in range(1000)]
    assert chosen[0].reason == "by weight, sticky by run key"
    by_actor = {choose(entry, CALLER, None) for _ in range(50)}
    assert len(by_actor) == 1 and by_actor.pop().reason == "by weight, sticky by actor"
    pinned = choose(entry, CALLER, None, version=2)
    assert (pinned.version, pinned.channel, pinned.reason) == (2, None, "pinned by the caller")


def test_the_catalog_shows_each_actor_what_it_may_know_of(catalog: Catalog) -> None:
    release(catalog, counter_spec("zebra_notes"))
    release(catalog, counter_spec("alpha_notes", _permissions=["notes:count"]))
    reader = Actor("key_reader", "reader", "default", CALLER.permissions | {"notes:count"})
    entries = catalog.entries("default")
    assert [entry.name for entry in callable_tools(reader, entries)] == ["alpha_notes", "zebra_notes"]
    assert [tool["name"] for tool in list_tools(CALLER, catalog)["items"]] == ["zebra_notes"]
    assert [tool["name"] for tool in list_tools(OPERATOR, catalog)["items"]] == ["alpha_notes", "zebra_notes"]
    assert code_of(lambda: read_tool(CALLER, catalog, "alpha_notes")) == "tool_not_found"
    first = list_tools(reader, catalog, limit=1)
    second = list_tools(reader, catalog, limit=1, cursor=first["next_cursor"])
    assert [tool["name"] for tool in first["items"] + second["items"]] == ["alpha_notes", "zebra_notes"] and second["next_cursor"] is None
    assert [tool["name"] for tool in list_tools(reader, catalog, query="ALPHA sends")["items"]] == ["alpha_notes"]
    tool = list_tools(CALLER, catalog)["items"][0]
    assert tool["channels"] == {"stable": {"version": 1, "weight": 100}}
    assert tool["annotations"] == {
        "title": "Send notes",
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    }


def test_a_version_shows_its_files_scores_and_the_digest_of_its_evidence(catalog: Catalog) -> None:
    release(catalog)
    version = read_version(CALLER, catalog, "count_notes", 1)
    assert version["channels"] == ["stable"] and version["scores"][0]["dimension"] == "safety" and version["manifest"]["current"]
    assert version["files"]["tool.py"] == PURE and len(version["evidence_digest"]) == 64 and version["author"] == AUTHOR.id
    assert catalog.load.evidence("default", "count_notes", 1).report == version["evidence_digest"]
    assert code_of(lambda: read_version(CALLER, catalog, "count_notes", 2)) == "version_not_found"
