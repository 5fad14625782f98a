"""The judge: every promise of the durable runtime, compared with what the SMTP server wrote down for itself.

It refuses to be: lenient. What it cannot explain by a blow is a broken promise.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from app.runtime.state import EFFECT_MOVES
from tests.chaos.blows import KILLS, PROMISED_S, Blow
from tests.chaos.books import RECOVERY, Books, Row
from tests.chaos.mail import LEAVE_A_TRACE, expected, way_of
from tests.chaos.site import CONNECTIONS

_ANY = ""
_STOP_ALL = frozenset({"everything", "lock"})
_STRIKES = KILLS | {"zombie"}
_STRAIGHT = frozenset({"planned", "claimed", "performing", "done"})


@dataclass(slots=True)
class Findings:
    """What one scenario came to. `broken` names each promise that was not kept, with an example."""

    kills: int = 0
    effective: int = 0
    zombies: int = 0
    around: Counter[str] = field(default_factory=Counter)
    recipients: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    most_in_flight: int = 0
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def expect(self, promise: str, offenders: Iterable[object]) -> None:
        """Note a broken promise, unless nobody offends against it."""
        found = list(offenders)
        if found:
            self.broken.append(f"{promise}: {len(found)} times, such as {found[0]}")

    def took(self, *kinds: str) -> list[float]:
        return [seconds for kind in kinds for seconds in self.recoveries.get(kind, [])]

    @property
    def median(self) -> float:
        found = self.took("kill", "everything")
        return statistics.median(found) if found else 0.0


def judge_doubts(books: Books, blows: Sequence[Blow], addresses: Sequence[str], found: Findings) -> None:
    """The ledger before anybody gave a verdict: each doubt has its blow, and there are no more of them than sends in flight.

    `_most_lost` says how many that are.
    """
    interrupted = Counter(owner for row in books.rows.values() for owner in row.lost_by())
    doubted = Counter(owner for row in books.rows.values() for owner in row.lost_by(in_doubt=True))
    found.kills = sum(len([victim for victim in blow.victims if victim.name != "web"]) for blow in blows if blow.kind in KILLS)
    found.effective = sum(
        any(interrupted[owner] for owner in victim.owners) for blow in blows if blow.kind in KILLS for victim in blow.victims
    )
    found.around = Counter(blow.kind.partition(" ")[0] for blow in blows if blow.kind not in KILLS | {"zombie"})
    found.zombies = sum(any(interrupted[owner] for owner in blow.owners) for blow in blows if blow.kind == "zombie")
    for blow in blows:
        for victim in blow.victims:
            number = sum(doubted[owner] for owner in victim.owners)
            found.most_in_flight = max(found.most_in_flight, number)
            if number > _most_lost(blow):
                most = f"unknowns are at most the sends in flight ({_most_lost(blow)})"
                found.broken.append(f"{most}: {number} at {blow.kind} of {victim.name}")
    struck = frozenset(owner for blow in blows for owner in blow.owners)
    found.expect("every doubt has its cause", (owner for owner in doubted if owner not in struck))
    rows = [books.rows[to] for to in addresses if to in books.rows]
    found.recipients += Counter(row.policy for row in rows)
    found.unknown += Counter(row.policy for row in rows for _ in range(row.doubts))
    missing = [to for to in addresses if to not in books.rows]
    stuck = [row for row in rows if not _ended(row) and (row.policy, row.state) != ("hold", "unknown")]
    found.lost += len(missing) + len(stuck)
    found.expect("nobody is lost", [*missing, *((row.to, row.state) for row in stuck)])
    found.expect("an unknown is held, not repeated", (row.to for row in rows if row.policy == "hold" and _left_doubt(row)))
    found.expect("what no blow met is in doubt only where the mail server left it so", (row.to for row in rows if _doubtful(row, struck)))
    found.expect("mail breaks in every way that leaves a trace", LEAVE_A_TRACE - {way_of(row.to) for row in rows if not _straight(row)})
    _judge_recovery(books, blows, found)


def _most_lost(blow: Blow) -> int:
    """How many effects of one process the ledger may have as being performed, of which nobody will ever say what became of them.

    None leaves a process without one of its `CONNECTIONS` places. In SQLite what became of an effect is noted before another has its place
    (`Departures`), so there are never more than places. On PostgreSQL none is begun without a place, and its end is handed in before
    another has it (`Places`, `_Work`). One writer commits what was handed in, in order, so a beginning is written with or after the end
    before it. But where that end is not written and the beginning is, each place may count twice:

    - a lock outlasts what a write waits for. The commit with the ends fails, and a later one with beginnings is let through;
    - on PostgreSQL a lock ends for everybody at once. While others give up what is in flight, for its lease is over, the writer's commit
      finds its ends fenced out, and its beginnings still claimed: a recovery passes over rows that a commit has locked.

    In SQLite one transaction follows the other: a recovery takes everything that is held, or comes after the whole commit. Places do not
    count a third time: once its lease is over a process begins nothing, and what it has begun it reports as not sent.
    """
    return CONNECTIONS * (2 if blow.overtaken else 1)


def _ended(row: Row) -> bool:
    return row.state == "done" or (row.state == "failed" and "failed" in expected(row.to))


def _left_doubt(row: Row) -> bool:
    return any(event.before == "unknown" for event in row.events)


def _straight(row: Row) -> bool:
    return _STRAIGHT.issuperset(event.after for event in row.events)


def _doubtful(row: Row, struck: Collection[str]) -> bool:
    """Whether it was in doubt by what its own process said, which no blow met, though the server did nothing that leaves a doubt."""
    said = {event.actor for event in row.events if (event.before, event.after) == ("performing", "unknown")}
    return not said <= {*RECOVERY, *struck} and "unknown" not in expected(row.to)


def judge_end(books: Books, blows: Sequence[Blow], addresses: Sequence[str], found: Findings) -> None:
    """The ledger after the verdicts, against the server's log: done = accepted = distinct, but for what the server refused for good."""
    rows = [books.rows[to] for to in addresses if to in books.rows]
    found.expect("all are done after the verdicts", (row.to for row in rows if not _ended(row)))
    found.expect(
        "what is done was accepted by the server", (row.to for row in rows if row.state == "done" and row.to not in books.accepted)
    )
    found.expect("what failed was not accepted", (row.to for row in rows if row.state == "failed" and row.to in books.accepted))
    found.expect("the server was sent nothing else", set(books.accepted) - set(addresses))
    for row in rows:
        copies = books.accepted.get(row.to, ())
        found.duplicates[row.policy] += max(0, len(copies) - 1)
        if len(copies) > 1:
            same = len({line["message_id"] for line in copies}) == 1
            if row.policy == "hold":
                found.broken.append(f"policy hold repeats nothing: {row.to} has {len(copies)} copies")
            elif not same or len(copies) > 1 + row.doubts:
                found.broken.append(f"a duplicate has the Message-ID of the first and was unknown: {row.to} {len(copies)} {row.doubts}")
    found.expect("every life is legal and fences grow", (row.to for row in rows if not _legal(row)))
    found.expect("nothing is sent after its process was fenced out", _late(books, rows))


