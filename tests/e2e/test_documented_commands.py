"""Every command that README.md and docs/*.md show is run, in order, as a newcomer would, beside one service on a scratch home.

What a document leaves to its reader (a key, a run, a file) is filled in with what an earlier command gave. What cannot be run here is in
`EXCEPTIONS`, with the reason; an exception that no document shows any more fails the test.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.cli.__main__ import parser
from app.connectors.production import production
from app.core.db import Database
from app.core.settings import Settings
from app.core.signing import Keyring
from app.registry.catalog import Catalog
from app.spec.model import ExecutionSpec
from tests.support.processes import ROOT
from tests.support.published import release
from tests.support.releases import CAMPAIGN
from tests.support.supervised import Supervised, service

EXCEPTIONS = {
    r"make demo$": "it is the whole story of tests/demo, with a service of its own",
    r"make run$": "it starts the service that stands here already",
    r"make (test|lint)$": "it would run this very test, or what it is run with",
    r"make (bench|chaos|calibrate)$": "they take minutes",
    r"toolmint connections test orders_api$": "it would call the service outside that its document makes up",
    r"toolmint (up|web|worker)\b": "they run until they are stopped; the service here is one that `toolmint up` started",
}
"""pattern of a command → why it is not run."""

LAST = r"toolmint restore\b"
"""Run at the end, when the service has been stopped, as the documents say."""

_WORDS = ("toolmint ", "curl ", "make ", "docker ", "podman ", "pg_dump ", "pg_restore ")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.S | re.M)
_SHELLS = {"", "sh", "bash", "console", "shell"}
_PATIENCE_S = 240


def shown(document: str) -> Iterator[str]:
    """The commands of a document, in its order: lines of code blocks that are for a shell, and inline code that is a whole command."""
    for text in re.split(r"(^```\w*\n.*?^```)", document, flags=re.S | re.M):
        block = _BLOCK.match(text)
        if block is None:
            yield from filter(_whole, filter(None, map(_command, re.findall(r"`([^`\n]+)`", text))))
        elif block[1] in _SHELLS:
            yield from filter(None, map(_command, block[2].replace("\\\n", " ").splitlines()))


def _command(line: str) -> str | None:
    text = re.sub(r"\s+# .*$", "", line.strip().removeprefix("$ ")).replace(".venv/bin/toolmint", "toolmint").strip()
    return text if _bare(text).startswith(_WORDS) else None


def _bare(command: str) -> str:
    return re.sub(r"^([A-Z_]+=\S* +)+", "", command)


def _whole(command: str) -> bool:
    """Whether it could be entered as it stands: `toolmint backup` in a sentence is a name."""
    if not _bare(command).startswith("toolmint "):
        return True
    try:
        with redirect_stderr(io.StringIO()):
            parser().parse_args(shlex.split(_bare(command))[1:])
    except (SystemExit, ValueError):
        return False
    return True


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def excepted(command: str) -> str | None:
    """The pattern of the exception that this command is."""
    return next((pattern for pattern in EXCEPTIONS if re.search(pattern, command)), None)


@dataclass
class Newcomer:
    """Somebody at a shell in a checkout, with a running service. `key` and `run` are the last that a command gave."""

    folder: Path
    running: Supervised
    key: str = ""
    run: str = ""
    said: dict[str, list[str]] = field(default_factory=dict)

    def enter(self, command: str) -> int:
        """Run it as it stands, with its blanks filled in; returns its status."""
        filled = (
            command.replace("tm_…", self.key)
            .replace("8765", str(self.running.port))
            .replace("RUN", self.run)
            .replace("FILE", "some.backup")
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOOLMINT_")}
        environment |= {"TOOLMINT_PORT": str(self.running.port), "TOOLMINT_TOOLS_DIR": self.running.environment["TOOLMINT_TOOLS_DIR"]}
        environment["PATH"] = f"{self.folder / '.venv' / 'bin'}:{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-c", filled],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        self.said.setdefault(command, []).append(f"{done.stdout}\n{done.stderr}".strip())
        self._note(command, done.stdout)
        refused = command.startswith("curl") and '"code"' in done.stdout
        return 1 if refused else done.returncode

    def _note(self, command: str, said: str) -> None:
        if "keys create" in command and said.startswith("{"):
            self.key = json.loads(said)["key"]
        if " call " in command:
            with self.running.database().reading() as session:
                self.run = str(session.connection().exec_driver_sql("SELECT max(id) FROM run").scalar_one())


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """A checkout's folder, with the service up and the bundled campaign tool published, as the samples would be by then."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in (".venv", "docs"):
        (folder / name).symlink_to(ROOT / name)
    home = folder / ".toolmint"
    with service(home, TOOLMINT_SAMPLES="0") as running:
        settings = Settings(home=home, tools_dir=Path(running.environment["TOOLMINT_TOOLS_DIR"]))
        database = Database(settings.database)
        catalog = Catalog(database, settings.tools_dir, production(settings, database).catalog, Keyring(home))
        spec = ExecutionSpec.model_validate_json((CAMPAIGN / "spec.json").read_text())
        release(catalog, spec, (CAMPAIGN / "tool.py").read_text())
        database.close()
        yield Newcomer(folder, running)


