"""The gate that every effect of one kind passes: is it paused, does what it goes to answer, is there room, is it time?

It refuses to be: costly. Where nothing is limited, an effect passes with a look at two values in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.connectors.port import Reply
from app.runtime.flow.circuit import Circuit
from app.runtime.flow.pace import Pace
from app.runtime.flow.share import Shares
from app.spec.model import Effect

GoOn = Callable[[], bool]


class Gate(Protocol):
    """What performing asks. `effect_id` names the effect that passes."""

    @property
    def paced(self) -> bool:
        """Whether so many a second may pass: who is admitted then must not wait long, or many would leave in one second."""
        ...

    def paused(self) -> str | None:
        """None: what passes here may begin. Else what it waits for: a paused connector, or (empty) a pause of its tool or everything."""
        ...

    async def admit(self, effect_id: str, go_on: GoOn) -> int | None:
        """Wait until this effect may begin, or `go_on` says no; a time (ms): it may not, and is to be tried then.

        Whoever is admitted (None) must `leave`, and should `note` what the world said in between.
        """
        ...

    def shut(self, effect_id: str) -> int | None:
        """When (ms) to come again, for an effect that was admitted and has waited for a place since: what it goes to is gone."""
        ...

    def note(self, effect_id: str, reply: Reply) -> bool:
        """Count what the world said. True: it says nothing about this effect, since what it goes to does not answer anybody."""
        ...

    def leave(self, effect_id: str) -> None:
        """It is over, begun or not."""
        ...


class _Ungated:
    """Nothing is limited: verification, and tests of other things."""

    paced = False

    def paused(self) -> str | None:
        return None

    async def admit(self, effect_id: str, go_on: GoOn) -> int | None:
        return None

    def shut(self, effect_id: str) -> int | None:
        return None

    def note(self, effect_id: str, reply: Reply) -> bool:
        return False

    def leave(self, effect_id: str) -> None:
        return None


UNGATED: Gate = _Ungated()


def ungated(_tenant: str, _tool: str, _declared: Effect) -> Gate:
    """No gate, whatever the effect."""
    return UNGATED


class Board(Protocol):
    """What a gate looks at: the process's knowledge of pauses and circuits."""

    @property
    def fresh(self) -> bool: ...

    def waits_for(self, tenant: str, tool: str, connector: str) -> str | None: ...

    async def refreshed(self, go_on: GoOn) -> None: ...

    async def ask_circuit(self, circuit: Circuit, effect_id: str) -> int | None: ...

    def count(self, circuit: Circuit, effect_id: str, reply: Reply) -> None: ...

    def shut(self, circuit: Circuit, effect_id: str) -> int | None: ...

    def untried(self, circuit: Circuit) -> None: ...


@dataclass(frozen=True, slots=True)
class LimitedGate:
    """The gate of one effect of a spec, in one process."""

    board: Board
    tenant: str
    tool: str
    connector: str
    circuit: Circuit
    paces: tuple[Pace, ...]
    shares: Shares | None

    @property
    def paced(self) -> bool:
        return bool(self.paces)

    def paused(self) -> str | None:
        return self.board.waits_for(self.tenant, self.tool, self.connector)

    async def admit(self, effect_id: str, go_on: GoOn) -> int | None:
        if not self.board.fresh:
            await self.board.refreshed(go_on)
        if self.circuit.opened is not None:
            later = await self.board.ask_circuit(self.circuit, effect_id)
            if later is not None:
                return later
        if self.shares is not None:
            await self.shares.take(effect_id, go_on)
        for pace in self.paces:
            await pace.wait(go_on)
        if self.circuit.opened is not None and self.circuit.trial != effect_id:  # it opened while this one waited
            return await self.board.ask_circuit(self.circuit, effect_id)
        return None

    def shut(self, effect_id: str) -> int | None:
        return None if self.circuit.opened is None else self.board.shut(self.circuit, effect_id)

    def note(self, effect_id: str, reply: Reply) -> bool:
        self.board.count(self.circuit, effect_id, reply)
        return self.circuit.opened is not None

    def leave(self, effect_id: str) -> None:
        if self.shares is not None:
            self.shares.leave(effect_id)
        if self.circuit.trial == effect_id:
            self.board.untried(self.circuit)
