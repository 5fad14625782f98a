"""A backup as one file: a tar of a manifest, a copy of the embedded database, and the few files of HOME that it needs.

The copy is taken by SQLite itself (`VACUUM INTO`) in one read transaction: consistent under load, compact, and without remnants of what
was pruned. The file is written beside its final name and put there whole, readable by its owner only: it holds keys.

It refuses to be: an archive of everything. Published tools are written again from the database; logs, metrics and Redis are not state.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from app.core.errors import Conflict, Failed, Invalid

FORMAT = 1
DATABASE = "toolmint.db"
KEYS = ("admin.key", "connections.key", "evidence.key", "evidence.trusted")
SECRETS = "secrets"
_MANIFEST = "manifest.json"
_MOST_MANIFEST = 1_000_000
_MOST_KEY = 100_000
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a backup: its size in bytes and the SHA-256 (hex) of its content."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is: which release took it, at which schema revision, when (ms), and its files by name."""

    toolmint: str
    revision: str
    taken_at: int
    files: Mapping[str, Member]


def write(source: Path, home: Path, target: Path, facts: tuple[str, str, int], *, force: bool = False) -> Manifest:
    """Back up the database file `source` and the keys in `home` to `target`; `facts` are release, revision and time (ms).

    Raises Conflict `backup_exists` unless `force`, Failed `backup_failed`.
    """
    if target.exists() and not force:
        raise _exists(target)
    draft, copy = _beside(target, "draft"), _beside(target, "copy")
    try:
        _copy(source, copy)
        files = {DATABASE: copy, **_keys_of(home)}
        manifest = Manifest(*facts, {name: _measured(path) for name, path in files.items()})
        with _private(draft) as file, tarfile.open(fileobj=file, mode="w|") as tar:
            _add(tar, _MANIFEST, json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1).encode())
            for name, path in files.items():
                with path.open("rb") as content:
                    tar.addfile(_header(name, manifest.files[name].bytes), content)
        _put(draft, target, force)
    except (OSError, sqlite3.Error) as error:
        raise Failed(
            "backup_failed", f"The backup could not be written: {error}.", fix="See that there is room and a right to write."
        ) from None
    finally:
        for path in (draft, copy):
            path.unlink(missing_ok=True)
    return manifest


def unpack(bundle: Path, folder: Path) -> Manifest:
    """Unpack into the empty `folder`, by the manifest and nothing else. Raises Invalid `backup_invalid`, Failed `backup_unreadable`."""
    try:
        with tarfile.open(bundle, mode="r|") as tar:
            manifest = _manifest(tar)
            found = set()
            while (member := tar.next()) is not None:
                _take(tar, member, manifest, folder)
                found.add(member.name)
    except FileNotFoundError:
        raise Failed("backup_unreadable", f"There is no file {bundle}.", fix="Name the file that `toolmint backup` wrote.") from None
    except (tarfile.TarError, EOFError) as error:
        raise _invalid(f"it is no backup, or it is cut short ({error})") from None
    except OSError as error:
        raise Failed(
            "backup_unreadable", f"{bundle} cannot be unpacked: {error}.", fix="See that it can be read and that there is room."
        ) from None
    missing = set(manifest.files) - found
    if missing or DATABASE not in found:
        raise _invalid(f"{', '.join(sorted(missing)) or DATABASE} is missing from it")
    return manifest


def _manifest(tar: tarfile.TarFile) -> Manifest:
    first = tar.next()
    stream = tar.extractfile(first) if first is not None and first.name == _MANIFEST and first.size <= _MOST_MANIFEST else None
    if stream is None:
        raise _invalid("it does not begin with a manifest")
    try:
        told = json.loads(stream.read())
        if told.pop("format") != FORMAT:
            raise _invalid("a later release wrote it")
        files = {name: Member(**member) for name, member in told.pop("files").items()}
        return Manifest(files=files, **told)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _invalid("its manifest cannot be read") from None


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, manifest: Manifest, folder: Path) -> None:
    wanted = manifest.files.get(member.name)
    stream = tar.extractfile(member) if wanted is not None and _expected(member.name) and member.isreg() else None
    if wanted is None or stream is None or member.size != wanted.bytes:
        raise _invalid(f"{member.name!r} does not belong into it")
    path = folder / member.name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    seen = hashlib.sha256()
    with _private(path) as file:
        while piece := stream.read(_PIECE):
            seen.update(piece)
            file.write(piece)
    if seen.hexdigest() != wanted.sha256:
        raise _invalid(f"{member.name} is not what was backed up")


def _expected(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name == DATABASE or name in KEYS or (len(parts) == 2 and parts[0] == SECRETS and parts[1] not in {".", ".."})


def _keys_of(home: Path) -> dict[str, Path]:
    found = {name: home / name for name in KEYS if (home / name).is_file()}
    secrets = home / SECRETS
    if secrets.is_dir():
        small = [path for path in sorted(secrets.iterdir()) if path.is_file() and path.stat().st_size <= _MOST_KEY]
        found |= {f"{SECRETS}/{path.name}": path for path in small}
    return found


def _copy(source: Path, copy: Path) -> None:
    with _private(copy):
        pass  # it is made before SQLite opens it, so that nobody else may read it for a moment
    with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=30, isolation_level=None)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))


def _measured(path: Path) -> Member:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Member(file.tell(), digest.hexdigest())


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o600
    return header


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_header(name, len(content)), io.BytesIO(content))


@contextmanager
def _private(path: Path) -> Iterator[io.BufferedWriter]:
    """A new file that only its owner may read, on the disk at the end of the block."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _put(draft: Path, target: Path, force: bool) -> None:
    if force:
        draft.replace(target)
    else:
        try:
            target.hardlink_to(draft)
        except FileExistsError:
            raise _exists(target) from None
    with suppress(OSError):  # a file system that cannot sync a folder keeps its promises or does not
        handle = os.open(target.parent, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def _beside(target: Path, what: str) -> Path:
    return target.absolute().with_name(f".{target.name}.{os.getpid()}.{what}")


def _exists(target: Path) -> Conflict:
    return Conflict("backup_exists", f"{target} is there already.", fix="Name another file, or pass --force to replace it.")


def _invalid(why: str) -> Invalid:
    return Invalid("backup_invalid", f"This backup cannot be used: {why}.", fix="Take another one; nothing was changed.")
