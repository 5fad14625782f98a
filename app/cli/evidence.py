"""`toolmint verify-bundle FILE`: whether an evidence bundle is what a believed key signed, from the file alone; no server, no database.

`toolmint evidence …`: the keys of this installation, for an operator at its home.

It refuses to be: convinced by a bundle. That it holds together shows nothing about who made it; that needs a key known by another way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from app.cli.output import DONE, REFUSED, remark, say, show
from app.core import migration
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.errors import Conflict, Failed, Invalid
from app.core.settings import Settings
from app.core.signing import KEY_FILE, TRUSTED_FILE, Keyring, checked_public_key, key_id
from app.observability import audit
from app.registry.evidence import MOST_BYTES, Bundle
from app.registry.examining import Seen, examine, told
from app.registry.sealing import seal_anew

_MOST_KEY_BYTES = 4096


def verify_bundle(settings: Settings, file: Path, keys: Sequence[str], *, as_json: bool) -> int:
    """Print each check. Status 0: it holds together and a believed key signed it; 1: not so.

    `keys`: public keys, or files that hold one; with none given, those of the installation in TOOLMINT_HOME are believed.
    Raises Failed `bundle_not_readable`, Invalid `public_key_invalid`.
    """
    believed = tuple(_key(text) for text in keys) or Keyring(settings.home).trusted()
    content = _read(file, MOST_BYTES + 1)
    try:
        bundle = Bundle.decode(content)
    except Invalid as error:
        seen = [Seen("form", "", (error.detail,))]
        return _told(None, seen, as_json)
    by_whom = "a key that was given" if keys else "a key of this installation"
    wrong = () if bundle.signature.public_key in believed else ("nobody here believes the key that it names: anyone could have signed it",)
    signer = Seen("signer", f"{bundle.signature.key_id} is {by_whom}", wrong)
    form = Seen("form", f"one spelling of {bundle.statement.format}, {len(content)} bytes", ())
    return _told(bundle, [form, signer, *examine(bundle)], as_json)


def show_key(settings: Settings) -> int:
    """Print this installation's public key alone; what else is believed, beside it. Raises Conflict `evidence_key_missing`."""
    keys = Keyring(settings.home)
    own = keys.public_key()
    if own is None:
        raise Conflict("evidence_key_missing", f"There is no {KEY_FILE} in {settings.home}.", fix="It is made at the first start.")
    say(own)
    remark(f"key {key_id(own)}; give it to those who verify bundles, by a way that they trust")
    for other in keys.trusted()[1:]:
        remark(f"also believed ({TRUSTED_FILE}): {other} (key {key_id(other)})")
    return DONE


def trust(settings: Settings, key: str) -> int:
    """Believe another public key. Raises Invalid `public_key_invalid`."""
    public, keys = _key(key), Keyring(settings.home)
    already = ", as before" if public in keys.trusted() else ""
    if not already:
        with _audited(settings, "evidence.key_trusted", key_id(public)):
            keys.trust(public)
    say(f"Versions that key {key_id(public)} sealed load here{already}, until its line in {TRUSTED_FILE} is removed.")
    return DONE


def rotate(settings: Settings) -> int:
    """Sign with a new key from now on. Raises Conflict `evidence_key_missing`."""
    with _audited(settings, "evidence.key_rotated", "evidence.key"):
        former, new = Keyring(settings.home).rotate()
    say(f"Bundles are signed by key {key_id(new)} from now on.")
    say(f"What key {key_id(former)} signed still loads, by its line in {TRUSTED_FILE}. If somebody else may have had that key:")
    say("remove the line, look through what then does not load, and if you believe it: toolmint evidence seal")
    return DONE


def seal(settings: Settings) -> int:
    """Seal what has no bundle by a believed key, as it is stored now."""
    with _opened(settings) as database:
        done = seal_anew(database, Keyring(settings.home))
    for target in done:
        say(f"sealed  {target}")
    note = "their bundles say so; what is stored was believed as it is, only its digests were compared" if done else "nothing to do"
    say(f"{len(done)} version(s) sealed anew: {note}.")
    return DONE