def approve(newcomer: Newcomer) -> None:
    """What a second actor does at the dashboard, by REST with the admin key."""
    waiting = "http://127.0.0.1:8765/api/v1/candidates?state=passed"
    bearer = '-H "Authorization: Bearer $(cat .toolmint/admin.key)"'
    assert newcomer.enter(f"curl -s {waiting} {bearer}") == 0
    found = json.loads(newcomer.said[f"curl -s {waiting} {bearer}"][-1])["items"]
    (candidate,) = [one["id"] for one in found if one["approval"] == "waiting"]
    address = f"http://127.0.0.1:8765/api/v1/candidates/{candidate}/approvals"
    assert newcomer.enter(f"""curl -s -X POST {address} {bearer} -d '{{"decision": "approve", "reason": "read it"}}'""") == 0


def test_every_command_that_a_document_shows_does_what_it_says(newcomer: Newcomer) -> None:
    commands = [command for path in documents() for command in shown(path.read_text(encoding="utf-8"))]
    assert len(commands) > 15
    to_run = [command for command in commands if excepted(command) is None]
    wrong: dict[str, str] = {}
    for command in dict.fromkeys(command for command in to_run if not re.search(LAST, command)):
        status = newcomer.enter(command)
        if " publish " in command and status == 3:
            approve(newcomer)
            status = newcomer.enter(command)
        if status != 0:
            wrong[command] = f"status {status}: {newcomer.said[command][-1][-2000:]}"
    newcomer.running.stop()
    for command in dict.fromkeys(command for command in to_run if re.search(LAST, command)):
        status = newcomer.enter(command)
        if status != 0:
            wrong[command] = f"status {status}: {newcomer.said[command][-1][-2000:]}"
    assert wrong == {}


def test_publish_given_again_after_the_approval_publishes_what_was_approved(newcomer: Newcomer) -> None:
    (command,) = [command for command in newcomer.said if " publish " in command]
    first, again = newcomer.said[command]
    assert "Verified. It has effects, so another actor than its author must approve it" in first and "Then give this command again" in first
    assert "Published add_customer_note version 1" in again
    assert re.findall(r"cand_\w+", first)[0] == re.findall(r"cand_\w+", again)[0], "what was approved is what is published"


def test_after_the_restore_the_service_starts_with_everything_paused_and_goes_on_when_it_is_told_to(newcomer: Newcomer) -> None:
    with service(newcomer.running.home, TOOLMINT_SAMPLES="0") as running:
        again = Newcomer(newcomer.folder, running)
        (call,) = [command for command in newcomer.said if "call add_customer_note" in command]
        assert again.enter(call) == 2 and "paused" in again.said[call][-1] and "Restored from a backup" in again.said[call][-1]
        resume = 'curl -s -X DELETE http://127.0.0.1:8765/api/v1/pause -H "Authorization: Bearer $(cat .toolmint/admin.key)"'
        assert again.enter(resume) == 0, again.said[resume]
        assert again.enter(call) == 0 and '"added": 0' in again.said[call][-1], "what was done before the backup is known"


def test_the_documents_show_each_exception() -> None:
    commands = [command for path in documents() for command in shown(path.read_text(encoding="utf-8"))]
    assert [pattern for pattern in EXCEPTIONS if not any(re.search(pattern, command) for command in commands)] == []


def test_commands_are_found_in_blocks_and_in_text() -> None:
    text = "Run `toolmint doctor`, after `toolmint backup`, or `TOOLMINT_KEY=x toolmint call a '{}'`.\n\n"
    text += "```\n$ toolmint keys \\\n  create a  # a key\nother\n```\n"
    assert list(shown(text + "```python\ntoolmint = 1\n```\n`toolmint_guide`")) == [
        "toolmint doctor",
        "TOOLMINT_KEY=x toolmint call a '{}'",
        "toolmint keys    create a",
    ]
