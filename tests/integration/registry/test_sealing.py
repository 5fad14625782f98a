"""Which keys sign and are believed, what is sealed and when, and what a first start does."""

from __future__ import annotations

import fcntl
import multiprocessing
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import ClassVar

import pytest

from app.core import private_files
from app.core.db import Database
from app.core.signing import KEY_FILE, TRUSTED_FILE, FirstKey, Keyring, holds
from app.registry import repository
from app.registry.catalog import Catalog
from app.registry.evidence import Bundle
from app.registry.reading import read_bundle, read_tool
from app.registry.sealing import seal, seal_anew, seal_former
from app.registry.vouching import refused_versions
from tests.support.evidence import ITS_CANDIDATE, ITS_DIGEST, OF_SECOND, TOOL, VERSION, change, code_of, refusals, started
from tests.support.published import OPERATOR, counter_spec, release
from tests.support.worlds import PURE


def test_with_a_new_key_what_the_former_signed_loads_and_with_a_lost_one_until_it_is_believed_again(catalog: Catalog) -> None:
    keys = catalog.keys
    former, new = keys.rotate()
    release(catalog, counter_spec("later_notes"))
    assert keys.trusted() == (new, former) and started(catalog).load(*VERSION).version == 1
    assert Bundle.decode(read_bundle(OPERATOR, catalog, "later_notes", 1)).signature.public_key == new
    (keys.home / TRUSTED_FILE).unlink()
    assert code_of(lambda: started(catalog).load(*VERSION)) == "bundle_signer_unknown"
    assert started(catalog).load("default", "later_notes", 1).version == 1
    assert keys.trust(f"{former}\n") and not keys.trust(former)
    assert started(catalog).load(*VERSION).version == 1


def test_a_lost_home_seals_nothing_by_itself_and_an_operator_may(catalog: Catalog) -> None:
    shutil.rmtree(catalog.keys.home)
    assert seal_former(catalog.database, catalog.keys) == 0 and catalog.keys.made
    assert set(refused_versions(catalog.database, catalog.keys).values()) == {"bundle_signer_unknown"}
    change(catalog.database, f"UPDATE candidate SET report = NULL WHERE id = {ITS_CANDIDATE}")
    assert seal_anew(catalog.database, catalog.keys) == ["count_notes/1", "send_notes/2"], "what contradicts itself is not sealed"
    assert seal_anew(catalog.database, catalog.keys) == []
    assert refused_versions(catalog.database, catalog.keys) == {"default/send_notes/1": "bundle_signer_unknown"}
    assert Bundle.decode(read_bundle(OPERATOR, started(catalog), TOOL, 2)).statement.sealed.why == "sealed anew"
    assert refusals(catalog.database, "version.sealed")[:2] == [
        ("count_notes/1", "done", ""),
        ("send_notes/1", "refused", "evidence_incomplete"),
    ]


def test_what_was_published_before_there_were_bundles_is_sealed_once_before_the_first_key(catalog: Catalog) -> None:
    shutil.rmtree(catalog.keys.home)
    change(catalog.database, "DELETE FROM evidence_bundle")
    change(catalog.database, "UPDATE artifact_file SET content = '' WHERE path = 'tool.py' AND digest = " + ITS_DIGEST)
    assert seal_former(catalog.database, catalog.keys) == 2
    assert refused_versions(catalog.database, catalog.keys) == {"default/send_notes/1": "bundle_missing"}, "no evidence for what was edited"
    assert Bundle.decode(read_bundle(OPERATOR, started(catalog), TOOL, 2)).statement.sealed.why == "upgraded"
    change(catalog.database, f"DELETE FROM evidence_bundle WHERE {OF_SECOND}")
    assert seal_former(catalog.database, catalog.keys) == 0, "never again: a missing bundle was taken away"
    assert code_of(lambda: started(catalog).load("default", TOOL, 2)) == "bundle_missing"


