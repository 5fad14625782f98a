"""What this process knows of the evidence of versions: vouched for once and remembered, or refused, and told once for each
way of being wrong.

It refuses to be: a second opinion. What disagrees is found in `agreement`; here it is remembered, audited and counted.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NoReturn

from app.core.actor import SYSTEM, Actor
from app.core.db import Database
from app.core.errors import Conflict, ToolmintError
from app.core.signing import Keyring
from app.observability import audit, metrics
from app.registry import repository
from app.registry.agreement import readable, vouched
from app.registry.evidence import GUEST_SPEC, REPORT, Bundle
from app.registry.models import Version
from app.registry.proof import Proof, proof_in
from app.runtime.program import EffectRule
from app.spec.model import ExecutionSpec
from app.spec.schemas import validators

Key = tuple[str, str, int]
LOOK_AGAIN_MS = 100
"""How long a refusal counts without another look, so that calls of a refused version cost others nothing."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """What holds of a version: the digests of its artifact, of its report and of its bundle, the key that signed, the guests' spec, and
    the proof of its hints, if its report has one.
    """

    artifact: str
    report: str
    bundle: str
    key_id: str
    spec: ExecutionSpec
    proof: Proof | None = None


class Vouching:
    """One per process and database; safe to use from any thread."""

    def __init__(self, database: Database, keys: Keyring) -> None:
        self.database = database
        self.keys = keys
        self.look_again_ms = LOOK_AGAIN_MS
        self._vouched: dict[Key, Vouched] = {}
        self._refused: dict[Key, tuple[int, ToolmintError]] = {}
        self._told: dict[Key, Hashable] = {}

    def __call__(self, row: Version) -> Vouched:
        """What holds of this version.

        Raises Conflict with the code of what disagrees or `version_outdated` (audited), Failed `evidence_key_exposed` and such.
        """
        key = (row.tenant, row.tool, row.version)
        known = self._vouched.get(key)
        if known is not None and known.artifact == row.digest:
            return known
        self._still_refused(key)
        try:
            found = self._look(row)
        except Conflict as error:
            self._refused[key] = (self.database.clock.monotonic(), error)
            self.refuse(row, error, (error.code, error.detail))
        self._vouched[key] = found
        self._refused.pop(key, None)
        return found

    def outcome(self, row: Version) -> Vouched | ToolmintError:
        """What holds of this version, or why it is refused."""
        try:
            return self(row)
        except ToolmintError as error:
            return error

    def refuse(self, row: Version, error: ToolmintError, state: Hashable) -> NoReturn:
        """Raise `error`, audited and counted once for each state, or a caller could fill the trail."""
        key = (row.tenant, row.tool, row.version)
        if self._told.get(key, key) != state:
            self._told[key] = state
            metrics.REFUSED_VERSIONS.labels(error.code).inc()
            actor = Actor(SYSTEM.id, SYSTEM.name, row.tenant, frozenset())
            detail = {"code": error.code, "problems": error.data.get("problems", []), "digest": row.digest}
            with self.database.writing() as session:
                audit.record(session, actor, "artifact.loaded", f"{row.tool}/{row.version}", "refused", **detail)
        raise error

    def forgive(self, key: Key) -> None:
        """The version has loaded: tell again if it is refused again."""
        self._told.pop(key, None)

    def _still_refused(self, key: Key) -> None:
        at, error = self._refused.get(key, (0, None))
        if error is not None and self.database.clock.monotonic() - at < self.look_again_ms:
            raise Conflict(error.code, error.detail, fix=error.fix, data=error.data)

    def _look(self, row: Version) -> Vouched:
        trusted = self.keys.trusted()
        with self.database.reading() as session:
            return _read(row, vouched(session, row, trusted))


def refused_versions(database: Database, keys: Keyring) -> dict[str, str]:
    """Every version that would not load here for what its evidence says, as `tenant/tool/version` → code. Audits nothing."""
    trusted, found = keys.trusted(), {}
    with database.reading() as session:
        for row in repository.all_versions(session):
            try:
                _read(row, vouched(session, row, trusted))
            except Conflict as error:
                found[f"{row.tenant}/{row.tool}/{row.version}"] = error.code
    return found


def read_spec(bundle: Bundle) -> ExecutionSpec:
    """The spec that runs, with all that is compiled of it to run. Raises one of `ODD` where this release cannot."""
    spec = ExecutionSpec.parse(bundle.members[GUEST_SPEC])
    _ = validators(spec), [EffectRule.of(effect) for effect in spec.effects]
    return spec


def _read(row: Version, bundle: Bundle) -> Vouched:
    with readable(row):
        spec, proof = read_spec(bundle), proof_in(json.loads(bundle.members[REPORT]))
    return Vouched(row.digest, bundle.statement.report_digest, bundle.digest, bundle.signature.key_id, spec, proof)
