"""What is appended to a tool so that one process runs it twice: the second pass hears what another process would hear.

Within one run the same key again is a `duplicate`; to the second pass it is told as a second run would be: `skipped` where the first pass
did it, else the first pass's status. It refuses to be: part of any tool that is published. It has no `from __future__` line, since it
stands at the end of another module.
"""

import copy
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class _Pass:
    """A context that remembers what each item was told, and tells a second pass accordingly."""

    def __init__(self, ctx: Any, before: dict[str, str] | None = None) -> None:
        self._ctx = ctx
        self._before = before
        self.told: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def perform(self, effect_id: str, item: Any) -> Any:
        return self._tell(_mark(effect_id, item), self._ctx.perform(effect_id, item))

    def perform_each(self, effect_id: str, items: Iterable[Any]) -> Iterator[Any]:
        sent: deque[str] = deque()
        return self._each(sent, self._ctx.perform_each(effect_id, _noted(effect_id, items, sent)))

    def perform_many(self, effect_id: str, items: Iterable[Any]) -> list[Any]:
        return list(self.perform_each(effect_id, items))

    def _each(self, sent: "deque[str]", outcomes: Iterator[Any]) -> Iterator[Any]:
        for outcome in outcomes:
            yield self._tell(sent.popleft(), outcome)

    def _tell(self, mark: str, outcome: Any) -> Any:
        first = (self._before or {}).get(mark)
        if first is not None and outcome.status == "duplicate" and mark not in self.told:
            outcome = outcome._replace(status="skipped" if first == "done" else first)
        self.told.setdefault(mark, outcome.status)
        return outcome


def _noted(effect_id: str, items: Iterable[Any], sent: "deque[str]") -> Iterator[Any]:
    for item in items:
        sent.append(_mark(effect_id, item))
        yield item


def _mark(effect_id: str, item: Any) -> str:
    return json.dumps([effect_id, item], sort_keys=True, default=str)


def twice(run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`run`, called twice with equal arguments; the answer is the second one's."""

    def both(args: Any, ctx: Any) -> Any:
        first = _Pass(ctx)
        run(copy.deepcopy(args), first)
        return run(args, _Pass(ctx, first.told))

    return both
