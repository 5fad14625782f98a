"""THE table of commands: what each is called, what it takes, and where it is done.

It refuses to be: their implementation, which is imported when a command runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from app.core.settings import Settings

if TYPE_CHECKING:  # the class takes its parameter in type stubs only
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


def _up(verbs: Verbs) -> None:
    def run(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.supervisor import up

        given = {"TOOLMINT_WORKERS": options.workers} if options.workers else {}
        return up(Settings.from_env({**os.environ, **given}) if given else settings)

    verb = _verb(verbs, "up", run, "start the service: web, workers and, unless TOOLMINT_REDIS_URL is set, the bundled Redis")
    verb.add_argument("--workers", metavar="N", help="how many workers, 1 to 32; TOOLMINT_WORKERS or 1 if not given")


def _web(verbs: Verbs) -> None:
    def run(settings: Settings, _options: argparse.Namespace) -> int:
        from app.cli.web import serve

        return serve(settings)

    _verb(verbs, "web", run, "start the web process alone")


def _worker(verbs: Verbs) -> None:
    def run(_settings: Settings, _options: argparse.Namespace) -> int:
        os.execv(sys.executable, [sys.executable, "-m", "jobs.worker"])  # noqa: S606  by name: the command line is below the jobs

    _verb(verbs, "worker", run, "start a worker alone")


def _migrate(verbs: Verbs) -> None:
    def run(settings: Settings, _options: argparse.Namespace) -> int:
        from app.cli.migrating import migrate

        return migrate(settings)

    _verb(verbs, "migrate", run, "bring the database to this release's schema; an existing SQLite database is copied first")


def _doctor(verbs: Verbs) -> None:
    def run(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.doctor import examine

        return examine(settings, as_json=options.json)

    verb = _verb(verbs, "doctor", run, "prove isolation, Redis, database, disk and clock, and say how to mend what is wrong")
    verb.add_argument("--json", action="store_true", help="print JSON")


def _keys(verbs: Verbs) -> None:
    def run(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.keys import create

        return create(settings, options.name, options.permission, options.expires)

    group = verbs.add_parser("keys", help="make keys for agents and people").add_subparsers(metavar="VERB", required=True)
    verb = _verb(group, "create", run, "make a key, directly in the database, and print it once")
    verb.add_argument("name", help="who uses it")
    verb.add_argument(
        "--permission",
        action="append",
        default=[],
        metavar="P",
        help="such as tools:call, or approval:tools:call if each call needs another's yes; repeat; * for all",
    )
    verb.add_argument("--expires", metavar="INSTANT", help="when it ends, such as 2030-01-31T12:00:00Z; never without this")


def _connections(verbs: Verbs) -> None:
    def listing(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.connections import list_all

        return list_all(settings, as_json=options.json)

    def make(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.connections import create

        return create(settings, options.name, options.kind, options.settings, reference=options.secret_ref, secret=options.secret)

    def check(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.connections import test

        return test(settings, options.name)

    group = verbs.add_parser("connections", help="services outside, by name").add_subparsers(metavar="VERB", required=True)
    _verb(group, "list", listing, "list the connections, without their secrets").add_argument(
        "--json", action="store_true", help="print JSON"
    )
    verb = _verb(group, "create", make, "name a new connection")
    verb.add_argument("name", metavar="NAME", help="what specs call it")
    verb.add_argument("kind", metavar="KIND", help="smtp, http or webhook")
    verb.add_argument("settings", metavar="SETTINGS", help="its settings as a JSON object; /docs has them")
    verb.add_argument("--secret", action="store_true", help="read the secret from standard input")
    verb.add_argument("--secret-ref", metavar="REF", help="where the secret is: env:TOOLMINT_SECRET_NAME or file:NAME")
    _verb(group, "test", check, "really connect; status 1 where it does not work").add_argument("name", metavar="NAME", help="its name")


def _audit(verbs: Verbs) -> None:
    def run(settings: Settings, _options: argparse.Namespace) -> int:
        from app.cli.audit import verify

        return verify(settings)

    group = verbs.add_parser("audit", help="the audit trail").add_subparsers(metavar="VERB", required=True)
    _verb(group, "verify", run, "recompute the chain of the audit trail; status 1 if it is broken")


def _tools(verbs: Verbs) -> None:
    def run(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.tools import list_all

        return list_all(settings, options.words, as_json=options.json)

    verb = _verb(verbs, "tools", run, "list the published tools")
    verb.add_argument("words", metavar="WORD", nargs="*", help="only those with all these words in name, title or description")
    verb.add_argument("--json", action="store_true", help="print JSON, with their schemas")


def _call(verbs: Verbs) -> None:
    def run(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.client import call

        return call(settings, options.tool, options.arguments, key=options.key, dry_run=options.dry_run, approval=options.approval)

    verb = _verb(verbs, "call", run, "call a published tool and print its result")
    verb.add_argument("tool")
    verb.add_argument("arguments", metavar="JSON", help="the arguments, or - to read them from standard input")
    verb.add_argument("--key", help="idempotency key: the same key and arguments give the same answer, and no effect twice")
    verb.add_argument("--dry-run", action="store_true", help="perform no effect; print the plan")
    verb.add_argument("--approval", metavar="ID", help="the approval that lets this call have effects, if your key needs one")


def _replay(verbs: Verbs) -> None:
    def run(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.replaying import replay

        return replay(settings, options.run, as_json=options.json)

    verb = _verb(verbs, "replay", run, "play a run again from its journal, performing nothing; status 0 the same, 1 it differs, 2 unusable")
    verb.add_argument("run", metavar="RUN", help="id of the run")
    verb.add_argument("--json", action="store_true", help="print the report as JSON")


def _backup(verbs: Verbs) -> None:
    def run(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.backup import backup

        return backup(settings, options.file, force=options.force)

    verb = _verb(verbs, "backup", run, "copy the embedded store and its keys into one file, while the service runs or not")
    verb.add_argument("file", type=Path, metavar="FILE", help="where to; readable by you only")
    verb.add_argument("--force", action="store_true", help="replace a file that is there")


def _restore(verbs: Verbs) -> None:
    def run(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.restore import restore

        return restore(settings, options.file, nothing_since=options.nothing_since)

    verb = _verb(verbs, "restore", run, "put a backup in the place of the embedded store, which is kept aside; the service must be stopped")
    verb.add_argument("file", type=Path, metavar="FILE", help="what `toolmint backup` wrote")
    verb.add_argument("--nothing-since", action="store_true", help="nothing was performed since, as in a move: go on and hold nothing")


def _verify(verbs: Verbs) -> None:
    def run(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.verifying import verify

        return verify(settings, options.folder, as_json=options.json, fresh=options.fresh)

    verb = _verb(verbs, "verify", run, "run every gate on a folder, without a server; status 0 publishable, 1 refused, 2 unusable")
    verb.add_argument("folder", type=Path, metavar="DIR", help="holds spec.json, tool.py and test_tool.py")
    verb.add_argument("--json", action="store_true", help="print the report as JSON")
    verb.add_argument("--fresh", action="store_true", help="run gates again that passed before on the same inputs")


def _verify_bundle(verbs: Verbs) -> None:
    def run(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.evidence import verify_bundle

        return verify_bundle(settings, options.file, options.key, as_json=options.json)

    says = "check the signed evidence of a published version, offline; status 0 verified, 1 not, 2 unusable"
    verb = _verb(verbs, "verify-bundle", run, says)
    verb.add_argument("file", type=Path, metavar="FILE", help="an evidence bundle, as a version's page and REST give it")
    verb.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="PUBLIC",
        help="believe this public key, or the one in this file; repeat; without it, this installation's keys are believed",
    )
    verb.add_argument("--json", action="store_true", help="print JSON")


def _evidence(verbs: Verbs) -> None:
    def key(settings: Settings, _options: argparse.Namespace) -> int:
        from app.cli.evidence import show_key

        return show_key(settings)

    def trust(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.evidence import trust

        return trust(settings, options.key)

    def rotate(settings: Settings, _options: argparse.Namespace) -> int:
        from app.cli.evidence import rotate

        return rotate(settings)

    def seal(settings: Settings, _options: argparse.Namespace) -> int:
        from app.cli.evidence import seal

        return seal(settings)

    group = verbs.add_parser("evidence", help="the keys that sign versions").add_subparsers(metavar="VERB", required=True)
    _verb(group, "key", key, "print this installation's public key")
    says = "load versions that another key sealed, too"
    _verb(group, "trust", trust, says).add_argument("key", metavar="PUBLIC", help="the public key, or a file that holds it")
    _verb(group, "rotate", rotate, "sign with a new key from now on; what the former one signed still loads")
    _verb(group, "seal", seal, "seal versions without a believed bundle as they are stored now, on your word")


def _publish(verbs: Verbs) -> None:
    def run(settings: Settings, options: argparse.Namespace) -> int:
        from app.cli.publishing import publish

        return publish(settings, options.folder)

    verb = _verb(verbs, "publish", run, "save the spec, submit the candidate, follow its verification and publish it")
    verb.add_argument("folder", type=Path, metavar="DIR", help="holds spec.json, tool.py and test_tool.py")


ALL: tuple[Callable[[Verbs], None], ...] = (
    _up,
    _web,
    _worker,
    _doctor,
    _migrate,
    _keys,
    _connections,
    _audit,
    _tools,
    _call,
    _replay,
    _backup,
    _restore,
    _verify,
    _verify_bundle,
    _evidence,
    _publish,
)


def _verb(verbs: Verbs, name: str, run: Callable[[Settings, argparse.Namespace], int], says: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=says, description=says[0].upper() + says[1:] + ".")
    verb.set_defaults(command=run)
    return verb
