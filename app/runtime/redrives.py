"""Decisions about many effects at once: dead letters sent round again, verdicts on unknowns.

A decision is a row. What it is about is either named or matches a filter, pinned to the newest event of the moment: what dies after
a redrive was asked for is not swept in. Its first part is carried out with the asking; the rest, 500 effects a transaction, by
whichever worker comes by, so that a crash costs nothing but time. Until then it can be cancelled, between two parts.

It refuses to be: the retry queue. Nothing is performed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlmodel import Session, col, select

from app.access.permissions import use_case
from app.core import feed, ids, outbox
from app.core.actor import Actor
from app.core.clock import iso
from app.core.db import CHUNK, Database, again, now
from app.core.errors import Conflict, Invalid, NotFound, Problem
from app.core.faults import fault
from app.core.indexes import in_index
from app.core.pages import Page, page
from app.observability import audit
from app.runtime.models import BulkDecision
from app.runtime.process import Loader
from app.runtime.program import Program
from app.runtime.repository import bulk
from app.runtime.repository.bulk import Shift, Wanted
from app.runtime.verdicts import BEFORE, Kind, check_verdict, redriven, resolved
from app.runtime.visibility import WATCHERS

JOB = "carry_out_decision"
MOST_IDS = 1000
STATES = ("running", "completed", "cancelled")
_NAMES = {"redrive": "dead letters", "resolution": "unknowns"}


class Releases(Protocol):
    """Published versions of tools on a database."""

    @property
    def database(self) -> Database: ...

    @property
    def load(self) -> Loader: ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Effects by id, or, with None for `ids`, all that match the rest. `mark`: only what has not moved since a caller looked."""

    ids: tuple[str, ...] | None = None
    tool: str | None = None
    effect: str | None = None
    error_code: str | None = None
    mark: int | None = None


@use_case("effects:resolve")
def redrive_effects(actor: Actor, releases: Releases, selection: Selection, reason: str, version: int | None = None) -> dict[str, Any]:
    """Send dead letters round again, on the version that failed or on a published one that mends it. Returns the redrive.

    With `version` their rows move to it: its config and retry policy hold from now on, the key stays. Raises Invalid
    `reason_invalid`, `selection_invalid`, `version_unfit`, NotFound `effect_not_found`, `version_not_found`, Conflict
    `effect_not_dead`, `artifact_altered`.
    """
    check_verdict(None, reason)
    database = releases.database
    decision = _prepare(actor, database, "redrive", selection, reason)
    if version is not None:
        decision.version = version
        decision.policies = _policies(actor, releases, decision, selection, version)
    return _decide(actor, database, decision, selection)


@use_case("effects:resolve")
def resolve_effects(actor: Actor, database: Database, selection: Selection, verdict: str, reason: str) -> dict[str, Any]:
    """Give one verdict on many unknowns. Returns the resolution.

    Raises Invalid `verdict_invalid`, `selection_invalid`, NotFound `effect_not_found`, Conflict `effect_not_unknown`.
    """
    check_verdict(verdict, reason)
    decision = _prepare(actor, database, "resolution", selection, reason)
    decision.verdict = verdict
    return _decide(actor, database, decision, selection)


@use_case("effects:resolve")
@again
def cancel_decision(actor: Actor, database: Database, decision_id: str, kind: Kind | None = None) -> dict[str, Any]:
    """End a decision that is being carried out: what it has moved stays so, the rest stays where it is. Returns the decision.

    Raises NotFound `redrive_not_found`, `resolution_not_found`, Conflict `decision_over`.
    """
    with database.writing() as session:
        decision = session.get(BulkDecision, decision_id, with_for_update=True)
        if decision is None or decision.tenant != actor.tenant or kind not in (None, decision.kind):
            raise _no_decision(decision_id, kind)
        if decision.state != "running":
            said = f"This {decision.kind} is {decision.state}: there is nothing to cancel."
            raise Conflict("decision_over", said, fix="What it has moved can be decided on again, effect by effect.")
        _end(session, decision, actor, "cancelled")
        feed.announce(session, "effects.changed", decision.id, decision.tenant)
    return decision_row(decision)


@use_case("effects:resolve")
def preview(actor: Actor, database: Database, kind: Kind, selection: Selection) -> dict[str, Any]:
    """What a decision would be about now: `count`, `mark` to decide on exactly this, `releases` (tool, version) that they failed on,
    and the `subjects` of some. Raises as the decision would."""
    decision = _prepare(actor, database, kind, selection, "")
    with database.reading() as session:
        seen = bulk.described(session, _which(decision, selection))
    return {"count": decision.count, "mark": decision.mark, **seen}


def _which(decision: BulkDecision, selection: Selection) -> Any:
    if selection.ids is None:
        return bulk.matching(_wanted(decision))
    return bulk.named(decision.tenant, BEFORE[decision.kind], selection.ids)


