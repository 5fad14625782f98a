"""The moves of one call, gathered: what begins in one turn of the event loop goes to the writer together, with what has ended meanwhile.

A move that somebody waits for is handed over in the turn in which it came, and takes with it those that nobody waits for. These wait for
one `within_s`, so that the writer, the loop and the database are asked once for many.

It refuses to be: a buffer. Nothing waits here longer than that, and what is told first is written first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.core.writer import GroupWriter
from app.runtime.repository.effects import Move, move_together

Told = Callable[[bool], None]


class Desk:
    """One per call, used from one event loop. `settled` waits for all that was handed in."""

    def __init__(self, writer: GroupWriter, within_s: float = 0) -> None:
        self._writer = writer
        self._within_s = within_s
        self._moves: list[Move] = []
        self._waiting: list[asyncio.Future[bool] | Told] = []
        self._under_way: set[asyncio.Future[list[bool]]] = set()
        self._failure: BaseException | None = None
        self._soon = False
        self._later: asyncio.TimerHandle | None = None

    def ask(self, move: Move) -> asyncio.Future[bool]:
        """Whether the move was made, once that is durable; False where the caller was fenced out."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._take(move, answer)
        if not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._hand_over)
        return answer

    def tell(self, move: Move, told: Told) -> None:
        """The same, for somebody who does not wait: `told` is called. What goes wrong is raised by `settled`."""
        self._take(move, told)
        if self._later is None and not self._soon:
            self._later = asyncio.get_running_loop().call_later(self._within_s, self._hand_over)

    async def settled(self) -> None:
        """Wait until nothing is under way. Raises the first failure of a move that nobody waited for."""
        while self._moves or self._under_way:
            self._hand_over()
            await asyncio.wait(self._under_way)
        if self._failure is not None:
            raise self._failure

    def _take(self, move: Move, whom: asyncio.Future[bool] | Told) -> None:
        self._moves.append(move)
        self._waiting.append(whom)

    def _hand_over(self) -> None:
        if self._later is not None:
            self._later.cancel()
        self._later, self._soon = None, False
        if not self._moves:
            return
        moves, waiting = self._moves, self._waiting
        self._moves, self._waiting = [], []
        written = self._writer.put(move_together, moves)
        self._under_way.add(written)
        written.add_done_callback(lambda answer: self._pass_on(answer, waiting))

    def _pass_on(self, written: asyncio.Future[list[bool]], waiting: list[asyncio.Future[bool] | Told]) -> None:
        self._under_way.discard(written)
        failure = written.exception()
        held = [False] * len(waiting) if failure else written.result()
        for whom, made in zip(waiting, held, strict=True):
            if not isinstance(whom, asyncio.Future):
                if failure is None:
                    self._inform(whom, made)
                else:
                    self._failure = self._failure or failure
            elif whom.done():  # whoever asked was cancelled
                continue
            elif failure is None:
                whom.set_result(made)
            else:
                whom.set_exception(failure)

    def _inform(self, told: Told, made: bool) -> None:
        try:
            told(made)
        except BaseException as error:  # noqa: BLE001  # of any kind, a scripted death too: it ends the call, not the loop
            self._failure = self._failure or error
