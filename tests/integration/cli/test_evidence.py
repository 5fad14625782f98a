"""`toolmint verify-bundle` from a file alone, and the commands for the keys that sign."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.cli.__main__ import main
from app.connectors.scripted import scripted
from app.core import migration
from app.core.db import Database
from app.core.settings import Settings
from app.core.signing import KEY_FILE, TRUSTED_FILE, Keyring
from app.registry.catalog import Catalog
from app.registry.evidence import GENERATION, Bundle, member
from app.registry.publishing import publish
from app.registry.reading import read_bundle
from app.registry.vouching import refused_versions
from tests.support.backups import rewritten
from tests.support.published import OPERATOR, pass_candidate, release_sender
from tests.support.worlds import SENDER, sender_spec

HOSTILE = "on time \x1b[2J\x1b]0;owned\x07 \u202e"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a migrated database, in which a tool is published."""
    home = tmp_path_factory.mktemp("made") / "home"
    settings = Settings(home=home, tools_dir=home / "published")
    home.mkdir()
    with closing(Database(settings.database, durable=False)) as database:
        migration.migrate(database, home / "backups")
        release_sender(Catalog(database, settings.tools_dir, scripted().catalog, Keyring(home)))
        with database.writing() as session:
            session.connection().execute(sa.text("DELETE FROM owner"))  # whoever is said to have verified it is gone
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, which commands take for their home."""
    shutil.copytree(made, tmp_path / "home")
    for name in ("DATABASE_URL", "ADMIN_KEY", "URL", "KEY"):
        monkeypatch.delenv(f"TOOLMINT_{name}", raising=False)
    monkeypatch.setenv("TOOLMINT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TOOLMINT_TOOLS_DIR", str(tmp_path / "home" / "published"))
    yield tmp_path / "home"


def opened(home: Path) -> closing[Database]:
    return closing(Database(f"sqlite:///{home / 'toolmint.db'}", durable=False))


@pytest.fixture
def file(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "send_notes-1.bundle"
    with opened(home) as database:
        path.write_bytes(read_bundle(OPERATOR, Catalog(database, home / "published", scripted().catalog, Keyring(home)), "send_notes", 1))
    return path


def told(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(list(arguments))
    said = capfd.readouterr()
    return status, said.out + said.err


def test_a_bundle_is_verified_from_the_file_alone_and_every_check_is_told(
    file: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, said = told(capfd, "verify-bundle", str(file))
    assert status == 0 and said.endswith("Verified.\n") and "send_notes version 1" in said and "a key of this installation" in said
    checks = ("form", "signer", "signature", "members", "artifact", "candidate", "spec", "report", "generation", "approval")
    assert [line.split()[1] for line in said.splitlines() if line.startswith("ok ")] == list(checks)
    assert "decision   approve by key_operator" in said and "not generated here" in said
    key = Keyring(home).public_key()
    (tmp_path / "signer.pub").write_text(f"{key}\n")
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("TOOLMINT_HOME", str(elsewhere))
    status, said = told(capfd, "verify-bundle", str(file))
    assert status == 1 and said.endswith("NOT VERIFIED.\n") and "anyone could have signed it" in said
    for believed in (str(key), str(tmp_path / "signer.pub")):
        status, said = told(capfd, "verify-bundle", str(file), "--key", believed)
        assert status == 0 and "a key that was given" in said
    assert told(capfd, "verify-bundle", str(file), "--key", "0" * 64, "--key", str(key))[0] == 0
    assert told(capfd, "verify-bundle", str(file), "--key", "0" * 64)[0] == 1
    assert not elsewhere.exists(), "verifying makes no key and no folder"


def test_an_altered_report_fails_and_so_does_everything_that_is_no_bundle(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = file.read_bytes()
    for altered, why in (
        (content.replace(b'\\"passed\\"', b'\\"failed\\"'), "report.json was altered"),
        (content.replace(b'"version":1', b'"version":2'), "the signature does not belong"),
        (content[:-1], "no evidence bundle"),
        (b"PK\x03\x04", "no evidence bundle"),
        (b"", "no evidence bundle"),
    ):
        assert altered != content
        file.write_bytes(altered)
        status, said = told(capfd, "verify-bundle", str(file))
        assert status == 1 and why in said and said.endswith("NOT VERIFIED.\n"), said


def test_what_cannot_be_done_as_asked_is_status_2(file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments, code in (
        ([str(tmp_path / "none")], "bundle_not_readable"),
        ([str(tmp_path)], "bundle_not_readable"),
        ([str(file), "--key", "x" * 64], "public_key_invalid"),
        ([str(file), "--key", str(file)], "public_key_invalid"),
        ([str(file), "--key", "nowhere.pub"], "bundle_not_readable"),
    ):
        status, said = told(capfd, "verify-bundle", *arguments)
        assert status == 2 and code in said, said


def test_programs_get_the_same_as_json(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, said = told(capfd, "verify-bundle", str(file), "--json")
    found: dict[str, Any] = json.loads(said)
    assert status == 0 and found["verified"] and all(check["ok"] for check in found["checks"])
    assert found["statement"]["tool"] == "send_notes" and len(found["digest"]) == 64 and len(found["signer"]["key_id"]) == 16
    file.write_bytes(b"{}")
    status, said = told(capfd, "verify-bundle", str(file), "--json")
    assert status == 1 and json.loads(said)["verified"] is False


def test_what_a_stranger_wrote_into_a_bundle_does_not_move_the_terminal(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = sender_spec(_name="hostile")
    with opened(home) as database:
        candidate = pass_candidate(database, spec, SENDER)
        with database.writing() as session:
            session.connection().execute(sa.text("UPDATE approval SET actor = :actor"), {"actor": HOSTILE})
        catalog = Catalog(database, home / "published", scripted().catalog, Keyring(home))
        publish(OPERATOR, catalog, candidate)
        (tmp_path / "b").write_bytes(read_bundle(OPERATOR, catalog, "hostile", 1))
    status, said = told(capfd, "verify-bundle", str(tmp_path / "b"))
    assert status == 0 and "decision   approve by on time" in said and not {"\x1b", "\x07", "\u202e"} & set(said)


def test_what_a_stranger_may_have_signed_is_told_as_a_failed_check(
    home: Path, file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle, strange = Bundle.decode(file.read_bytes()), Keyring(tmp_path / "strange")
    for usage, said_of in (
        ('{"id":"gen_1","calls":[{}],"usd":"0.5"}', "1 answer(s) of a model, 0.5 USD"),
        ("no JSON", "FAILED   generation"),
        ('{"id":"gen_1","calls":{},"usd":"0.5"}', "FAILED   generation"),
        ('{"id":"gen_2","calls":[],"usd":null}', "FAILED   generation"),
        ("[" * 100_000, "FAILED   generation"),
    ):
        members = {**bundle.members, GENERATION: usage}
        candidate = bundle.statement.candidate.model_copy(update={"generation": "gen_1"})
        named = {**bundle.statement.members, GENERATION: member(usage)}
        statement = bundle.statement.model_copy(update={"candidate": candidate, "members": named})
        file.write_bytes(Bundle(statement, members, strange.sign(statement.signed())).encode())
        status, said = told(capfd, "verify-bundle", str(file))
        assert status == 1 and said_of in said and said.endswith("NOT VERIFIED.\n"), said


def test_keys_are_shown_believed_and_replaced(home: Path, file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "key"]) == 0
    key = capfd.readouterr().out.strip()
    assert key == Keyring(home).public_key()
    assert told(capfd, "evidence", "rotate")[0] == 0
    assert Keyring(home).public_key() != key and (home / TRUSTED_FILE).read_text() == f"{key}\n"
    assert (home / KEY_FILE).stat().st_mode & 0o077 == 0
    assert told(capfd, "verify-bundle", str(file))[0] == 0, "what the former key signed is believed"
    (home / TRUSTED_FILE).unlink()
    assert told(capfd, "verify-bundle", str(file))[0] == 1
    (tmp_path / "former.pub").write_text(key)
    assert told(capfd, "evidence", "trust", str(tmp_path / "former.pub"))[0] == 0
    status, said = told(capfd, "evidence", "trust", str(tmp_path / "former.pub"))
    assert status == 0 and "as before" in said, "nothing is done, and nothing is noted as done"
    assert told(capfd, "verify-bundle", str(file))[0] == 0
    with opened(home) as database, database.reading() as session:
        actions = (
            session.connection().execute(sa.text("SELECT action FROM audit_event WHERE action LIKE 'evidence.%' ORDER BY id")).scalars()
        )
        assert list(actions) == ["evidence.key_rotated", "evidence.key_trusted"]


def test_a_lost_key_is_named_by_the_doctor_and_an_operator_may_seal_anew(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (home / KEY_FILE).unlink()
    status, said = told(capfd, "evidence", "key")
    assert status == 2 and "evidence_key_missing" in said
    Keyring(home).sign(b"")
    with opened(home) as database:
        assert refused_versions(database, Keyring(home)) == {"default/send_notes/1": "bundle_signer_unknown"}
    status, said = told(capfd, "evidence", "seal")
    assert status == 0 and "sealed  send_notes/1" in said and "1 version(s)" in said
    with opened(home) as database:
        assert refused_versions(database, Keyring(home)) == {}


def test_a_backup_carries_the_keys_and_one_from_before_bundles_is_sealed(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key = Keyring(home).public_key()
    Keyring(home).trust("0" * 64)
    assert told(capfd, "backup", str(tmp_path / "whole"))[0] == 0
    for name in (KEY_FILE, TRUSTED_FILE):
        (home / name).unlink()
    status, said = told(capfd, "restore", str(tmp_path / "whole"), "--nothing-since")
    assert status == 0 and Keyring(home).trusted() == (key, "0" * 64), said
    with opened(home) as database:
        assert refused_versions(database, Keyring(home)) == {}
        with database.writing() as session:
            session.connection().execute(sa.text("DELETE FROM evidence_bundle"))
    assert told(capfd, "backup", str(tmp_path / "new"))[0] == 0
    rewritten(
        tmp_path / "new", tmp_path / "old", "manifest.json", lambda content: content.replace(f'"{migration.head()}"'.encode(), b'"0008"')
    )
    for file, left in (("new", {"default/send_notes/1": "bundle_missing"}), ("old", {})):
        assert told(capfd, "restore", str(tmp_path / file), "--nothing-since")[0] == 0
        with opened(home) as database:
            assert refused_versions(database, Keyring(home)) == left
