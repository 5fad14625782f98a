"""Backup and restore of the embedded store: whole or not at all, and nothing that may have happened since is done again."""

from __future__ import annotations

import json
import sqlite3
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.access.admin import ensure_admin
from app.cli.__main__ import main
from app.composition import CHAIN
from app.core import bundle, ids, migration, owners
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.settings import Settings
from app.observability import audit
from app.observability.sealing import seal, verify_chain
from app.runtime.repository.effects import Claim, Move, move
from app.runtime.repository.planning import Intent, Plan, plan_chunks
from tests.support.backups import rewritten

ADA, BOB, CAT, DAN, EVE = "ada", "bob", "cat", "dan", "eve"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home with a migrated database, an admin key and a key of connections."""
    home = tmp_path / "home"
    for name, value in {"HOME": str(home), "TOOLS_DIR": str(home / "published"), "DATABASE_URL": "", "ADMIN_KEY": ""}.items():
        monkeypatch.setenv(f"TOOLMINT_{name}", value)
    settings = Settings.from_env()
    with opened(settings) as database:
        migration.migrate(database, home / "backups")
        ensure_admin(database, settings)
        seal(database, CHAIN)
    (home / "connections.key").write_text("k" * 64)
    yield settings


def opened(settings: Settings) -> closing[Database]:
    return closing(Database(settings.database, durable=False))


def planned(database: Database, run_id: str, *keys: str, connector: str = "email.send", policy: str = "hold") -> None:
    """Effects of a run, claimed by an owner that is gone."""
    intents = [
        Intent(f"{key:0<64}", place, f'["{key}"]', "g", key, "{}", fingerprint="f", message_id=None, value={})
        for place, key in enumerate(keys)
    ]
    names = {"tenant": "default", "tool": "notes", "version": 1, "effect": "send", "connector": connector, "ledger": "notes"}
    plan = Plan(**names, retry_failed=False, on_unknown=policy, run_id=run_id, step=1, owner="own_gone", fence=1, intents=intents)  # type: ignore[arg-type]  # names of fields
    with database.writing() as session:
        plan_chunks(session, [plan])


def moved(database: Database, key: str, *path: str, receipt: str | None = None) -> None:
    before = "claimed"
    for after in path:
        with database.writing() as session:
            assert move(session, [Move(Claim(f"{key:0<64}", "own_gone", 1), before, after, 1, receipt=receipt)]) == [True]
        before = after


def begun(database: Database, state: str = "executing") -> str:
    run_id = ids.new("run")
    row = {"id": run_id, "state": state, "at": database.clock.now()}
    columns = (
        "id, tenant, tool, version, digest, reason, actor, trace_id, source, dry_run, state, args, seed, owner, fence, crashes, due_at, "
    )
    columns += "steps, cpu_ms, rss_kb, bytes_in, bytes_out, created_at"
    values = ":id, 'default', 'notes', 1, 'd', '', 'key_a', 't', 'rest', false, :state, 'x', 's', 'own_gone', 1, 0, 0, 0, 0, 0, 0, 0, :at"
    with database.writing() as session:
        session.connection().execute(sa.text(f"INSERT INTO run ({columns}) VALUES ({values})"), row)
    return run_id


def states(settings: Settings) -> dict[str, str]:
    with opened(settings) as database, database.reading() as session:
        return {row.subject: row.state for row in session.connection().execute(sa.text("SELECT subject, state FROM effect ORDER BY seq"))}


def asked(settings: Settings, query: str) -> list[Any]:
    with opened(settings) as database, database.reading() as session:
        return [tuple(row) for row in session.connection().execute(sa.text(query))]


def test_a_backup_taken_while_others_write_is_consistent_private_and_whole(settings: Settings, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with opened(settings) as database:
            while not stop.is_set():
                with database.writing() as session:  # two rows that belong together
                    for _ in range(2):
                        audit.record(session, SYSTEM, "pair.written", "x", "done")

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    files = [tmp_path / f"{number}.backup" for number in range(3)]
    try:
        assert [main(["backup", str(file)]) for file in files] == [0, 0, 0]
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    for file in files:
        folder = tmp_path / f"{file.name}.unpacked"
        folder.mkdir()
        manifest = bundle.unpack(file, folder)
        assert file.stat().st_mode & 0o077 == 0 and set(manifest.files) == {"toolmint.db", "admin.key", "connections.key"}
        with closing(sqlite3.connect(folder / "toolmint.db")) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert copy.execute("SELECT count(*) % 2 FROM audit_event WHERE action = 'pair.written'").fetchone() == (0,)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [file.name for file in files]


def test_a_backup_never_overwrites_unless_told_to(settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "b.backup"
    file.write_text("mine")
    assert main(["backup", str(file)]) == 2 and file.read_text() == "mine" and "backup_exists" in capfd.readouterr().err
    assert main(["backup", str(file), "--force"]) == 0 and tarfile.is_tarfile(file)
    assert main(["backup", str(tmp_path / "no folder" / "b")]) == 2 and "backup_failed" in capfd.readouterr().err


def test_a_restored_backup_is_as_it_was_and_the_replaced_store_is_kept(settings: Settings, tmp_path: Path) -> None:
    key = (settings.home / "admin.key").read_text()
    assert main(["backup", str(tmp_path / "b")]) == 0
    with opened(settings) as database, database.writing() as session:
        audit.record(session, SYSTEM, "later.written", "x", "done")
    (settings.home / "admin.key").write_text("another-key\n")
    (settings.home / "connections.key").unlink()
    strange = settings.home / "published" / "later_tool" / "1"
    strange.mkdir(parents=True)
    strange.chmod(0o555)
    assert main(["restore", str(tmp_path / "b"), "--nothing-since"]) == 0
    assert (settings.home / "admin.key").read_text() == key and (settings.home / "connections.key").stat().st_mode & 0o077 == 0
    assert asked(settings, "SELECT count(*) FROM audit_event WHERE action = 'later.written'") == [(0,)]
    assert asked(settings, "SELECT outcome FROM audit_event WHERE action = 'database.restored'") == [("done",)]
    (aside,) = settings.home.glob("replaced-*")
    assert (aside / "admin.key").read_text() == "another-key\n" and (aside / "tools" / "later_tool" / "1").is_dir() and not strange.exists()
    with closing(sqlite3.connect(aside / "toolmint.db")) as replaced:
        assert replaced.execute("SELECT count(*) FROM audit_event WHERE action = 'later.written'").fetchone() == (1,)
    with opened(settings) as database:
        seal(database, CHAIN)
        assert verify_chain(database, CHAIN).broken is None
    assert not list(settings.home.glob("restore-*"))


def test_after_an_older_backup_nothing_goes_on_by_itself(settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with opened(settings) as database:
        run = begun(database)
        planned(database, run, ADA, BOB, CAT)
        moved(database, ADA, "performing", "done", receipt='{"code":250}')
        moved(database, BOB, "performing")
        planned(database, run, DAN, policy="retry")
        planned(database, run, EVE, connector="records.put")
        begun(database, "available")
    assert main(["backup", str(tmp_path / "b")]) == 0
    (settings.home / "toolmint.db").unlink()
    assert main(["restore", str(tmp_path / "b")]) == 0
    said = capfd.readouterr().out
    assert "IS NOT KNOWN HERE" in said and "2 run(s)" in said and "2 effect(s)" in said and "everything is paused" in said
    assert states(settings) == {ADA: "done", BOB: "unknown", CAT: "unknown", DAN: "cancelled", EVE: "cancelled"}
    assert asked(settings, "SELECT state, error FROM run") == [("cancelled", asked(settings, "SELECT error FROM run")[0][0])] * 2
    assert asked(settings, "SELECT scope FROM pause") == [("everything",)]
    path = asked(settings, f"SELECT before, after FROM effect_event WHERE effect_id = '{CAT:0<64}' AND actor = 'restore' ORDER BY seq")
    assert path == [("claimed", "performing"), ("performing", "unknown")]
    with opened(settings) as database:
        seal(database, CHAIN)
        assert verify_chain(database, CHAIN).broken is None


def test_what_the_replaced_database_knows_to_be_done_is_done_in_the_restored_one(settings: Settings, tmp_path: Path) -> None:
    with opened(settings) as database:
        run = begun(database)
        planned(database, run, ADA, BOB)
        seal(database, CHAIN)
        assert main(["backup", str(tmp_path / "b")]) == 0
        moved(database, ADA, "performing", "done", receipt='{"code":250}')
        planned(database, run, CAT)
        moved(database, CAT, "performing", "done", receipt='{"code":251}')
        planned(database, run, DAN, connector="records.put")
        moved(database, DAN, "done")
        planned(database, run, EVE)
        moved(database, EVE, "performing", "done", receipt='{"outbox_id":7}')
    assert main(["restore", str(tmp_path / "b")]) == 0
    assert states(settings) == {ADA: "done", BOB: "unknown", CAT: "done"}, (
        "what the old database did in itself has not happened in this one"
    )
    assert asked(settings, "SELECT receipt FROM effect WHERE state = 'done' ORDER BY receipt") == [('{"code":250}',), ('{"code":251}',)]
    assert asked(settings, "SELECT name FROM ledger") == [("notes",)]
    with opened(settings) as database:
        seal(database, CHAIN)
        assert verify_chain(database, CHAIN).broken is None


def test_a_database_that_did_not_come_after_the_backup_is_not_asked(settings: Settings, tmp_path: Path) -> None:
    assert main(["backup", str(tmp_path / "b")]) == 0
    (settings.home / "toolmint.db").unlink()
    with opened(settings) as other:
        migration.migrate(other, settings.home / "backups")
        ensure_admin(other, settings)
        seal(other, CHAIN)
        planned(other, begun(other), ADA)
        moved(other, ADA, "performing", "done", receipt='{"code":250}')
    assert main(["restore", str(tmp_path / "b")]) == 0
    assert states(settings) == {}


def test_nothing_is_restored_while_somebody_works_there(settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", str(tmp_path / "b")]) == 0
    with opened(settings) as database:
        owner = owners.register(database, "worker", 15_000)
        assert main(["restore", str(tmp_path / "b")]) == 2 and "already_running" in capfd.readouterr().err
        owners.void(database, owner=owner)
    assert main(["restore", str(tmp_path / "b")]) == 0


def _spoil(content: bytes) -> bytes:
    return content[:5000] + b"\xff" * 500 + content[5500:]


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("toolmint.db", _spoil, "is not what was backed up"),
        ("toolmint.db", lambda content: content[:-1], "does not belong"),
        ("manifest.json", lambda content: b"{", "manifest cannot be read"),
        ("manifest.json", lambda content: content.replace(b'"format": 1', b'"format": 9'), "a later release"),
        ("manifest.json", lambda content: content.replace(b"admin.key", b"../admin.key"), "does not belong"),
    ],
)
def test_a_damaged_backup_changes_nothing(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, change: Any, says: str
) -> None:
    assert main(["backup", str(tmp_path / "b")]) == 0
    rewritten(tmp_path / "b", tmp_path / "damaged", name, change)
    before = asked(settings, "SELECT count(*) FROM audit_event")
    assert main(["restore", str(tmp_path / "damaged")]) == 1
    assert says in capfd.readouterr().err and asked(settings, "SELECT count(*) FROM audit_event") == before
    assert not list(settings.home.glob("re*"))
    (tmp_path / "short").write_bytes((tmp_path / "b").read_bytes()[:20_000])
    assert main(["restore", str(tmp_path / "short")]) == 1 and main(["restore", str(tmp_path / "none")]) == 2


def test_a_backup_with_a_broken_chain_or_of_a_later_release_is_refused(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(settings.home / "toolmint.db")) as database:
        database.execute("UPDATE audit_event SET actor = 'somebody else' WHERE id = 1")
        database.commit()
    assert main(["backup", str(tmp_path / "b")]) == 0
    assert main(["restore", str(tmp_path / "b")]) == 1 and "audit chain is broken" in capfd.readouterr().err
    with closing(sqlite3.connect(settings.home / "toolmint.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    assert main(["backup", str(tmp_path / "c")]) == 0
    assert main(["restore", str(tmp_path / "c")]) == 2 and "database_too_new" in capfd.readouterr().err


def test_postgresql_is_told_of_its_own_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TOOLMINT_HOME", str(tmp_path))
    monkeypatch.setenv("TOOLMINT_DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/toolmint")
    for command, tool in (("backup", "pg_dump"), ("restore", "pg_restore")):
        assert main([command, str(tmp_path / "b")]) == 2
        said = capfd.readouterr().err
        assert tool in said and "user:secret" not in said
    monkeypatch.setenv("TOOLMINT_DATABASE_URL", "")
    assert main(["backup", str(tmp_path / "b")]) == 2 and "nothing_to_back_up" in capfd.readouterr().err


def test_the_manifest_says_what_there_is(settings: Settings, tmp_path: Path) -> None:
    (settings.home / "secrets").mkdir()
    (settings.home / "secrets" / "crm").write_text("token")
    assert main(["backup", str(tmp_path / "b")]) == 0
    with tarfile.open(tmp_path / "b") as tar:
        first = tar.next()
        stream = tar.extractfile(first) if first else None
        assert stream is not None
        told = json.loads(stream.read())
    assert (told["format"], told["revision"]) == (1, migration.head()) and "secrets/crm" in told["files"]
    (settings.home / "secrets" / "crm").unlink()
    assert main(["restore", str(tmp_path / "b"), "--nothing-since"]) == 0
    assert (settings.home / "secrets" / "crm").read_text() == "token"
