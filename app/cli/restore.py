"""`toolmint restore FILE`: put a backup in the place of the embedded store, which is kept aside.

Everything is checked before anything is changed: digests, integrity, schema, the audit chain. The change itself is one rename.

It refuses to be: a merge, and quiet. What happened after the backup was taken is not in it, and that is said and acted upon.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from app.cli.backup import embedded
from app.cli.output import DONE, REFUSED, complain, say
from app.cli.premises import home_of_our_own
from app.composition import CHAIN
from app.core import bundle, migration, owners
from app.core.actor import SYSTEM
from app.core.clock import iso
from app.core.db import Database
from app.core.errors import Conflict, Invalid
from app.core.settings import Settings
from app.core.signing import Keyring
from app.observability import audit
from app.observability.sealing import verify_chain
from app.registry.loading import set_aside
from app.registry.sealing import SINCE, seal_anew
from app.runtime.restored import Held, carry_over, hold

_BESIDE = ("-wal", "-shm")


def restore(settings: Settings, file: Path, *, nothing_since: bool) -> int:
    """Restore. Status 1: the backup is damaged, and nothing was changed.

    Raises Failed `backup_not_here`, `backup_unreadable`, `database_too_new`, Conflict `already_running`.
    """
    target = embedded(settings, "pg_restore --clean --if-exists --dbname=URL FILE")
    with home_of_our_own(settings.home), _nobody_at(target), tempfile.TemporaryDirectory(prefix="restore-", dir=target.parent) as name:
        folder = Path(name)
        try:
            manifest = bundle.unpack(file, folder)
            say(f"{file}: taken at {iso(manifest.taken_at)} by toolmint {manifest.toolmint}, schema {manifest.revision}")
            database = _checked(folder)
        except Invalid as error:
            complain(error)
            return REFUSED
        try:
            carried = carry_over(database, target) if target.exists() else None
            held = None if nothing_since else hold(database, manifest.taken_at)
            _note(database, manifest, held, carried)
        finally:
            database.close()
        aside = _swap(settings, folder, target)
        moved = _put_tools_aside(settings, aside)
        _seal_older(settings, manifest)
    _tell(manifest, held, carried, aside, moved)
    return DONE


@contextmanager
def _nobody_at(target: Path) -> Iterator[None]:
    """Raise Conflict `already_running` while a process holds a lease there: web and worker may run without `toolmint up`."""
    live = 0
    if target.exists():
        database = Database(f"sqlite:///{target}")
        with suppress(sa.exc.SQLAlchemyError):  # one that is damaged has nobody who works on it
            live = owners.alive(database, "web") + owners.alive(database, "worker")
        database.close()
    if live:
        raise Conflict(
            "already_running",
            f"{live} process(es) of Toolmint work on {target}.",
            fix="Stop them; one that was killed is forgotten after its lease, 15 seconds.",
        )
    yield


def _checked(folder: Path) -> Database:
    """The unpacked database at this release's schema. Raises Invalid `backup_invalid`, Failed `database_too_new`."""
    path = folder / bundle.DATABASE
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute("PRAGMA integrity_check(3)").fetchall()
    except sqlite3.DatabaseError as error:
        found = [(str(error),)]
    if found != [("ok",)]:
        raise _damaged(f"the integrity check found: {'; '.join(str(row[0]) for row in found)}")
    database = Database(f"sqlite:///{path}")
    try:
        done = migration.migrate(database, folder / "backups")
        report = verify_chain(database, CHAIN)
        if report.broken is not None:
            raise _damaged(f"its audit chain is broken at link {report.broken.link}: {report.broken.what}, {report.broken.detail}")
    except BaseException:
        database.close()
        raise
    say(f"Intact: integrity, digests, audit chain of {report.links} links")
    if done.before != done.after:
        say(f"Migrated from {done.before} to {done.after}")
    return database


def _damaged(why: str) -> Invalid:
    return Invalid("backup_invalid", f"This backup cannot be used: {why}.", fix="Take another one; nothing was changed.")


def _note(database: Database, manifest: bundle.Manifest, held: Held | None, carried: int | None) -> None:
    with database.writing() as session:
        taken_at = iso(manifest.taken_at)
        audit.record(session, SYSTEM, "database.restored", "toolmint.db", "done", taken_at=taken_at, held=held is not None, carried=carried)


def _swap(settings: Settings, folder: Path, target: Path) -> Path:
    """Put the restored files in place, each by a rename, and keep those that were there; returns the folder of these."""
    aside = target.parent / f"replaced-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S.%f')}"
    aside.mkdir(mode=0o700)
    if target.exists():
        _settle(target)
        (aside / target.name).hardlink_to(target)
        for end in _BESIDE:  # what could not be written back into it goes with it
            with suppress(FileNotFoundError):
                Path(f"{target}{end}").rename(aside / f"{target.name}{end}")
    _settle(folder / bundle.DATABASE)
    (folder / bundle.DATABASE).replace(target)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if str(name) not in bundle.KEYS and name.parts[0] != bundle.SECRETS:
            continue
        here = settings.home / name
        here.parent.mkdir(exist_ok=True, mode=0o700)
        if here.exists():
            (aside / name).parent.mkdir(exist_ok=True, mode=0o700)
            here.rename(aside / name)
        path.rename(here)
    return aside


def _settle(path: Path) -> None:
    """Have SQLite write its log back into the file."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _put_tools_aside(settings: Settings, aside: Path) -> int:
    database = Database(settings.database)
    try:
        return set_aside(database, settings.tools_dir, aside / "tools")
    finally:
        database.close()


def _seal_older(settings: Settings, manifest: bundle.Manifest) -> None:
    """Seal the versions of a backup from before there were evidence bundles; where there is no key yet, the first start does it."""
    keys = Keyring(settings.home)
    if manifest.revision >= SINCE or not keys.made:
        return
    with closing(Database(settings.database)) as database:
        say(f"{len(seal_anew(database, keys, 'upgraded'))} published version(s) had no evidence bundle yet and are sealed as they are")


def _tell(manifest: bundle.Manifest, held: Held | None, carried: int | None, aside: Path, moved: int) -> None:
    say(f"Restored. What was there before is in {aside}")
    if moved:
        say(f"{moved} published folder(s) that are not in this backup lie there too.")
    if carried:
        say(f"{carried} effects that the replaced database knew to be done since are done here too, so that no call does them again.")
    if held is None:
        say("Runs and effects go on where the backup had them: you said that nothing was performed after it was taken.")
        return
    known = "" if carried is not None else " The replaced database, if there was one, could not tell either."
    say(f"WHAT WAS PERFORMED AFTER {iso(manifest.taken_at)} IS NOT KNOWN HERE.{known} So nothing goes on by itself:")
    say(f"  - everything is paused: {held.paused} tenant(s)")
    say(f"  - {held.runs} run(s) that were under way are cancelled; call again for what is still to be done")
    say(f"  - {held.unknown} effect(s) that waited are unknown until somebody decides")
    say("Start the service, decide on the unknown effects (dashboard: Queues), compare with your providers' logs, then end the pause.")
