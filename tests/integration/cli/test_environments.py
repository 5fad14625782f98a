"""What the processes of a service are given: no secret reaches one that does not need it, or a command line, or a log."""

from __future__ import annotations

import socket
from pathlib import Path

from app.cli.supervisor import _children
from app.core.settings import Settings
from tests.support.supervised import free_port, service
from tests.support.waiting import until

SECRETS = {"ANTHROPIC_API_KEY": "sk-ant-never-told", "TOOLMINT_ADMIN_KEY": "an-admin-key-never-told"}
SMTP = {"TOOLMINT_SMTP_URL": "smtp://sender:word-never-told@127.0.0.1:9"}


def test_redis_is_given_no_setting_of_ours(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, port=free_port())
    with socket.socket() as listener:
        redis = next(child for child in _children(settings, listener) if child.name == "redis")
    assert set(redis.environment) <= {"PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH"}


def test_no_secret_stands_in_a_command_line_or_a_sandbox_or_a_log(tmp_path: Path) -> None:
    with service(tmp_path / "home", **SECRETS, **SMTP) as up:
        until(lambda: up.get("/readyz", 2)[0] == 200, 60, "the sandbox is there")
        ours = {up.pid(name) for name in ("web", "worker")}
        for pid in up.family():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                given = Path(f"/proc/{pid}/environ").read_bytes() if pid not in ours else b""
            except OSError:  # it has ended, or is another user's
                continue
            assert b"never-told" not in command and b"never-told" not in given, command
        assert "never-told" not in up.log and b"never-told" not in up.get("/metrics")[1]