def test_a_process_that_dies_while_it_seals_leaves_the_key_to_the_next(catalog: Catalog) -> None:
    shutil.rmtree(catalog.keys.home)
    change(catalog.database, "DELETE FROM evidence_bundle")
    with pytest.raises(KeyboardInterrupt), catalog.keys.first() as signer:
        assert signer is not None
        first = signer.public_key()
        with catalog.database.writing() as session:
            row = repository.version(session, *VERSION)
            assert row is not None
            kept = seal(session, signer, row, "upgraded").digest
            again = row
            assert code_of(lambda: seal(session, signer, again, "upgraded")) == "evidence_incomplete", "what is kept is not replaced"
        raise KeyboardInterrupt
    assert not catalog.keys.made
    assert seal_former(catalog.database, catalog.keys) == 2, "what it sealed is not sealed, nor said to be sealed, again"
    assert catalog.keys.public_key() == first and refused_versions(catalog.database, catalog.keys) == {}
    assert Bundle.decode(read_bundle(OPERATOR, started(catalog), TOOL, 1)).digest == kept
    assert [target for target, *_ in refusals(catalog.database, "version.sealed")] == ["count_notes/1", "send_notes/2"]
    assert not (catalog.keys.home / "evidence.key.first").exists()


def test_processes_that_start_for_the_first_time_at_once_seal_each_version_once_with_one_key(catalog: Catalog) -> None:
    shutil.rmtree(catalog.keys.home)
    change(catalog.database, "DELETE FROM evidence_bundle")
    together = threading.Barrier(3)

    def start(_: int) -> int:
        with closing(Database(f"sqlite:///{catalog.database.path}", durable=False)) as database:
            together.wait()
            return seal_former(database, Keyring(catalog.keys.home))

    with ThreadPoolExecutor(3) as pool:  # locks of files keep threads apart as they do processes
        assert sorted(pool.map(start, range(3))) == [0, 0, 3]
    assert refused_versions(catalog.database, catalog.keys) == {}
    assert [outcome for _, outcome, _ in refusals(catalog.database, "version.sealed")] == ["done"] * 3


class _Watched(Keyring):
    """Fails where somebody waits for the first key in a transaction, for which whoever makes it may wait in turn."""

    database: ClassVar[Database]

    @contextmanager
    def first(self) -> Iterator[FirstKey | None]:
        with Path(f"{self.database.path}.write-lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with super().first() as key:
            yield key


def test_nobody_waits_for_the_first_key_in_a_transaction(catalog: Catalog) -> None:
    keys = _Watched(catalog.keys.home)
    _Watched.database = catalog.database
    other = Catalog(catalog.database, catalog.tools_dir, catalog.kinds, keys)
    for attempt in (partial(seal_anew, catalog.database, keys), partial(seal_former, catalog.database, keys), partial(release, other)):
        shutil.rmtree(keys.home)
        attempt()
        assert keys.made


def test_nothing_is_published_whose_evidence_cannot_be_signed(catalog: Catalog) -> None:
    (catalog.keys.home / KEY_FILE).chmod(0o644)
    assert code_of(lambda: release(catalog, source=PURE + "# again\n")) == "evidence_key_exposed"
    assert [row["version"] for row in read_tool(OPERATOR, catalog, "count_notes")["versions"]] == [1]
    assert code_of(lambda: started(catalog).load(*VERSION)) == "evidence_key_exposed"
    (catalog.keys.home / KEY_FILE).chmod(0o600)
    assert started(catalog).load(*VERSION).version == 1


def _sign(home: Path, start: Barrier, said: multiprocessing.Queue[str]) -> None:
    start.wait()
    said.put(Keyring(home).sign(b"x").public_key)


def test_processes_that_need_the_first_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, said = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_sign, args=(tmp_path / "home", start, said)) for _ in range(4)]
    for process in processes:
        process.start()
    assert len({said.get(timeout=30) for _ in processes}) == 1
    for process in processes:
        process.join()
    assert not (tmp_path / "home" / "evidence.key.first").exists()


def test_keys_that_others_may_have_touched_or_that_are_none_are_refused(tmp_path: Path) -> None:
    keys = Keyring(tmp_path)
    signature = keys.sign(b"message")
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert holds(signature, b"message") and not holds(signature, b"another") and keys.public_key() == signature.public_key
    for text in ("", "0" * 63, "G" * 64, "A" * 64, signature.public_key + "0"):
        assert code_of(partial(keys.trust, text)) == "public_key_invalid"
    private_files.replace(tmp_path / TRUSTED_FILE, "0" * 64 + "\n")
    (tmp_path / TRUSTED_FILE).chmod(0o666)
    assert code_of(keys.trusted) == "evidence_key_exposed"
    private_files.replace(tmp_path / TRUSTED_FILE, "what is this\n")
    assert code_of(keys.trusted) == "evidence_key_broken"
    private_files.replace(tmp_path / KEY_FILE, "short\n")
    assert code_of(lambda: keys.sign(b"x")) == "evidence_key_broken"
