"""`toolmint up` as a process tree: what dies is replaced, what is told to stop stops, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from app.candidates.submission import submit_candidate
from app.core import owners
from app.core.models import Owner
from tests.support.contracts import save
from tests.support.processes import ROOT
from tests.support.published import AUTHOR, TESTS, counter_spec
from tests.support.stalls import watched
from tests.support.supervised import Supervised, gone, kill, launch, service
from tests.support.waiting import until
from tests.support.worlds import PURE

SECRETS = {"ANTHROPIC_API_KEY": "sk-ant-never-told", "TOOLMINT_ADMIN_KEY": "an-admin-key-never-told"}
SMTP = {"TOOLMINT_SMTP_URL": "smtp://sender:word-never-told@127.0.0.1:9"}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    """A service of two workers that is given secrets."""
    with service(tmp_path_factory.mktemp("up") / "home", TOOLMINT_WORKERS="2", **SECRETS, **SMTP) as running:
        yield running


def voided(up: Supervised, pid: int) -> bool:
    """Whether every owner row of this process has been voided."""
    database = up.database()
    with database.reading() as session:
        rows = list(session.exec(select(Owner).where(Owner.pid == pid)))
    database.close()
    return bool(rows) and all(row.voided_at is not None for row in rows)


@pytest.mark.parametrize("name", ["worker", "web", "redis"])
def test_a_killed_child_is_started_again_and_its_lease_is_voided_at_once(up: Supervised, name: str) -> None:
    before = up.pid(name)
    killed_at = time.monotonic()
    kill(before)
    if name != "redis":
        until(lambda: voided(up, before), 10, f"the lease of the {name} that was killed is voided")
        assert time.monotonic() - killed_at < 10, "a lease of 15 s must not be waited for"
    after = until(lambda: up.pid(name) != before and up.pid(name), 15, f"another {name} is started")
    assert after and not gone(after)
    assert up.get("/healthz", 20)[0] == 200


def test_as_many_workers_as_were_asked_for_are_kept_alive(up: Supervised) -> None:
    first, second = up.pid("worker"), until(lambda: up.pid("worker-2"), 5, "the second worker is started")
    database = up.database()
    until(lambda: owners.alive(database, "worker") == 2, 15, "both hold a lease")
    database.close()
    kill(second)
    until(lambda: up.pid("worker-2") not in (0, second), 15, "the killed one is started again")
    assert up.pid("worker") == first and not gone(first)


def test_no_secret_stands_in_a_command_line_or_a_sandbox_or_a_log(up: Supervised) -> None:
    until(lambda: up.get("/readyz", 2)[0] == 200, 60, "the sandbox is there")
    ours = {up.pid(name) for name in ("web", "worker", "worker-2")}
    looked = 0
    for pid in up.family():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            given = Path(f"/proc/{pid}/environ").read_bytes() if pid not in ours else b""
        except OSError:  # it has ended, or is another user's
            continue
        looked += 1
        assert b"never-told" not in command and b"never-told" not in given, command
    assert looked > len(ours), "those of the sandbox are among them"
    assert "never-told" not in up.log and b"never-told" not in up.get("/metrics")[1]


def test_a_web_process_that_is_replaced_loses_no_connection(up: Supervised) -> None:
    kill(up.pid("web"))
    assert up.get("/healthz", 20)[0] == 200


def says_how_to_sign_in(up: Supervised) -> None:
    key = up.home / "admin.key"
    assert f"Toolmint at {up.url}" in up.log and f"the key in {key}" in up.log
    assert key.stat().st_mode & 0o077 == 0
    assert up.log.count(key.read_text().strip()) == 1


def test_the_service_says_where_it_is_and_which_key_opens_it(up: Supervised) -> None:
    assert f"Toolmint at {up.url}" in up.log and "sign in with   TOOLMINT_ADMIN_KEY" in up.log
    assert not (up.home / "admin.key").exists()


def refusal(**environment: str) -> str:
    """What a second `toolmint up` says on standard error, with status 2."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "up"], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_second_service_on_the_same_home_is_told_who_has_it(up: Supervised) -> None:
    said = refusal(**up.environment)
    assert "(already_running)" in said and f"pid {up.supervisor.pid}" in said and "fix: " in said


def test_a_taken_port_is_said_at_once(up: Supervised, tmp_path: Path) -> None:
    said = refusal(TOOLMINT_HOME=str(tmp_path / "other"), TOOLMINT_PORT=str(up.port))
    assert "(port_taken)" in said and "TOOLMINT_PORT" in said


def test_a_wrong_setting_is_named_and_its_value_is_not(tmp_path: Path) -> None:
    said = refusal(TOOLMINT_HOME=str(tmp_path), TOOLMINT_PORT="eighty-eighty")
    assert "TOOLMINT_PORT" in said and "eighty" not in said


def submitted(up: Supervised) -> str:
    """A candidate that has just been submitted; its events can be followed until it is verified."""
    database = up.database()
    spec = save(database, counter_spec())
    files = [{"path": "tool.py", "content": PURE}, {"path": "test_tool.py", "content": TESTS}]
    candidate = submit_candidate(AUTHOR, database, spec.name, 1, files)
    database.close()
    return str(candidate["id"])


def test_sigterm_stops_everything_within_five_seconds_though_an_event_stream_is_open(tmp_path: Path) -> None:
    with service(tmp_path / "home") as up, socket.create_connection(("127.0.0.1", up.port)) as client:
        says_how_to_sign_in(up)
        key = (up.home / "admin.key").read_text().strip()
        path = f"/api/v1/candidates/{submitted(up)}/events"
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        client.settimeout(10)
        head = client.recv(4096).decode()
        assert "200 OK" in head and "text/event-stream" in head
        family = up.family()
        assert len(family) >= 3
        began = time.time()
        with watched() as stalls:
            up.supervisor.send(signal.SIGTERM)
            assert up.supervisor.process.wait(timeout=30) == 0
            ended = time.time()
        assert ended - began - stalls.within(began, ended) < 5
        until(lambda: all(gone(pid) for pid in family), 2, "nothing is left behind")
        assert not list((up.home / "children").iterdir())
        assert "did not stop in time" not in up.log


def test_a_killed_supervisor_takes_its_children_along_and_the_next_one_starts_clean(tmp_path: Path) -> None:
    deep = tmp_path / ("a-home-whose-path-is-too-long-for-a-socket-" * 3)
    with service(deep) as up:
        family = up.family()
        worker = up.pid("worker")
        up.supervisor.kill()
        until(lambda: all(gone(pid) for pid in family), 5, "every child died with its supervisor")
    again = launch(deep)
    try:
        until(lambda: again.get("/healthz", 2)[0] == 200, 30, "the next service answers")
        until(lambda: voided(again, worker), 10, "the lease that the killed one left is voided")
    finally:
        again.stop()
