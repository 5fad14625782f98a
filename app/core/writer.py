"""Group commit: many small writes of one process share one transaction, one thread and one fsync.

`submit(write, argument)` answers after the commit. Writes of one batch with the same function are handed over together,
so a hot path costs one statement for many rows. If a batch fails for what one write holds, each submission is tried in a
transaction of its own, so that one bad write spoils no other. A database that is locked, full or away fails the whole batch
at once: to try each alone would cost its patience once per submission. A deadlock is tried again.

It refuses to be: a cache. Nothing is readable before it is committed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlmodel import Session

from app.core.db import Database, again, unavailable

A = TypeVar("A")
R = TypeVar("R")
BulkWrite = Callable[[Session, list[A]], Sequence[R]]
_MOST = 512


@dataclass(slots=True)
class _Submission:
    write: BulkWrite[Any, Any]
    argument: Any
    answer: asyncio.Future[Any]


class GroupWriter:
    """One per process and database. `commits` counts transactions, for benchmarks."""

    def __init__(self, database: Database, on_commit: Callable[[int], None] = lambda _writes: None) -> None:
        self._database = database
        self._on_commit = on_commit
        self._waiting: list[_Submission] = []
        self._soon: list[_Submission] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._busy = False
        self._guard = threading.Lock()
        self.commits = 0

    async def submit(self, write: BulkWrite[A, R], argument: A) -> R:
        """Run `write` with `argument` among others of its kind; returns its own result once that is durable."""
        return await self.put(write, argument)

    def put(self, write: BulkWrite[A, R], argument: A) -> asyncio.Future[R]:
        """The same, to be awaited later. The write happens whether or not somebody waits."""
        loop = asyncio.get_running_loop()
        submission = _Submission(write, argument, loop.create_future())
        with self._guard:
            self._waiting.append(submission)
            start = not self._busy
            self._busy = True
        if start:
            self._thread.submit(self._drain, loop)
        return submission.answer

    def put_soon(self, write: BulkWrite[A, R], argument: A, within_s: float) -> asyncio.Future[R]:
        """The same, first in the next commit that something else asks for, or in one of its own after `within_s`.

        What is put later stands behind it, so a later write may rely on this one.
        """
        loop = asyncio.get_running_loop()
        submission = _Submission(write, argument, loop.create_future())
        with self._guard:
            self._soon.append(submission)
        loop.call_later(within_s, self._hurry, loop)
        return submission.answer

    def _hurry(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._guard:
            start = bool(self._soon) and not self._busy
            self._busy = self._busy or start
        if start:
            self._thread.submit(self._drain, loop)

    def close(self) -> None:
        """Wait for what is under way, then end the thread."""
        self._thread.shutdown(wait=True)

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            with self._guard:
                batch, self._soon = [*self._soon, *self._waiting[:_MOST]], []
                self._waiting = self._waiting[_MOST:]
                if not batch:
                    self._busy = False
                    return
            outcomes = self._commit(batch)
            loop.call_soon_threadsafe(_settle, batch, outcomes)

    def _commit(self, batch: list[_Submission]) -> list[Any]:
        try:
            return again(self._attempt)(batch)
        except Exception as error:  # noqa: BLE001  # of any kind: it belongs to the submitter, not to this thread
            if len(batch) == 1 or unavailable(error):
                return [error] * len(batch)
            return [outcome for submission in batch for outcome in self._commit([submission])]
        except BaseException as error:  # noqa: BLE001  # a scripted death of this process: nothing is tried again after it
            return [error] * len(batch)

    def _attempt(self, batch: list[_Submission]) -> list[Any]:
        kinds: dict[BulkWrite[Any, Any], list[int]] = {}
        for index, submission in enumerate(batch):
            kinds.setdefault(submission.write, []).append(index)
        outcomes: list[Any] = [None] * len(batch)
        with self._database.writing() as session:
            for write, indexes in kinds.items():
                results = write(session, [batch[index].argument for index in indexes])
                for index, result in zip(indexes, results, strict=True):
                    outcomes[index] = result
        self.commits += 1
        self._on_commit(len(batch))
        return outcomes


def _settle(batch: list[_Submission], outcomes: list[Any]) -> None:
    for submission, outcome in zip(batch, outcomes, strict=True):
        if submission.answer.done():
            continue
        if isinstance(outcome, BaseException):
            submission.answer.set_exception(outcome)
        else:
            submission.answer.set_result(outcome)