def _prepare(actor: Actor, database: Database, kind: Kind, selection: Selection, reason: str) -> BulkDecision:
    """The row, with its mark and the number that matches; not stored yet."""
    named = selection.ids
    narrowed = (selection.tool, selection.effect, selection.error_code)
    if named is not None and (not 1 <= len(named) <= MOST_IDS or any(part is not None for part in narrowed)):
        problem = Problem("$.ids", f"must name 1 to {MOST_IDS} effects, and no filter beside them", "For more of them use a filter.")
        raise Invalid("selection_invalid", "The selection is not usable.", problems=[problem])
    at = database.clock.now()
    decision = BulkDecision(
        id=ids.new(kind, at),
        tenant=actor.tenant,
        kind=kind,
        actor=actor.id,
        actor_name=actor.name,
        reason=reason.strip(),
        ids=None if named is None else len(named),
        tool=selection.tool,
        effect=selection.effect,
        error_code=selection.error_code,
        mark=0,
        state="running",
        count=0,
        created_at=at,
        updated_at=at,
    )
    with database.reading() as session:
        present = bulk.newest_event(session)
        decision.mark = present if selection.mark is None else min(selection.mark, present)
        decision.count = bulk.count(session, _wanted(decision)) if named is None else _count_named(session, decision, named)
    return decision


def _count_named(session: Session, decision: BulkDecision, named: Sequence[str]) -> int:
    found = bulk.states_of(session, decision.tenant, named)
    missing = sorted(set(named) - found.keys())
    if missing:
        problems = [Problem("$.ids", f"there is no effect {name!r}") for name in missing[:20]]
        raise NotFound("effect_not_found", f"No effect has {len(missing)} of these ids.", fix="See GET /effects.", problems=problems)
    fit = sum(state == BEFORE[decision.kind] for state in found.values())
    if not fit:
        states = ", ".join(sorted(set(found.values())))
        code = "effect_not_dead" if decision.kind == "redrive" else "effect_not_unknown"
        raise Conflict(code, f"None of these effects is {BEFORE[decision.kind]}: {states}.", fix=f"Only {_NAMES[decision.kind]} take this.")
    return fit


def _policies(actor: Actor, releases: Releases, decision: BulkDecision, selection: Selection, version: int) -> dict[str, str]:
    """`on_unknown` by effect of the version that is to take over. Raises Invalid `version_unfit`, and what loading raises."""
    with releases.database.reading() as session:
        found = bulk.kinds(session, _which(decision, selection))
    tools = {tool for tool, _, _ in found} | ({selection.tool} if selection.tool is not None else set())
    if len(tools) != 1:
        problem = Problem("$.version", "belongs to one tool, and these dead letters do not", "Name the tool in the filter.")
        raise Invalid("version_unfit", "A version can only be chosen for the dead letters of one tool.", problems=[problem])
    program = releases.load(actor.tenant, tools.pop(), version)
    judged = (_unfit(program, effect, connector) for _, effect, connector in found)
    problems = [problem for problem in judged if problem is not None]
    if problems:
        said = f"Version {version} of {program.tool} cannot take these over."
        raise Invalid("version_unfit", said, fix="Redrive on the version that failed, or on one that has the effect.", problems=problems)
    return {effect: program.rules[effect].declared.on_unknown for _, effect, _ in found}


def _unfit(program: Program, effect: str, connector: str) -> Problem | None:
    rule = program.rules.get(effect)
    if rule is None:
        return Problem("$.version", f"declares no effect {effect!r}")
    if rule.declared.connector != connector:
        return Problem("$.version", f"performs {effect!r} by {rule.declared.connector}, not by {connector}")
    return None


def _decide(actor: Actor, database: Database, decision: BulkDecision, selection: Selection) -> dict[str, Any]:
    """Store the decision, with its audit event and its first part."""
    with database.writing() as session:
        session.add(decision)
        if selection.ids is not None:
            decision.moved = bulk.shift(session, selection.ids, _shift_of(session, decision))
            _complete(session, decision)
        else:
            _advance(session, decision)
        _wake(session, decision)
        action = "effects.redriven" if decision.kind == "redrive" else "effects.resolved"
        audit.record(session, actor, action, decision.id, "done", **_told(decision, selection))
    return decision_row(decision)


def _told(decision: BulkDecision, selection: Selection) -> dict[str, Any]:
    about = {"filter": _filter(decision), "mark": decision.mark} if selection.ids is None else {"ids": list(selection.ids)}
    verdict = {"verdict": decision.verdict} if decision.verdict else {}
    return {**about, **verdict, "version": decision.version, "count": decision.count, "reason": decision.reason}


@again
def carry_out(database: Database, decision_id: str) -> bool:
    """The next 500 effects of a decision; whether there may be more. Two workers at once do each part once."""
    fault("decision.part.before")
    with database.writing() as session:
        query = select(BulkDecision).where(BulkDecision.id == decision_id, BulkDecision.state == "running")
        decision = session.exec(query.with_for_update()).first()
        if decision is None:
            return False
        _advance(session, decision)
        _wake(session, decision)
        running = decision.state == "running"
    fault("decision.part.after")
    return running


