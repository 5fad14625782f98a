"""What the chaos happens to: a home, its service with one tool for each policy, an SMTP server that takes its time.

It refuses to be: a shortcut. The tools are verified, approved and published over REST; only the judge looks into the database.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.connectors.scripted import scripted
from app.core.db import Database
from app.core.migration import migrate
from app.core.signing import Keyring
from app.registry.catalog import Catalog
from app.spec.model import ExecutionSpec
from tests.chaos.mail import rules
from tests.chaos.scenarios import Scenario
from tests.support.postgres import PostgresServer, start_postgres
from tests.support.published import release
from tests.support.releases import CAMPAIGN, publish
from tests.support.service import Service, start_service
from tests.support.smtp import SmtpProcess, start_smtp
from tests.support.supervised import gone
from tests.support.tail import Tail
from tests.support.waiting import until

TOOLS = {"hold": "campaign_send_bulk", "retry": "campaign_send_again"}
TEMPLATE = {"subject": "News", "text": "Dear customer,\n\n" + "all the news.\n" * 20}
CONNECTIONS = 10
EARLY_MS, LATE_MS = 2, 4


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the service at one moment: its child's name and the owner rows that it lives by."""

    name: str
    pid: int
    owners: tuple[str, ...]


@dataclass(eq=False)
class Site:
    """`service` is replaced when everything was killed; the database, the SMTP server and the port stay."""

    home: Path
    settings: dict[str, str]
    smtp: SmtpProcess
    database: Database
    service: Service
    log: Tail
    postgres: PostgresServer | None = None

    @classmethod
    def build(cls, folder: Path, scenario: Scenario) -> Site:
        """Start everything and publish the tools."""
        smtp = start_smtp(folder, "--early-ms", str(EARLY_MS), "--delay-ms", str(LATE_MS))
        smtp.rules.write_text(json.dumps(rules()))
        postgres = start_postgres() if scenario.database == "postgresql" else None
        settings = {"TOOLMINT_SMTP_URL": smtp.url, "TOOLMINT_SMTP_CONNECTIONS": str(CONNECTIONS), **scenario.settings}
        url = f"sqlite:///{folder / 'home' / 'toolmint.db'}"
        if postgres is not None:
            url = postgres.url(postgres.create())
            settings["TOOLMINT_DATABASE_URL"] = url
        if not scenario.verified:
            _release_tools(url, folder / "home")
        service = start_service(folder / "home", None, **settings)
        site = cls(folder / "home", settings, smtp, Database(url), service, Tail(smtp.log), postgres)
        try:
            if scenario.verified:
                _publish_tools(service)
            service.admin.put("/records/email_templates/news", TEMPLATE)
        except BaseException:
            site.close()
            raise
        return site

    def kill_everything(self) -> None:
        """SIGKILL the supervisor, which takes its children along; start the service again."""
        old = self.service
        family = old.process.family()
        old.client.close()
        old.process.supervisor.kill()
        until(lambda: all(map(gone, family)), 10, "nothing is left of the killed service")
        self.service = start_service(self.home, old.process.port, **self.settings)

    def processes(self, *names: str) -> list[Process]:
        """The living children of these names, or every worker."""
        names = names or tuple(path.name for path in (self.home / "children").iterdir() if path.name.startswith("worker"))
        pids = {name: self.service.process.pid(name) for name in sorted(names)}
        live = "SELECT id, pid FROM owner WHERE voided_at IS NULL AND renewed_at + lease_ms >= :now"
        with self.database.reading() as session:
            owned = [(row.id, row.pid) for row in session.connection().execute(sa.text(live), {"now": now_ms()})]
        return [Process(name, pid, tuple(owner for owner, of in owned if of == pid)) for name, pid in pids.items() if pid]

    def performing(self, process: Process) -> int:
        """How many effects this process has in flight, by the ledger."""
        if not process.owners:
            return 0
        query = sa.text("SELECT count(*) FROM effect WHERE state = 'performing' AND owner IN :owners")
        with self.database.reading() as session:
            found = session.connection().execute(query.bindparams(sa.bindparam("owners", process.owners, expanding=True)))
            return int(found.scalar_one())

    def open_effects(self) -> int:
        """How many effects somebody holds, or wait for another attempt."""
        query = sa.text("SELECT count(*) FROM effect WHERE state IN ('planned', 'claimed', 'performing', 'retry_wait')")
        with self.database.reading() as session:
            return int(session.connection().execute(query).scalar_one())

    def close(self) -> None:
        """Stop what was started."""
        self.service.stop()
        self.database.close()
        self.smtp.stop()
        if self.postgres is not None:
            self.postgres.stop()


def _tools() -> list[tuple[dict[str, Any], str, str]]:
    """Spec, tool and tests of each policy."""
    spec: dict[str, Any] = json.loads((CAMPAIGN / "spec.json").read_text())
    tool, tests = ((CAMPAIGN / name).read_text() for name in ("tool.py", "test_tool.py"))
    return [(spec, tool, tests), _retrying(spec, tool, tests)]


def _publish_tools(service: Service) -> None:
    for spec, tool, tests in _tools():
        publish(service, spec, tool, tests)


def _release_tools(url: str, home: Path) -> None:
    database = Database(url)
    migrate(database, home / "backups")
    catalog = Catalog(database, home / "published", scripted().catalog, Keyring(home))
    for spec, tool, _tests in _tools():
        release(catalog, ExecutionSpec.model_validate_json(json.dumps(spec)), tool)
    database.close()


def _retrying(spec: dict[str, Any], tool: str, tests: str) -> tuple[dict[str, Any], str, str]:
    """The campaign tool with the policy `retry`: what it says of unknowns no longer holds, so that is left out."""
    effect = {**spec["effects"][0], "on_unknown": "retry", "retry": {"max_attempts": 5, "initial_delay_s": 0.2, "max_delay_s": 1}}
    examples = [example for example in spec["examples"] if "lose_reply" not in json.dumps(example)]
    again = {**spec, "name": TOOLS["retry"], "title": "Send one campaign e-mail again", "effects": [effect], "examples": examples}
    lines = [line for line in tests.splitlines(keepends=True) if '"unknown", "' not in line]
    return again, tool, "".join(lines).replace('"sent": 699, "unknown": 1', '"sent": 700')


def now_ms() -> int:
    """The machine's time, as the ledger and the SMTP server stamp it."""
    return time.time_ns() // 1_000_000
