"""The first key: the operator's, with every permission, from `TOOLMINT_ADMIN_KEY` or made at the first start.

It refuses to be: printed here. The caller shows a new key once and names the file that holds it.
"""

from __future__ import annotations

from pathlib import Path

from app.access import repository
from app.access.authentication import forget
from app.access.keys import digest_of, key_text
from app.access.models import ApiKey
from app.core import private_files
from app.core.actor import DEFAULT_TENANT, EVERYTHING, SYSTEM
from app.core.db import Database, now
from app.core.errors import Invalid, Problem
from app.core.settings import Settings
from app.observability import audit

ADMIN_ID = "key_admin"
_SHORTEST = 8


def ensure_admin(database: Database, settings: Settings) -> Path | None:
    """Make sure that the operator can get in. Returns the file of a key that was made just now, else None.

    The setting wins over the file, the file over what is stored, so that either can be replaced to get in again; a
    revoked key stays revoked until its text is replaced. Raises Invalid `settings_invalid` for a text too short to be secret.
    """
    path = settings.home / "admin.key"
    with database.writing() as session:
        repository.add_tenant(session, DEFAULT_TENANT)
        row = repository.key_by_id(session, ADMIN_ID)
        text, made = settings.admin_key or _kept(path), False
        if not text:
            if row is not None:
                return None
            text, made = _made(path)
        _check(text)
        digest = digest_of(text)
        if row is None:
            row = ApiKey(
                id=ADMIN_ID,
                tenant=DEFAULT_TENANT,
                name="admin",
                digest=digest,
                permissions=[EVERYTHING],
                created_at=now(session),
                created_by=SYSTEM.id,
            )
            repository.add_key(session, row)
            audit.record(session, SYSTEM, "key.created", ADMIN_ID, "done", name="admin", permissions=[EVERYTHING])
        elif row.digest != digest:
            forget(database, row.digest)
            repository.change_key(session, ADMIN_ID, {"digest": digest, "revoked_at": None})
            audit.record(session, SYSTEM, "key.replaced", ADMIN_ID, "done", name="admin")
    return path if made else None


def _kept(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def _made(path: Path) -> tuple[str, bool]:
    """The text in the file, and whether it was made here and not by a process that was faster."""
    text = key_text(ADMIN_ID.replace("admin", "0" * 26))
    if not private_files.make_once(path, f"{text}\n"):
        if kept := _kept(path):
            return kept, False
        private_files.replace(path, f"{text}\n")  # there it was, and empty
    return text, True


def _check(text: str) -> None:
    if len(text) < _SHORTEST or not text.isascii() or not text.isprintable() or " " in text:
        problem = Problem(
            "TOOLMINT_ADMIN_KEY", f"must be at least {_SHORTEST} printable ASCII characters without spaces", "Use a long random text."
        )
        raise Invalid("settings_invalid", "Some settings are wrong.", problems=[problem])