def open_decisions(database: Database) -> list[str]:
    """Decisions that are not carried out yet, for the sweeper."""
    query = select(BulkDecision.id).where(BulkDecision.state == "running", in_index("bulk_decision", "state = 'running'"))
    with database.reading() as session:
        return sorted(session.exec(query))


def _wanted(decision: BulkDecision) -> Wanted:
    return Wanted(decision.tenant, BEFORE[decision.kind], decision.mark, decision.tool, decision.effect, decision.error_code)


def _shift_of(session: Session, decision: BulkDecision) -> Shift:
    detail, at = f"{decision.id}: {decision.reason}", now(session)
    if decision.kind == "redrive":
        return redriven(decision.actor, decision.id, detail, at, decision.version, decision.policies)
    return resolved(decision.verdict or "", decision.actor, decision.id, detail, at)


def _advance(session: Session, decision: BulkDecision) -> None:
    wanted = _wanted(decision)
    found = bulk.after(session, wanted, (decision.position_at, decision.position))
    if found:
        decision.moved += bulk.shift(session, [key for _, _, key in found], _shift_of(session, decision), bulk.matching(wanted))
        decision.position_at, decision.position, _ = found[-1]
    decision.updated_at = now(session)
    if len(found) < CHUNK:
        _complete(session, decision)


def _complete(session: Session, decision: BulkDecision) -> None:
    _end(session, decision, Actor(decision.actor, decision.actor_name, decision.tenant, frozenset()), "completed")


def _end(session: Session, decision: BulkDecision, actor: Actor, state: str) -> None:
    decision.state, decision.finished_at, decision.updated_at = state, now(session), now(session)
    audit.record(session, actor, f"{decision.kind}.{state}", decision.id, "done", moved=decision.moved, count=decision.count)


def _wake(session: Session, decision: BulkDecision) -> None:
    if decision.state == "running":
        outbox.enqueue(session, JOB, decision.id)
    if decision.moved and (decision.kind == "redrive" or decision.verdict == "retry"):
        outbox.enqueue(session, "work_queue", "effects")
    feed.announce(session, "effects.changed", decision.id, decision.tenant)


def _filter(decision: BulkDecision) -> dict[str, str]:
    given = {"tool": decision.tool, "effect": decision.effect, "error_code": decision.error_code}
    return {name: value for name, value in given.items() if value is not None}


def decision_row(decision: BulkDecision) -> dict[str, Any]:
    """A redrive or a resolution as REST answers it. `moved` of `count` so far; what had moved meanwhile is passed over."""
    return {
        "id": decision.id,
        "kind": decision.kind,
        "state": decision.state,
        "count": decision.count,
        "moved": decision.moved,
        "ids": decision.ids,
        "filter": None if decision.ids is not None else _filter(decision),
        "mark": decision.mark,
        "version": decision.version,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "actor": decision.actor,
        "created_at": iso(decision.created_at),
        "updated_at": iso(decision.updated_at),
        "finished_at": iso(decision.finished_at),
    }


@use_case(None)
def list_decisions(
    actor: Actor, database: Database, kind: str | None = None, *, state: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page:
    """Redrives, resolutions or both, newest first, for those who may watch effects. Raises Invalid `state_unknown`, `kind_unknown`."""
    for what, given, known in (("state", state, STATES), ("kind", kind, tuple(BEFORE))):
        if given is not None and given not in known:
            raise Invalid(f"{what}_unknown", f"{given!r} is no {what} of a decision.", fix=f"Use one of {', '.join(known)}.")
    query = select(BulkDecision).where(BulkDecision.tenant == actor.tenant)
    if not _watches(actor):
        query = query.where(BulkDecision.id == "")
    query = query if kind is None else query.where(BulkDecision.kind == kind)
    query = query if state is None else query.where(BulkDecision.state == state)
    return page(
        database, query, [col(BulkDecision.created_at), col(BulkDecision.id)], decision_row, cursor=cursor, limit=limit, newest_first=True
    )


@use_case(None)
def read_decision(actor: Actor, database: Database, decision_id: str, kind: Kind | None = None) -> dict[str, Any]:
    """One of them, with `effects`: what became of what it moved, by state. Raises NotFound `redrive_not_found`, `resolution_not_found`."""
    with database.reading() as session:
        decision = session.get(BulkDecision, decision_id) if _watches(actor) else None
        if decision is None or decision.tenant != actor.tenant or kind not in (None, decision.kind):
            raise _no_decision(decision_id, kind)
        return decision_row(decision) | {"effects": bulk.outcome(session, decision.id)}


def _no_decision(decision_id: str, kind: Kind | None) -> NotFound:
    noun = kind or "redrive"
    return NotFound(f"{noun}_not_found", f"There is no {noun} {decision_id!r}.", fix=f"Take the id from GET /effects/{noun}s.")


def _watches(actor: Actor) -> bool:
    return any(actor.may(permission) for permission in WATCHERS)
