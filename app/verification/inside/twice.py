"""How one process runs a tool twice: the second pass hears what another process would hear.

Within one run the same key again is a `duplicate`; to the second pass it is told as a second run would be: `skipped` where the first pass
did it, else the first pass's status. What passes between the tool's context and its host is listened to, so that the tool is given a
context like any other.

It refuses to be: part of any tool that is published. It has no `from __future__` line, since it stands at the end of another module.
"""

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any


class _Pass:
    """What one pass was told of each item at first; `before` is what the pass before it was told."""

    def __init__(self, before: Mapping[str, str]) -> None:
        self.before = before
        self.told: dict[str, str] = {}

    def hears(self, mark: str, outcome: dict[str, Any]) -> dict[str, Any]:
        first = self.before.get(mark)
        if first is not None and outcome["status"] == "duplicate" and mark not in self.told:
            outcome = {**outcome, "status": "skipped" if first == "done" else first}
        self.told.setdefault(mark, outcome["status"])
        return outcome


class _Ear:
    """The exchange of a context, listened to."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        self._open: dict[tuple[int, int], tuple[list[str], _Pass]] = {}
        self._present = _Pass({})

    def again(self) -> None:
        """Another pass begins."""
        self._present = _Pass(self._present.told)

    def send(self, message: dict[str, Any]) -> None:
        self._exchange.send(message)
        if message["t"] in ("read", "perform"):
            marks = [_mark(message["id"], item) for item in message.get("items", ())]
            self._open[message["step"], message.get("chunk", 0)] = marks, self._present

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = self._exchange.receive()
        if message["t"] not in ("answer", "refuse"):
            return message
        marks, asking = self._open.pop((message["step"], message["chunk"]) if "step" in message else next(iter(self._open)))
        if not marks or message["t"] == "refuse":
            return message
        return {**message, "value": [asking.hears(mark, outcome) for mark, outcome in zip(marks, message["value"], strict=False)]}


def _mark(effect_id: str, item: Any) -> str:
    return json.dumps([effect_id, item], sort_keys=True, default=str)


def twice(run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`run`, called twice with equal arguments; the answer is the second one's."""

    def both(args: Any, ctx: Any) -> Any:
        ear = ctx._exchange = _Ear(ctx._exchange)
        run(copy.deepcopy(args), ctx)
        ear.again()
        return run(args, copy.copy(ctx))

    return both