def _legal(row: Row) -> bool:
    state, fence = "new", 0
    for event in row.events:
        if event.before != state or event.after not in EFFECT_MOVES[state] or event.fence < fence:
            return False
        state, fence = event.after, event.fence
    return state == row.state


def _late(books: Books, rows: Iterable[Row]) -> Iterable[str]:
    """Mails that the server accepted while nobody was performing them: a zombie's work."""
    for row in rows:
        spells, copies = _spells(row), books.accepted.get(row.to, ())
        for line in copies:
            if not any(began <= line["at"] <= ended for began, ended in spells):
                life = [(event.before, event.after, event.at, event.fence, event.actor) for event in row.events]
                yield f"{row.to} at {line['at']}, accepted at {[copy['at'] for copy in copies]}, performed {spells}: {life}"


def _spells(row: Row) -> list[tuple[int, float]]:
    """When it was being performed, in ms UTC."""
    spells: list[tuple[int, float]] = []
    began = 0
    for event in row.events:
        if event.after == "performing":
            began = event.at
        elif event.before == "performing":
            spells.append((began, event.at))
    return spells


def _judge_recovery(books: Books, blows: Sequence[Blow], found: Findings) -> None:
    """How long after each blow the next mail was begun that the server accepted: of each campaign that it interrupted, by a process not
    hit; where it hit none, of any campaign. A lock hits everybody and nobody dies of it, so anybody may be the one who goes on. Mails that
    break are no measure: they wait on purpose. What waits for a blow that stops everybody is that one's matter.
    """
    begun: dict[str, list[tuple[int, str]]] = defaultdict(list)
    hit: dict[str, set[str]] = defaultdict(set)
    for row in books.rows.values():
        for owner in row.lost_by():
            hit[owner].add(row.campaign)
        for event in row.events:
            if event.after == "performing" and row.to in books.accepted and not way_of(row.to):
                begun[row.campaign].append((event.at, event.actor))
                begun[_ANY].append((event.at, event.actor))
    for times in begun.values():
        times.sort()
    for blow in blows:
        campaigns = {campaign for owner in blow.owners for campaign in hit[owner]} if blow.victims else {_ANY}
        since = blow.judged_from
        stopped = min((other.at for other in blows if other.at > since and other.kind in _STOP_ALL), default=math.inf)
        hit_now = frozenset() if blow.kind == "lock" else blow.owners
        longest: dict[str, float] = {}
        for each in campaigns:
            at = next((at for at, owner in begun[each] if at > since and owner not in hit_now), math.inf)
            if at < stopped:
                held = _held_against(blow, blows, books.recovered.get(each, ()), at)
                longest[held.kind] = max((at - held.judged_from) / 1000, longest.get(held.kind, 0))
        for kind, seconds in longest.items():
            found.recoveries.setdefault(kind, []).append(seconds)
            if seconds > PROMISED_S[kind]:
                found.broken.append(f"the next effect within {PROMISED_S[kind]:g} s of {kind}: {seconds:.1f} s")


def _held_against(blow: Blow, blows: Sequence[Blow], recovered: Sequence[int], at: float) -> Blow:
    """The blow that a wait until `at` is held against: a later one, if it struck the process that had taken the run over meanwhile.

    Each time that a run is recovered one holder of it was gone, so all but the first after a blow have another blow for a cause.
    """
    again = [each for each in recovered if blow.judged_from < each <= at][1:]
    later = [other for other in blows if again and other.kind in _STRIKES and blow.at < other.at < again[-1]]
    return max(later, key=lambda other: other.at, default=blow)