def _told(bundle: Bundle | None, seen: Sequence[Seen], as_json: bool) -> int:
    holds = bundle is not None and not any(check.problems for check in seen)
    if as_json:
        show(_as_json(bundle, seen, holds))
    else:
        for line in _lines(bundle, seen, holds):
            say(printable(line))
    return DONE if holds else REFUSED


def _lines(bundle: Bundle | None, seen: Sequence[Seen], holds: bool) -> Iterator[str]:
    if bundle is not None:
        said = bundle.statement
        yield f"{said.tool} version {said.version} (tenant {said.tenant}), published {said.published.at} by {said.published.by}"
    for check in seen:
        yield f"{'FAILED ' if check.problems else 'ok     '}  {check.check:<10} {'; '.join(check.problems) or check.establishes}"
    if bundle is not None and not any(check.problems for check in seen if check.check != "signer"):
        yield from _facts(bundle)
    yield "Verified." if holds else "NOT VERIFIED."


def _facts(bundle: Bundle) -> Iterator[str]:
    said = bundle.statement
    try:
        facts = told(bundle)
    except RecursionError:  # a few levels more than were met when it was examined
        yield "facts      nested too deep to be shown"
        return
    left_out = sorted(said.members.keys() - bundle.members.keys())
    if left_out:
        yield f"left out   {', '.join(left_out)}: only for readers with specs:held_out; their SHA-256 is signed"
    yield f"sealed     {said.sealed.at} by toolmint {said.sealed.toolmint}, {said.sealed.why}"
    yield f"gates      {len(facts['gates'])} passed: {', '.join(facts['gates'])}"
    yield f"scores     {', '.join(f'{name} {score:g} of at least {least:g}' for name, (score, least) in facts['scores'].items())}"
    for row in facts["decisions"]:
        yield f"decision   {row['decision']} by {row['actor']}"
    yield f"usage      {_usage(facts['usage'])}"
    yield f"made with  {_versions(facts['verified_with'])}"
    yield f"digest     {bundle.digest}"


def _usage(usage: dict[str, Any] | None) -> str:
    if usage is None:
        return "not generated here"
    return f"{len(usage['calls'])} answer(s) of a model, {'of unknown price' if usage['usd'] is None else usage['usd'] + ' USD'}"


def _versions(tools: Any) -> str:
    if not isinstance(tools, dict):
        return "not recorded"
    versions = {name: facts.get("version") for name, facts in tools.items() if isinstance(facts, dict)}
    return ", ".join(f"{name} {version}" if isinstance(version, str) else name for name, version in versions.items())


def _as_json(bundle: Bundle | None, seen: Sequence[Seen], holds: bool) -> dict[str, Any]:
    checks = [{"check": check.check, "ok": not check.problems, "problems": list(check.problems)} for check in seen]
    if bundle is None:
        return {"verified": holds, "digest": None, "signer": None, "checks": checks, "statement": None}
    signer = {"public_key": bundle.signature.public_key, "key_id": bundle.signature.key_id}
    return {
        "verified": holds,
        "digest": bundle.digest,
        "signer": signer,
        "checks": checks,
        "statement": bundle.statement.model_dump(),
    }


def printable(line: str) -> str:
    """The line without what would move a terminal: a bundle of a stranger may say anything."""
    return "".join(letter if letter.isprintable() else "�" for letter in line)


def _key(text: str) -> str:
    path = Path(text)
    return checked_public_key(_read(path, _MOST_KEY_BYTES).decode(errors="replace") if len(text) < 64 or "/" in text else text)


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise Failed("bundle_not_readable", f"{path} cannot be read: {error.strerror}.", fix="Name a file that is there.") from None


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    with closing(Database(settings.database)) as database:
        migration.check(database)
        yield database


@contextmanager
def _audited(settings: Settings, action: str, target: str) -> Iterator[None]:
    """Note what is done in the block, in a transaction that is open meanwhile: where it cannot be noted, it is not done."""
    with _opened(settings) as database, database.writing() as session:
        audit.record(session, SYSTEM, action, target, "done")
        yield
