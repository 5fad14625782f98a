"""The commands: help that helps, keys made without a service, the chain checked, a doctor that says how to mend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.access.authentication import authenticate
from app.cli.__main__ import main
from app.cli.output import EXIT_CODES
from app.core.db import Database

KNOWN = ["audit", "call", "doctor", "keys", "migrate", "publish", "up", "verify", "web", "worker"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A migrated home of its own, named by the environment."""
    monkeypatch.setenv("TOOLMINT_HOME", str(tmp_path))
    for name in ("TOOLMINT_URL", "TOOLMINT_KEY", "TOOLMINT_DATABASE_URL", "TOOLMINT_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main(["migrate"]) == 0
    return tmp_path


def test_help_names_every_command_and_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert [name for name in KNOWN if f"\n    {name} " in said] == KNOWN
    assert EXIT_CODES in said


def test_a_command_that_does_not_exist_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fly"])
    assert ended.value.code == 2 and "invalid choice" in capsys.readouterr().err


def test_a_key_made_on_the_command_line_is_accepted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["keys", "create", "agent", "--permission", "tools:call", "--expires", "2099-01-01T00:00:00Z"]) == 0
    made = json.loads(capsys.readouterr().out)
    database = Database(f"sqlite:///{home / 'toolmint.db'}")
    actor = authenticate(database, made["key"])
    database.close()
    assert (actor.name, actor.permissions) == ("agent", frozenset({"tools:call"}))
    assert made["expires_at"] == "2099-01-01T00:00:00.000Z"


def test_an_error_is_a_line_with_its_code_and_how_to_mend_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "agent", "--permission", "sing", "--expires", "yesterday"]) == 2
    said = capsys.readouterr().err
    assert "error: " in said and "(key_request_invalid)" in said
    assert "$.permissions: " in said and "$.expires_at: " in said


def test_a_client_command_without_a_service_says_how_to_start_it(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLMINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("TOOLMINT_KEY", "tm_nobody")
    assert main(["call", "greet", "{}"]) == 2
    said = capsys.readouterr().err
    assert "(service_unreachable)" in said and "toolmint up" in said
    assert main(["call", "greet", "{"]) == 2
    assert "(arguments_invalid)" in capsys.readouterr().err


def test_a_client_command_without_a_key_says_where_one_comes_from(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "greet", "{}"]) == 2
    assert "(key_missing)" in capsys.readouterr().err


def test_an_altered_audit_event_breaks_the_chain(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from app.composition import CHAIN
    from app.observability.sealing import seal

    assert main(["keys", "create", "agent", "--permission", "tools:call"]) == 0
    database = Database(f"sqlite:///{home / 'toolmint.db'}")
    assert seal(database, CHAIN) == 1
    assert main(["audit", "verify"]) == 0
    with database.writing() as session:
        session.connection().exec_driver_sql("UPDATE audit_event SET actor = 'somebody else'")
    database.close()
    capsys.readouterr()
    assert main(["audit", "verify"]) == 1
    assert "BROKEN at link 1: altered_event" in capsys.readouterr().out


def test_the_doctor_proves_every_part_on_this_machine(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    status = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == 0, [check for check in report["checks"] if not check["ok"]]
    assert {check["part"] for check in report["checks"]} == {"program", "disk", "database", "clock", "evidence", "redis", "smtp", "sandbox"}
    assert len([check for check in report["checks"] if check["part"] == "sandbox"]) > 20


def test_an_smtp_url_that_cannot_be_used_is_said_before_anything_starts(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOOLMINT_SMTP_URL", "ftp://mail.example.com")
    capsys.readouterr()
    assert main(["up"]) == 2
    said = capsys.readouterr()
    assert "smtp_url_invalid" in said.err and "Toolmint at" not in said.out


def test_limits_that_cannot_be_read_are_said_before_anything_starts(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOOLMINT_TOOL_LIMITS", '{"campaign_send_bulk": {"runs": 0}}')
    capsys.readouterr()
    assert main(["up"]) == 2
    said = capsys.readouterr()
    assert "TOOLMINT_TOOL_LIMITS" in said.err and "Toolmint at" not in said.out


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLMINT_REDIS_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("TOOLMINT_DATABASE_URL", f"sqlite:///{home / 'older.db'}")
    older = Database(f"sqlite:///{home / 'older.db'}")
    with older.writing() as session:
        session.connection().exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        session.connection().exec_driver_sql("INSERT INTO alembic_version VALUES ('0000')")
    older.close()
    capsys.readouterr()
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "WRONG  redis: answers" in said and "correct TOOLMINT_REDIS_URL" in said
    assert "WRONG  database: schema" in said and "run `toolmint migrate`" in said
    assert "Something is wrong" in said
